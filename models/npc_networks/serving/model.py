"""The server-side model of every network: Triton's Python backend calls this class.

The stub of the embedded server was built against numpy 1, whose conversions silently give empty tensors under numpy 2:
tensors pass through DLPack only, in both directions.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from npc_contour.catalog import read_contract
from npc_contour.errors import CatalogError
from npc_networks.serving.config import CONTRACT_KEY, LABELS, SPACING, VOLUME
from npc_networks.serving.engines import Engine, OpenVinoEngine
from npc_networks.serving.pipeline import VolumeRefused, VolumeSegmenter

CACHE_DIR_VARIABLE = "NPC_NETWORK_CACHE_DIR"
DONE_METRIC, TOTAL_METRIC = "npc_windows_done", "npc_windows_total"


class TritonPythonModel:
    """One network on one Triton instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read and verify contract and weights, compile, run once.

        Raises:
            CatalogError: contract and config.pbtxt do not belong together.
            WeightsError: the weights are not the contract's.
        """
        folder = Path(args["model_repository"])
        contract = read_contract(folder / "contract.json")
        declared = json.loads(args["model_config"])["parameters"].get(CONTRACT_KEY, {}).get("string_value", "")
        if declared != contract.contract_sha256:
            raise CatalogError(
                f"{folder}: config.pbtxt carries contract {declared or 'none'}, "
                f"contract.json is {contract.contract_sha256}: write config.pbtxt anew with `npc-networks config`"
            )
        cache = os.environ.get(CACHE_DIR_VARIABLE)
        engine: Engine = OpenVinoEngine(
            contract, folder / contract.weights_file, cache_dir=Path(cache) if cache else None
        )
        self._name = contract.name
        self._segmenter = VolumeSegmenter(contract, engine)
        self._segmenter.warm_up()
        self._families = [
            pb_utils.MetricFamily(name=name, description=text, kind=pb_utils.MetricFamily.GAUGE)
            for name, text in (
                (DONE_METRIC, "Windows of the current volume that are done"),
                (TOTAL_METRIC, "Windows of the current volume"),
            )
        ]
        self._done, self._total = (family.Metric(labels={"model": self._name}) for family in self._families)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Segment one volume per request."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:  # noqa: ANN401 - types of the backend's own module
        try:
            volume_hu = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, VOLUME))
            z, y, x = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, SPACING)).tolist()
            labels = self._segmenter.segment(volume_hu, (z, y, x), self._report)
        except VolumeRefused as refusal:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(refusal), pb_utils.TritonError.INVALID_ARG))
        except (ArithmeticError, MemoryError, RuntimeError) as failure:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{self._name}: {failure!r}"))
        pb_utils.Logger.log_info(f"{self._name}: {volume_hu.shape} {self._segmenter.times.line()}")
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(LABELS, labels)])

    def _report(self, done: int, total: int) -> None:
        self._total.set(total)
        self._done.set(done)
