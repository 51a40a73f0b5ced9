"""The engine as a second model of the same server, by Triton's business logic scripting.

A model named `<network>_engine` (input `image`, output `logits`) takes the windows; everything else stays with the
network's own model. Which engine runs is decided by what the repository holds, never by a guess about the machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.serving.config import IMAGE, LOGITS
from npc_networks.serving.dlpack import Lent
from npc_networks.serving.engine_config import RECORD_FILE, EngineRecord, read_record
from npc_networks.serving.gpu_engine import verify_engine

Float32Array = npt.NDArray[np.float32]


def engine_beside(model_folder: Path, contract: NetworkContract) -> EngineRecord | None:
    """Return the record of the engine beside a network; None when the repository holds none.

    Raises:
        CatalogError: the engine was made for another contract.
        EngineRefused: a TensorRT engine that was not built, or not for this GPU, driver and TensorRT.
    """
    folder = model_folder.with_name(f"{model_folder.name}_engine")
    if not (folder / "config.pbtxt").is_file():
        return None
    record = read_record(folder / RECORD_FILE)
    if record.contract_sha256 != contract.contract_sha256:
        raise CatalogError(
            f"{folder} was made for contract {record.contract_sha256}, contract.json is {contract.contract_sha256}:"
            f" make it anew with `npc-networks export {contract.name} --target {record.target}`"
        )
    if record.target == "tensorrt":
        verify_engine(folder)
    return record


class BlsEngine:
    """Asks another model of this server, several windows at a time."""

    def __init__(self, model_name: str, batch: int) -> None:
        """Ask `model_name`, at most `batch` windows in one request."""
        self._model_name = model_name
        self._batch = batch
        self._memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """Yield the logits (z, y, x, class) of each window, float32 whatever the engine answers in.

        Raises:
            RuntimeError: the engine's model is not loaded or failed.
        """
        waiting = iter(windows)
        while several := list(itertools.islice(waiting, self._batch)):
            for logits in self._ask(np.stack(several)):
                yield np.ascontiguousarray(np.moveaxis(logits, 0, -1), dtype=np.float32)

    def _ask(self, windows: Float32Array) -> npt.NDArray[np.generic]:
        request = pb_utils.InferenceRequest(
            model_name=self._model_name,
            requested_output_names=[LOGITS],
            inputs=[pb_utils.Tensor.from_dlpack(IMAGE, Lent(windows))],
            preferred_memory=self._memory,
        )
        response = request.exec()
        if response.has_error():
            raise RuntimeError(f"engine {self._model_name}: {response.error().message()}")
        logits: npt.NDArray[np.generic] = np.from_dlpack(pb_utils.get_output_tensor_by_name(response, LOGITS))
        return logits
