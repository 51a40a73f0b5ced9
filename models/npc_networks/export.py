"""From a trained network to the model repository: compact ONNX and the contract that describes it.

Weights are stored as float16 and cast to float32 inside the graph: half the bytes, and engines still compute in the
precision they choose.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from npc_contour.catalog import read_contract
from npc_contour.domain.pipelines import Normalisation
from npc_networks.networks import CROP_ABOVE_HU, CROP_MARGIN_MM, WINDOW_STEP, NetworkSpec
from npc_networks.serving.config import config_pbtxt, model_py
from npc_networks.unet import PlainConvUNet, Triple

OPSET = 20
INPUT_NAME = "image"
OUTPUT_NAME = "logits"
WEIGHTS_FILE = "1/network.onnx"
PARITY_TOLERANCE = 1e-3
"""Largest difference of logits between PyTorch and OpenVINO in float32, as a share of the largest logit."""

INTENDED_USE = (
    "Demonstration and tests of the service on synthetic phantoms. Not for clinical use: "
    "it has never seen a patient and its contours mean nothing on one."
)


class ExportError(Exception):
    """The exported network does not compute what the trained one does."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        parity: largest difference of logits, PyTorch against OpenVINO, both float32, as a share of the largest.
    """

    onnx_path: Path
    contract_path: Path
    weights_sha256: str
    size_bytes: int
    parity: float


def network_of(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> PlainConvUNet:
    """Return the network in evaluation mode with its weights rounded to float16, as they are exported."""
    network = PlainConvUNet(spec.plan)
    network.load_state_dict({key: value.half().float() for key, value in weights.items()})
    return network.eval()


def export_network(spec: NetworkSpec, weights: Mapping[str, Tensor], repository: Path, *, trained_on: str) -> Exported:
    """Write `NAME/1/network.onnx` and `NAME/contract.json` into a model repository.

    Args:
        spec: what the network is.
        weights: its state dict.
        repository: folder of Triton's models.
        trained_on: one sentence for the contract: data, seeds, time.

    Raises:
        ExportError: OpenVINO's answer differs from PyTorch's by more than PARITY_TOLERANCE.
    """
    network = network_of(spec, weights)
    onnx_path = repository / spec.name / WEIGHTS_FILE
    onnx_path.parent.mkdir(parents=True, exist_ok=True)
    onnx_path.write_bytes(onnx_bytes(network, spec.patch_zyx))
    parity = parity_with_openvino(network, onnx_path, spec.patch_zyx)
    if not parity <= PARITY_TOLERANCE:
        raise ExportError(
            f"{onnx_path}: logits differ by {parity:.2g} of the largest, accepted is {PARITY_TOLERANCE:.2g}"
        )
    sha256 = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    contract_path = write_contract(repository, contract(spec, sha256, trained_on))
    return Exported(onnx_path, contract_path, sha256, onnx_path.stat().st_size, parity)


def write_contract(repository: Path, content: Mapping[str, Any]) -> Path:
    """Write `NAME/contract.json`; return where it lies."""
    path = repository / str(content["name"]) / "contract.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def write_served(repository: Path, name: str) -> None:
    """Write what Triton needs beside an exported network: `NAME/config.pbtxt` and `NAME/1/model.py`."""
    folder = repository / name
    contract_read = read_contract(folder / "contract.json")
    (folder / "config.pbtxt").write_text(config_pbtxt(contract_read), encoding="utf-8")
    (folder / "1" / "model.py").write_text(model_py(), encoding="utf-8")


def contract(
    spec: NetworkSpec, weights_sha256: str, trained_on: str, uncertainty: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the contract as it is written in JSON; without how doubts are read until weights are calibrated."""
    calibrated = {} if uncertainty is None else {"uncertainty": dict(uncertainty)}
    return {
        "name": spec.name,
        "version": spec.version,
        "demo": True,
        "channels": list(spec.channels),
        "spacing_zyx_mm": list(spec.spacing_zyx_mm),
        "patch_zyx": list(spec.patch_zyx),
        "normalisation": [_normalisation(how) for how in spec.normalisation],
        "crop": {"above_hu": CROP_ABOVE_HU, "margin_mm": CROP_MARGIN_MM} if spec.cropped else None,
        "labels": list(spec.labels),
        "step": WINDOW_STEP,
        "weights": {"file": WEIGHTS_FILE, "sha256": weights_sha256},
        "trained_on": trained_on,
        "intended_use": INTENDED_USE,
        "bounds": {"max_label_cc": spec.max_label_cc, "label_cc": dict(spec.label_cc)},
        **calibrated,
    }


def _normalisation(how: Normalisation) -> dict[str, Any]:
    if how.scheme != "ct":
        return {"scheme": how.scheme}
    return {"clip_hu": list(how.clip_hu), "mean_hu": how.mean_hu, "std_hu": how.std_hu}


def onnx_bytes(network: PlainConvUNet, patch_zyx: Triple) -> bytes:
    """Return the network as ONNX: any batch, windows of one size, float32 in and out, float16 weights."""
    example = torch.zeros(2, network.plan.in_channels, *patch_zyx)
    batch = torch.export.Dim("batch", min=1, max=64)
    with tempfile.TemporaryDirectory() as folder, exporter_quiet():
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (example,),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: batch},),
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    _strip_history(model)
    _store_halves(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def parity_with_openvino(network: PlainConvUNet, onnx_path: Path, patch_zyx: Triple) -> float:
    """Return the largest difference of logits on noise as a share of the largest; float32 in both, batch of one."""
    image = torch.randn(1, network.plan.in_channels, *patch_zyx, generator=torch.Generator().manual_seed(0))
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(onnx_path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    theirs = compiled(image.numpy())[0]
    with torch.inference_mode():
        ours = network(image).numpy()
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


@contextmanager
def exporter_quiet() -> Iterator[None]:
    """Silence the exporter's remarks on torchvision, which nothing here uses, and on its own internals."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def _strip_history(model: onnx.ModelProto) -> None:
    """Remove what the exporter tells about the machine and the source lines it ran on, in place."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _store_halves(model: onnx.ModelProto) -> None:
    """Replace every float32 initialiser by its float16 value and a cast, in place."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
