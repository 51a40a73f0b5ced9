"""The engine on a GPU: a second model of the same server, by Triton's business logic scripting.

A model named `<network>_engine` (TensorRT, input `image`, output `logits`) takes the windows; everything else stays
with the network's own model. Which engine runs is decided by what the repository holds, never by a guess about the
machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.serving.config import IMAGE, LOGITS
from npc_networks.serving.dlpack import Lent

Float32Array = npt.NDArray[np.float32]


def engine_model(model_folder: Path, contract: NetworkContract) -> str | None:
    """Return the name of the engine's model beside a network's; None when the repository holds none.

    Raises:
        CatalogError: the engine was built for another contract.
    """
    config = model_folder.with_name(f"{model_folder.name}_engine") / "config.pbtxt"
    if not config.is_file():
        return None
    if contract.contract_sha256 not in config.read_text():
        raise CatalogError(
            f"{config} does not carry contract {contract.contract_sha256}: build the engine anew from this network"
        )
    return config.parent.name


class BlsEngine:
    """Asks another model of this server."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the logits (z, y, x, class) of each window.

        Raises:
            RuntimeError: the engine's model is not loaded or failed.
        """
        for window in windows:
            request = pb_utils.InferenceRequest(
                model_name=self._model_name,
                requested_output_names=[LOGITS],
                inputs=[pb_utils.Tensor.from_dlpack(IMAGE, Lent(window[np.newaxis]))],
                preferred_memory=self._memory,
            )
            response = request.exec()
            if response.has_error():
                raise RuntimeError(f"engine {self._model_name}: {response.error().message()}")
            logits = np.from_dlpack(pb_utils.get_output_tensor_by_name(response, LOGITS))
            yield np.ascontiguousarray(np.moveaxis(logits[0], 0, -1), dtype=np.float32)
