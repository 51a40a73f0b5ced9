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
from npc_contour.core.class_doubts import COLUMNS
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.serving.bls import BlsEngine, engine_beside
from npc_networks.serving.config import CONTRACT_KEY, CROSSINGS, DOUBTS, EXACT_SPACING, LABELS, SPACING, VOLUME
from npc_networks.serving.dlpack import Lent
from npc_networks.serving.engines import Engine, OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.serving.preparation import VolumeRefused
from npc_networks.serving.rtx_engine import FOLDER, RtxEngine, rtx_record

CACHE_DIR_VARIABLE = "NPC_NETWORK_CACHE_DIR"
DONE_METRIC, TOTAL_METRIC = "npc_windows_done", "npc_windows_total"


class Cancelled(Exception):
    """The client stopped waiting: nothing more is computed for it."""


class TritonPythonModel:
    """One network on one Triton instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read and verify contract and weights, compile, run once.

        Raises:
            CatalogError: contract, config.pbtxt and engine do not belong together.
            EngineRefused: the TensorRT engine is none of this machine, or TensorRT for RTX is not installed.
            WeightsError: the weights are not the contract's.
        """
        folder = Path(args["model_repository"])
        contract = read_contract(folder / "contract.json")
        declared = json.loads(args["model_config"])["parameters"].get(CONTRACT_KEY, {}).get("string_value", "")
        if declared != contract.contract_sha256:
            raise CatalogError(
                f"{folder}: config.pbtxt carries contract {declared or 'none'}, "
                f"contract.json is {contract.contract_sha256}: make both anew with `npc-networks export`"
            )
        self._name = contract.name
        self._labels = len(contract.labels)
        self._segmenter = VolumeSegmenter(contract, _engine(contract, folder))
        self._segmenter.warm_up()
        gauge = pb_utils.MetricFamily.GAUGE
        done = pb_utils.MetricFamily(DONE_METRIC, "Windows of the current volume that are done", gauge)
        total = pb_utils.MetricFamily(TOTAL_METRIC, "Windows of the current volume", gauge)
        # A family lives as long as this object.
        self._families = (done, total)
        self._done, self._total = (family.Metric(labels={"model": self._name}) for family in self._families)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Segment one volume per request."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:  # noqa: ANN401 - types of the backend's own module
        def report(done: int, total: int) -> None:
            if request.is_cancelled():
                raise Cancelled
            self._total.set(total)
            self._done.set(done)

        try:
            volume_hu = np.asarray(np.from_dlpack(pb_utils.get_input_tensor_by_name(request, VOLUME)), dtype=np.int16)
            exact = pb_utils.get_input_tensor_by_name(request, EXACT_SPACING)
            spacing = pb_utils.get_input_tensor_by_name(request, SPACING) if exact is None else exact
            z, y, x = np.from_dlpack(spacing).tolist()
            shapes = {CROSSINGS: (2, *volume_hu.shape[1:]), DOUBTS: (self._labels, COLUMNS)}
            kinds = {CROSSINGS: np.uint8, DOUBTS: np.float64}
            beside = {
                name: np.zeros(shape, kinds[name])
                for name, shape in shapes.items()
                if name in request.requested_output_names()
            }
            labels = self._segmenter.segment(
                volume_hu, (z, y, x), report, crossings=beside.get(CROSSINGS), doubts=beside.get(DOUBTS)
            )
        except Cancelled:
            return _failed(f"{self._name}: the client no longer waits", pb_utils.TritonError.CANCELLED)
        except VolumeRefused as refusal:
            return _failed(str(refusal), pb_utils.TritonError.INVALID_ARG)
        except (ArithmeticError, MemoryError, RuntimeError) as failure:
            return _failed(f"{self._name}: {failure!r}", pb_utils.TritonError.INTERNAL)
        pb_utils.Logger.log_info(f"{self._name}: {volume_hu.shape} {self._segmenter.times.line()}")
        answers = {LABELS: labels, **beside}
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor.from_dlpack(name, Lent(array)) for name, array in answers.items()]
        )


def _engine(contract: NetworkContract, folder: Path) -> Engine:
    record, rtx = engine_beside(folder, contract), rtx_record(folder, contract)
    if record is not None and rtx is not None:
        raise CatalogError(f"{folder} has two engines, {folder.name}_engine and {FOLDER}: remove one of the folders")
    if record is not None:
        return BlsEngine(f"{folder.name}_engine", record.batch)
    cache = os.environ.get(CACHE_DIR_VARIABLE)
    cache_dir = Path(cache) if cache else None
    if rtx is not None:
        return RtxEngine(folder / FOLDER, rtx, cache_dir=cache_dir)
    return OpenVinoEngine(contract, folder / contract.weights_file, cache_dir=cache_dir)


def _failed(message: str, code: int) -> Any:  # noqa: ANN401
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
