"""Builds a network's engine with TensorRT for RTX, ahead of time: neither a GPU nor a driver is needed.

The parsed network is compared with the contract before anything is built: names, shapes, types. Logits leave the
engine as float32 with the classes last, as blending wants them: the GPU lays them out, not the processor.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from npc_contour.catalog import read_contract
from npc_networks.engines.targets import ExportRefused, compare_typed
from npc_networks.engines.typed import Precision, typed_model
from npc_networks.serving.config import IMAGE, LOGITS
from npc_networks.serving.engines import verify_weights
from npc_networks.serving.rtx_engine import ENGINE_FILE, FOLDER, GPUS, RECORD_FILE, RtxRecord, bindings


@dataclass(frozen=True, slots=True)
class RtxBuilt:
    """What was written.

    Attributes:
        parity: largest difference of the typed network's logits from the network's own on noise, as a share of the
            largest; both in OpenVINO.
        agreement: share of voxels with the same label there.
        size_bytes: of the engine.
    """

    folder: Path
    record: RtxRecord
    parity: float
    agreement: float
    size_bytes: int


def write_rtx_engine(
    repository: Path, name: str, *, gpu: str = "any", precision: Precision = "fp16", batch: int = 1
) -> RtxBuilt:
    """Write `NAME/tensorrt-rtx/` with an engine and its record.

    Args:
        repository: Triton's models; NAME lies there with its contract and ONNX file.
        name: of the network.
        gpu: key of `GPUS`.
        precision: of the convolutions.
        batch: the most windows at a time.

    Raises:
        CatalogError: no such network.
        WeightsError: its ONNX file is not the contract's.
        TypingRefused: it cannot be written in the precision.
        EngineRefused: TensorRT for RTX is not installed.
        ExportRefused: GPU and precision do not go together, the parsed network is not the contract's, or it cannot be
            built.
    """
    folder = repository / name
    contract = read_contract(folder / "contract.json")
    source = folder / contract.weights_file
    verify_weights(source, contract.weights_sha256)
    if precision == "bf16" and gpu == "turing":
        raise ExportRefused("Turing has no bfloat16: use --precision fp16 or f32")
    network = onnx.load(source)
    typed = typed_model(network, precision)
    parity, agreement = compare_typed(network, typed, contract, precision)
    window = (len(contract.channels), *contract.patch_zyx)
    engine, version = build(typed, name, (window, contract.outputs), GPUS[gpu], batch)
    record = RtxRecord(
        contract_sha256=contract.contract_sha256,
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        capabilities=GPUS[gpu],
        tensorrt_rtx=version,
        precision=precision,
        window=window,
        classes=contract.outputs,
        batch=batch,
    )
    written = folder / FOLDER
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir()
    (written / ENGINE_FILE).write_bytes(engine)
    (written / RECORD_FILE).write_text(record.text(), encoding="utf-8")
    return RtxBuilt(written, record, parity, agreement, len(engine))


def build(
    typed: onnx.ModelProto,
    name: str,
    expected: tuple[tuple[int, int, int, int], int],
    capabilities: tuple[str, ...],
    batch: int,
) -> tuple[bytes, str]:
    """Return the engine of a typed network, and the version of TensorRT for RTX that built it.

    Args:
        typed: strongly typed, float32 input.
        name: of the network, for messages.
        expected: (channel, z, y, x) of the window that it must take, and how many classes it must answer.
        capabilities: compute capabilities, as "8.9"; one engine holds them all.
        batch: the most windows at a time.

    Raises:
        EngineRefused: TensorRT for RTX is not installed.
        ExportRefused: the parsed network takes or answers something else, or it cannot be parsed or built.
    """
    trt = bindings()
    logger = _quiet(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(typed.SerializeToString()):
        errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise ExportRefused(f"{name}: TensorRT for RTX cannot read the network: {errors}")
    _refuse_other(trt, network, name, expected, batch)
    _classes_last(trt, network)
    config = builder.create_builder_config()
    if network.get_input(0).shape[0] == -1:
        profile = builder.create_optimization_profile()
        window, _ = expected
        profile.set_shape(IMAGE, (1, *window), (batch, *window), (batch, *window))
        config.add_optimization_profile(profile)
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}"), index)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise ExportRefused(f"{name}: TensorRT for RTX cannot build the network: {logger.last}")
    return bytes(built), str(trt.__version__)


def _refuse_other(
    trt: Any,  # noqa: ANN401 - the wheel has no types
    network: Any,  # noqa: ANN401
    name: str,
    expected: tuple[tuple[int, int, int, int], int],
    batch: int,
) -> None:
    """Refuse a parsed network that takes or answers something else than it must."""
    window, classes = expected
    given, answer = network.get_input(0), network.get_output(0)
    floats = (trt.DataType.FLOAT, trt.DataType.HALF)
    found = [(one.name, tuple(one.shape)[1:], one.dtype in floats) for one in (given, answer)]
    wanted = [(IMAGE, window, True), (LOGITS, (classes, *window[1:]), True)]
    if (network.num_inputs, network.num_outputs) != (1, 1) or found != wanted:
        raise ExportRefused(f"{name}: the parsed network takes and answers {found}, the contract says {wanted}")
    if given.shape[0] not in {-1, batch}:
        raise ExportRefused(f"{name} takes batches of {given.shape[0]} only: use --batch {given.shape[0]}")


def _classes_last(trt: Any, network: Any) -> None:  # noqa: ANN401
    """Have (n, class, z, y, x) of any float type leave as (n, z, y, x, class) float32."""
    logits = network.get_output(0)
    network.unmark_output(logits)
    moved = network.add_shuffle(logits)
    moved.first_transpose = trt.Permutation([0, 2, 3, 4, 1])
    answer = moved.get_output(0)
    if answer.dtype != trt.DataType.FLOAT:
        answer = network.add_cast(answer, trt.DataType.FLOAT).get_output(0)
    logits.name = f"{LOGITS}_classes_first"
    answer.name = LOGITS
    network.mark_output(answer)


def _quiet(trt: Any) -> Any:  # noqa: ANN401
    """Return a logger that prints nothing and keeps the last error."""

    class Quiet(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "no reason was given"

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            if severity in {trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR}:
                self.last = message

    return Quiet()
