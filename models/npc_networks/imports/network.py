"""What every import ends in: a network with its weights, how it is fed, and the model folder written from both."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import openvino
import torch
from torch import Tensor, nn

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import LargestComponent, Normalisation, Regions
from npc_networks.export import (
    INPUT_NAME,
    OPSET,
    OUTPUT_NAME,
    PARITY_TOLERANCE,
    WEIGHTS_FILE,
    exporter_quiet,
    write_served,
)
from npc_networks.imports.names import check_names
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.imports.validation import named
from npc_networks.unet import Triple

WINDOW_STEP = 0.5
LARGEST_PARITY_SIDE = 2

CARD_FILE = "MODEL_CARD.md"
NOT_VALIDATED = "Its training left no figures of validation."
INTENDED_USE = (
    "Imported by a site from weights of its own choice. This product has not judged them: whoever imported them "
    "answers for their validation and for the licence of the weights."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportedNetwork:
    """A network as it was trained.

    Attributes:
        module: (batch, channel, z, y, x) normalised windows to (batch, class, z, y, x), logits or probabilities,
            whichever its framework blends.
        modalities: what the framework calls its channels.
        classes: labels that it gives, background included.
        spacing_mm: of its grid, in its own order of axes, as `patch`.
        downsampling: each side of a window must be a multiple of it.
        transpose: axes (z, y, x) in the network's order.
        normalise_first: before resampling rather than after.
        source: one sentence: framework, file, folds.
        mirror_axes: of its own order of axes; windows are shown mirrored along them too.
        regions: how overlapping outputs become labels; None where the largest output wins.
        keep_largest: rules for the finished label map.
        separate_z: thick slices are treated apart.
        crop_nonzero: only the box of voxels that are not zero is segmented.
        flipped_zyx: axes of the volume along which training saw the patient the other way round than LPS.
        label_names: what the framework calls its labels, in the order of their values; none where it has no names.
        validation: mean Dice of each label on the validation cases of training, by its value or region; none where
            nobody wrote it down.
    """

    module: nn.Module
    modalities: tuple[str, ...]
    classes: int
    spacing_mm: Vec3
    patch: Triple
    downsampling: Triple
    normalisation: tuple[Normalisation, ...]
    transpose: Triple
    normalise_first: bool
    source: str
    mirror_axes: tuple[int, ...] = ()
    regions: Regions | None = None
    keep_largest: tuple[LargestComponent, ...] = ()
    separate_z: bool = True
    crop_nonzero: bool = True
    label_names: tuple[str, ...] = ()
    flipped_zyx: tuple[int, ...] = ()
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What the pipeline asks of the network.

    Attributes:
        name: of the model folder.
        channels: what the pipeline feeds, one word per role.
        labels: index = label value, 0 = "background".
        precision: of the engine on a processor: "f32" as in training, or "fastest", which is bfloat16 where the
            processor has the hardware.
    """

    name: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    precision: str = "f32"


@dataclass(frozen=True, slots=True)
class Written:
    """What an import left.

    Attributes:
        parity: largest difference of a small window's answer, PyTorch against OpenVINO, as a share of the largest.
    """

    folder: Path
    weights_sha256: str
    size_bytes: int
    parity: float


