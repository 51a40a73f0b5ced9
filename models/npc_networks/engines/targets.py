"""Writes `<network>_engine` beside a network: what Triton runs its windows on, in place of the processor in process."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
import openvino

from npc_contour.catalog import read_contract
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.engines.typed import LOGITS_TYPES, Precision, typed_model
from npc_networks.serving import gpu_engine
from npc_networks.serving.engine_config import (
    RECORD_FILE,
    Device,
    EngineRecord,
    Target,
    engine_config_pbtxt,
    record_text,
)
from npc_networks.serving.engines import verify_weights

Float32Array = npt.NDArray[np.float32]

PARITY_LIMITS: Final = {"f32": 1e-3, "fp16": 2e-2, "bf16": 0.1}
"""Largest difference from the network's own logits, as a share of the largest, that an export may show."""
_TRITON_TYPES: Final[Mapping[int, Literal["TYPE_FP32", "TYPE_FP16"]]] = {
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.FLOAT16: "TYPE_FP16",
}


class ExportRefused(ValueError):
    """The network cannot be written for this target; the message says why and what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is asked of an export.

    Attributes:
        precision: of the convolutions; None takes fp16 on a GPU and float32 on a processor.
        batch: the most windows in one request.
        device: None takes the GPU for TensorRT, the processor for the others.
        version_compatible: a TensorRT engine that later releases of the same major version run too.
    """

    target: Target
    precision: Precision | None = None
    batch: int = 1
    device: Device | None = None
    version_compatible: bool = False


@dataclass(frozen=True, slots=True)
class Engine:
    """What was written.

    Attributes:
        parity: largest difference of the logits from the network's own on noise, as a share of the largest; both in
            OpenVINO, which computes half precision's values in float32.
        agreement: share of voxels with the same label there.
    """

    folder: Path
    record: EngineRecord
    parity: float
    agreement: float


def write_engine(repository: Path, name: str, choice: Choice) -> Engine:
    """Write `NAME_engine` with its model, record and config.pbtxt.

    Args:
        repository: Triton's models; NAME lies there with its contract and ONNX file.
        name: of the network.
        choice: target and how.

    Raises:
        CatalogError: no such network.
        WeightsError: its ONNX file is not the contract's.
        TypingRefused: it cannot be written in the precision.
        ExportRefused: target, device, precision and batch do not go together, or the result differs too much.
    """
    contract = read_contract(repository / name / "contract.json")
    source = repository / name / contract.weights_file
    verify_weights(source, contract.weights_sha256)
    device, precision = _resolve(choice, contract)
    network = onnx.load(source)
    _refuse_fixed_batch(network, source, choice)
    typed = typed_model(network, precision)
    parity, agreement = compare_typed(network, typed, contract, precision)
    content = typed.SerializeToString()
    record = EngineRecord(
        contract_sha256=contract.contract_sha256,
        onnx_sha256=hashlib.sha256(content).hexdigest(),
        window=(len(contract.channels), *contract.patch_zyx),
        target=choice.target,
        device=device,
        precision=precision,
        logits=_TRITON_TYPES[LOGITS_TYPES[precision]],
        batch=choice.batch,
        version_compatible=choice.version_compatible,
    )
    folder = repository / f"{name}_engine"
    _write(folder, content, contract, record)
    return Engine(folder, record, parity, agreement)


def _resolve(choice: Choice, contract: NetworkContract) -> tuple[Device, Precision]:
    device: Device = choice.device or ("gpu" if choice.target == "tensorrt" else "cpu")
    precision: Precision = choice.precision or ("fp16" if device == "gpu" else "f32")
    if choice.target == "tensorrt" and device == "cpu":
        raise ExportRefused("TensorRT runs on a GPU only: use --target onnx or openvino for a processor")
    if choice.target == "openvino" and device == "gpu":
        raise ExportRefused("the OpenVINO engine is for the processor: use --target tensorrt, or onnx --device gpu")
    if choice.target != "tensorrt" and choice.version_compatible:
        raise ExportRefused("--version-compatible is an option of TensorRT's engines only")
    if device == "cpu" and precision == "fp16":
        raise ExportRefused("fp16 is slower than float32 on a processor: use f32, or --target openvino with bf16")
    if choice.target == "onnx" and precision == "bf16":
        raise ExportRefused("ONNX Runtime has no bfloat16 convolution: use f32, or fp16 with --device gpu")
    if choice.target == "openvino":
        if choice.batch != 1:
            raise ExportRefused("Triton's OpenVINO backend takes batches of one size: use --batch 1")
        if contract.precision == "f32" and precision == "f32":
            raise ExportRefused(
                f"{contract.name} asks for float32, and Triton's OpenVINO backend takes bfloat16 by itself where the"
                " processor has it: use --target onnx, or accept it with --precision bf16"
            )
    return device, precision


def _refuse_fixed_batch(network: onnx.ModelProto, source: Path, choice: Choice) -> None:
    first = network.graph.input[0].type.tensor_type.shape.dim[0]
    if first.HasField("dim_value") and first.dim_value != choice.batch:
        raise ExportRefused(f"{source} takes batches of {first.dim_value} only: use --batch {first.dim_value}")


def compare_typed(
    network: onnx.ModelProto, typed: onnx.ModelProto, contract: NetworkContract, precision: Precision
) -> tuple[float, float]:
    """Return how far a typed network's logits lie from the network's own on noise, and the share of equal labels.

    Raises:
        ExportRefused: farther than half precision explains.
    """
    shape = (1, len(contract.channels), *contract.patch_zyx)
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    own, other = (_run(model, image) for model in (network, typed))
    parity = float(np.abs(own - other).max() / np.abs(own).max())
    if not parity <= PARITY_LIMITS[precision]:
        raise ExportRefused(
            f"{contract.name} in {precision}: logits differ by {parity:.2g} of the largest, accepted is"
            f" {PARITY_LIMITS[precision]:.2g}: export with a wider --precision"
        )
    return parity, float(np.mean(own.argmax(1) == other.argmax(1)))


def _run(model: onnx.ModelProto, image: Float32Array) -> Float32Array:
    core = openvino.Core()
    read = core.read_model(model.SerializeToString())
    read.reshape(list(image.shape))
    answer: Float32Array = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]
    return answer.astype(np.float32)


def _write(folder: Path, content: bytes, contract: NetworkContract, record: EngineRecord) -> None:
    version = folder / "1"
    # What another export left there would be loaded in place of this one.
    shutil.rmtree(version, ignore_errors=True)
    for stale in (gpu_engine.ONNX_FILE, gpu_engine.BUILD_SCRIPT):
        (folder / stale).unlink(missing_ok=True)
    version.mkdir(parents=True)
    if record.target == "tensorrt":
        (folder / gpu_engine.ONNX_FILE).write_bytes(content)
        shutil.copyfile(gpu_engine.__file__, folder / gpu_engine.BUILD_SCRIPT)
    elif record.target == "onnx":
        (version / "model.onnx").write_bytes(content)
    else:
        model = openvino.Core().read_model(content)
        model.reshape([1, *record.window])
        openvino.save_model(model, version / "model.xml", compress_to_fp16=False)
    (folder / RECORD_FILE).write_text(record_text(record), encoding="utf-8")
    (folder / "config.pbtxt").write_text(engine_config_pbtxt(contract, record), encoding="utf-8")
