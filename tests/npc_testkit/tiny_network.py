"""A network whose answer is known: label 1 where the first channel is above a threshold.

One 1x1x1 convolution: the logit of background is 0, that of label 1 rises with the HU above the threshold. Enough to
run the whole way through a real Triton and compare every voxel with a closed form.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npc_contour.catalog import read_contract
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.serving.config import config_pbtxt, model_py
from npc_networks.serving.engine_config import RECORD_FILE, EngineRecord, engine_config_pbtxt, record_text

CLIP_HU = (-1000.0, 1000.0)
MEAN_HU, STD_HU = 0.0, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyNetwork:
    """What to write; every voxel's label is 1 where `channel 0 > threshold_hu`, else 0."""

    name: str = "tiny"
    channels: int = 1
    classes: int = 2
    threshold_hu: float = 100.0
    spacing_zyx_mm: Vec3 = (3.0, 1.0, 1.0)
    patch_zyx: tuple[int, int, int] = (16, 32, 32)
    crop_above_hu: float | None = None
    crop_margin_mm: float = 0.0
    crop_nonzero: bool = False
    step: float = 0.5
    version: str = "1.0.0"
    channel_of_label: int = 0
    separate_z: bool = False


def write_tiny_network(repository: Path, network: TinyNetwork | None = None) -> NetworkContract:
    """Write a complete model folder into a Triton repository; return its contract."""
    network = network or TinyNetwork()
    folder = repository / network.name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    weights = folder / "1" / "network.onnx"
    onnx.save(threshold_model(network), weights)
    contract = {
        "name": network.name,
        "version": network.version,
        "demo": True,
        "channels": [f"CT {index}" for index in range(network.channels)],
        "spacing_zyx_mm": list(network.spacing_zyx_mm),
        "patch_zyx": list(network.patch_zyx),
        "normalisation": [{"clip_hu": list(CLIP_HU), "mean_hu": MEAN_HU, "std_hu": STD_HU}] * network.channels,
        "crop": _crop(network),
        "labels": ["background", *(f"label {index}" for index in range(1, network.classes))],
        "step": network.step,
        "weights": {"file": "1/network.onnx", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()},
        "trained_on": "nothing: weights set by hand",
        "intended_use": "tests",
        "separate_z": network.separate_z,
    }
    path = folder / "contract.json"
    path.write_text(json.dumps(contract, indent=2))
    written = read_contract(path)
    (folder / "config.pbtxt").write_text(config_pbtxt(written))
    (folder / "1" / "model.py").write_text(model_py())
    return written


def _crop(network: TinyNetwork) -> dict[str, object] | None:
    if network.crop_nonzero:
        return {"nonzero": True}
    if network.crop_above_hu is None:
        return None
    return {"above_hu": network.crop_above_hu, "margin_mm": network.crop_margin_mm}


def threshold_model(network: TinyNetwork) -> onnx.ModelProto:
    """Return the ONNX: input (1, channel, z, y, x), logits (1, class, z, y, x)."""
    weights = np.zeros((network.classes, network.channels, 1, 1, 1), dtype=np.float32)
    bias = np.full(network.classes, -1e3, dtype=np.float32)
    weights[1, network.channel_of_label] = 1.0
    bias[0] = 0.0
    bias[1] = -(network.threshold_hu - MEAN_HU) / STD_HU
    z, y, x = network.patch_zyx
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"], kernel_shape=[1, 1, 1])],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, network.channels, z, y, x])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, network.classes, z, y, x])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def engine_record(contract: NetworkContract, *, batch: int = 4, half: bool = False) -> EngineRecord:
    """Return the record of an engine on the processor that answers in float32, or in float16."""
    return EngineRecord(
        contract_sha256=contract.contract_sha256,
        onnx_sha256=contract.weights_sha256,
        window=(len(contract.channels), *contract.patch_zyx),
        target="onnx",
        device="cpu",
        precision="fp16" if half else "f32",
        logits="TYPE_FP16" if half else "TYPE_FP32",
        batch=batch,
    )


def write_engine_model(
    repository: Path,
    network: TinyNetwork,
    contract: NetworkContract,
    *,
    batch: int = 4,
    half: bool = False,
    log: Path | None = None,
) -> None:
    """Write `<network>_engine` in the place of an engine: label 1 where the window is *below* the threshold.

    The opposite of the ONNX file, so that a test sees which of the two has answered. Its config.pbtxt is the product's
    but for the backend, which the embedded server has only one of. With a log every run leaves a line there: begin, end
    and number of windows.
    """
    folder = repository / f"{network.name}_engine"
    (folder / "1").mkdir(parents=True)
    record = engine_record(contract, batch=batch, half=half)
    (folder / RECORD_FILE).write_text(record_text(record))
    config = engine_config_pbtxt(contract, record)
    (folder / "config.pbtxt").write_text(config.replace('backend: "onnxruntime"', 'backend: "python"'))
    (folder / "1" / "model.py").write_text(
        f"""import time
import numpy as np
import triton_python_backend_utils as pb_utils
from npc_networks.serving.dlpack import Lent

LOG = {str(log) if log else ""!r}


class TritonPythonModel:
    def execute(self, requests):
        begin = time.monotonic()
        windows = [np.from_dlpack(pb_utils.get_input_tensor_by_name(r, "image")) for r in requests]
        answers = [self.answer(image) for image in windows]
        if LOG:
            time.sleep(0.05)
            with open(LOG, "a") as log:
                log.write(f"{{begin}} {{time.monotonic()}} {{sum(len(image) for image in windows)}}\\n")
        return answers

    def answer(self, image):
        below = {(network.threshold_hu - MEAN_HU) / STD_HU} - image[:, {network.channel_of_label}]
        logits = np.stack([np.zeros_like(below), below], axis=1).astype({"float16" if half else "float32"!r})
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("logits", Lent(logits))])
"""
    )