class FoldMean(nn.Module):
    """The mean answer of several folds before windows are blended: probabilities in nnU-Net v1, logits in v2."""

    def __init__(self, folds: Sequence[nn.Module], blended: Literal["logits", "softmax", "sigmoid"]) -> None:
        super().__init__()
        self.folds = nn.ModuleList(folds)
        self._blended = blended

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, class, z, y, x)."""
        total = self._answer(self.folds[0], x)
        for fold in list(self.folds)[1:]:
            total = total + self._answer(fold, x)
        return total / len(self.folds) if len(self.folds) > 1 else total

    def _answer(self, fold: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = fold(x)
        if self._blended == "logits":
            return logits
        return torch.sigmoid(logits) if self._blended == "sigmoid" else torch.softmax(logits, dim=1)


def write_network(network: ImportedNetwork, target: Target, repository: Path) -> Written:
    """Write a complete model folder: ONNX with float32 weights, contract.json, config.pbtxt, model.py.

    Raises:
        ImportRefused: pipeline and network disagree, or OpenVINO computes something else than PyTorch.
    """
    check_target(network, target)
    network.module.eval()
    weights = _onnx_bytes(network)
    parity = _parity(network, weights)
    # Nothing is written, and no network that is already there is touched, before this one has proved itself.
    if not parity <= PARITY_TOLERANCE:
        raise ImportRefused(
            f"{target.name}: OpenVINO's answer differs from PyTorch's by {parity:.2g} of the largest value,"
            f" accepted is {PARITY_TOLERANCE:.2g}"
        )
    path = repository / target.name / WEIGHTS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    sha256 = hashlib.sha256(weights).hexdigest()
    text = json.dumps(contract(network, target, sha256), indent=2, ensure_ascii=False) + "\n"
    (repository / target.name / "contract.json").write_text(text, encoding="utf-8")
    (repository / target.name / CARD_FILE).write_text(_card(network, target), encoding="utf-8")
    write_served(repository, target.name)
    return Written(repository / target.name, sha256, len(weights), parity)


def _card(network: ImportedNetwork, target: Target) -> str:
    """Return the model card of an imported network."""
    rows = [
        f"| {label} | {named(label, network.label_names or target.labels)} | {dice:.3f} |"
        for label, dice in network.validation.items()
    ]
    table = "\n".join(["| label | name | mean Dice |", "|---|---|---|", *rows])
    judged = f"Mean Dice on the validation cases of its own training:\n\n{table}" if rows else NOT_VALIDATED
    return f"# {target.name}: imported network\n\n{network.source}\n\n{INTENDED_USE}\n\n{judged}\n"


def check_target(network: ImportedNetwork, target: Target) -> None:
    """Compare what the pipeline feeds and asks for with what the network takes and gives.

    Raises:
        ImportRefused: other numbers of channels or labels.
    """
    if len(network.modalities) != len(target.channels):
        raise ImportRefused(
            f"the network takes {len(network.modalities)} channels ({', '.join(network.modalities)}),"
            f" the pipeline feeds {len(target.channels)} ({', '.join(target.channels)})"
        )
    if network.classes != len(target.labels):
        raise ImportRefused(
            f"the network gives labels 0 to {network.classes - 1},"
            f" the pipeline's structures are made of labels 0 to {len(target.labels) - 1}:"
            " a network of other labels gets a pipeline of its own, which `npc-networks pipeline` writes"
        )
    check_names("label", network.label_names, target.labels)
    check_names("channel", network.modalities, target.channels)


def contract(network: ImportedNetwork, target: Target, weights_sha256: str) -> dict[str, Any]:
    """Return the contract as it is written in JSON."""
    return {
        "name": target.name,
        "version": f"imported-{weights_sha256[:12]}",
        "demo": False,
        "channels": list(target.channels),
        "spacing_zyx_mm": list(network.spacing_mm),
        "patch_zyx": list(network.patch),
        "normalisation": [_normalisation(how) for how in network.normalisation],
        "crop": {"nonzero": True} if network.crop_nonzero else None,
        "labels": list(target.labels),
        "step": WINDOW_STEP,
        "weights": {"file": WEIGHTS_FILE, "sha256": weights_sha256},
        "trained_on": network.source,
        "intended_use": INTENDED_USE,
        "normalise_first": network.normalise_first,
        "separate_z": network.separate_z,
        "transpose": list(network.transpose),
        "precision": target.precision,
    } | _rest(network)


def _rest(network: ImportedNetwork) -> dict[str, Any]:
    """Return the keys that most networks do without."""
    rest: dict[str, Any] = {}
    if network.flipped_zyx:
        rest["flipped_zyx"] = list(network.flipped_zyx)
    if network.mirror_axes:
        rest["mirror_axes"] = list(network.mirror_axes)
    if network.regions is not None:
        rest["regions"] = {"labels": list(network.regions.labels), "threshold": network.regions.threshold}
    if network.keep_largest:
        rest["keep_largest"] = [
            {"labels": list(rule.labels), "corners": rule.corners, "spare_mm3": rule.spare_mm3}
            for rule in network.keep_largest
        ]
    return rest


def _normalisation(how: Normalisation) -> dict[str, Any]:
    masked = {"masked": True} if how.masked else {}
    if how.scheme == "clipped_zscore":
        return {"scheme": how.scheme, "clip_hu": list(how.clip_hu)} | masked
    if how.scheme != "ct":
        return {"scheme": how.scheme} | masked
    return {"clip_hu": list(how.clip_hu), "mean_hu": how.mean_hu, "std_hu": how.std_hu} | masked


def _onnx_bytes(network: ImportedNetwork) -> bytes:
    """Return the network as ONNX: any batch, windows of one size, float32 throughout."""
    with tempfile.TemporaryDirectory() as folder, exporter_quiet():
        path = Path(folder) / "network.onnx"
        try:
            _export(network, path)
        except torch.onnx.OnnxExporterError as error:
            reason = _first_cause(error)
            raise ImportRefused(
                f"the network cannot be computed on windows of {' x '.join(map(str, network.patch))} voxels: {reason}"
            ) from error
        model = onnx.load(path)
    graph = model.graph
    # The exporter notes the source lines and paths of the machine it ran on.
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _export(network: ImportedNetwork, path: Path) -> None:
    torch.onnx.export(
        network.module,
        (torch.zeros(2, len(network.modalities), *network.patch),),
        path,
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        external_data=False,
        verbose=False,
    )


def _first_cause(error: BaseException) -> str:
    """Return the first line of what began a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _parity(network: ImportedNetwork, weights: bytes) -> float:
    """Compare both engines on noise; a small window does, since the network is convolutional."""
    sides = tuple(
        min(side, LARGEST_PARITY_SIDE * step) for side, step in zip(network.patch, network.downsampling, strict=True)
    )
    image = torch.randn(1, len(network.modalities), *sides, generator=torch.Generator().manual_seed(0))
    core = openvino.Core()
    model = core.read_model(weights)
    model.reshape(list(image.shape))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    theirs = compiled(image.numpy())[0]
    with torch.inference_mode():
        ours = network.module(image).numpy()
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())
