"""nnU-Net v1: `plans.pkl` and `fold_N/model_final_checkpoint.model` to the plain convolutional U-Net.

The layers are those of version 2 under other names; transposed convolutions and heads have no bias. Windows are
blended as probabilities, so the softmax is part of the network, and folds are averaged in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from npc_contour.domain.pipelines import Regions
from npc_networks.imports.network import FoldMean, ImportedNetwork
from npc_networks.imports.plans_v1 import PlansV1, read_plans
from npc_networks.imports.postprocessing import read_v1
from npc_networks.imports.safe_files import ImportRefused, read_checkpoint, read_pickle
from npc_networks.imports.state_dicts import load, tensors_of
from npc_networks.imports.validation import V1, read_validation
from npc_networks.unet import PlainConvUNet

PLANS, CHECKPOINT, POSTPROCESSING = "plans.pkl", "model_final_checkpoint.model", "postprocessing.json"
ALL_AXES = (0, 1, 2)
PROBABILITY_THRESHOLD = 0.5
NO_MIRRORING = "nnUNetTrainerV2_noMirroring"
TRAINERS = ("nnUNetTrainerV2", NO_MIRRORING, "nnUNetTrainerV2_DP", "nnUNetTrainerV2_DDP")
"""Trainers that build the plain network with a softmax at its end."""

_CONTEXT = re.compile(r"conv_blocks_context\.(\d+)\.(?:(\d+)\.)?blocks\.(\d+)\.(conv|instnorm)\.(weight|bias)")
_LOCALIZATION = re.compile(r"conv_blocks_localization\.(\d+)\.(\d+)\.blocks\.(\d+)\.(conv|instnorm)\.(weight|bias)")
_UP = re.compile(r"tu\.(\d+)\.weight")
_HEAD = re.compile(r"seg_outputs\.(\d+)\.weight")
_LAYERS = {"conv": "conv", "instnorm": "norm"}


def read_nnunet_v1(
    folder: Path,
    *,
    folds: Sequence[str] = (),
    stage: int | None = None,
    trainer: str | None = None,
    mirroring: bool = False,
    regions: Sequence[int] = (),
) -> ImportedNetwork:
    """Read a trained nnU-Net v1 configuration.

    Args:
        folder: with `plans.pkl` and folds, `all` or one checkpoint directly in it.
        folds: "0" to "4" or "all"; none takes `all`, else the checkpoint in the folder itself, else every fold.
        stage: of the plans; None takes the last.
        trainer: name of a trainer not known here that is known to build the plain network all the same.
        mirroring: show windows mirrored too, as `nnUNet_predict` does unless told not to.
        regions: label that each output writes, in order, of a trainer for overlapping regions, whose code holds them;
            none where the largest output wins.

    Raises:
        ImportRefused: what was found is not what nnU-Net v1 writes, or asks for what is not supported.
    """
    if not folder.is_dir():
        raise ImportRefused(f"{folder} is no folder")
    plans = read_plans(folder / PLANS, stage)
    if regions:
        plans = replace(plans, unet=replace(plans.unet, classes=len(regions)))
    checkpoints = find_checkpoints(folder, folds)
    networks = [_network(plans, path, trainer) for path in checkpoints]
    trainers = {_trainer_of(path) for path in checkpoints}
    names = ", ".join(path.relative_to(folder).as_posix() for path in checkpoints)
    return ImportedNetwork(
        module=FoldMean(networks, "sigmoid" if regions else "softmax"),
        modalities=plans.modalities,
        classes=len(set(regions)) + 1 if regions else plans.unet.classes,
        spacing_mm=plans.spacing_mm,
        patch=plans.patch,
        downsampling=plans.unet.downsampling_zyx,
        normalisation=plans.normalisation,
        transpose=plans.transpose,
        normalise_first=False,
        source=f"Imported from nnU-Net v1, {folder.resolve().name}, stage {plans.stage}: {names}.",
        mirror_axes=ALL_AXES if mirroring and NO_MIRRORING not in trainers else (),
        regions=Regions(tuple(regions), PROBABILITY_THRESHOLD) if regions else None,
        keep_largest=read_v1(folder / POSTPROCESSING),
        validation=read_validation([path.parent for path in checkpoints], V1),
    )


def find_checkpoints(folder: Path, folds: Sequence[str]) -> list[Path]:
    """Return the checkpoints of the folds asked for.

    Raises:
        ImportRefused: one is missing, or there is none.
    """
    if folds:
        paths = [folder / (fold if fold == "all" else f"fold_{fold}") / CHECKPOINT for fold in folds]
    elif (folder / "all" / CHECKPOINT).is_file():
        paths = [folder / "all" / CHECKPOINT]
    elif (folder / CHECKPOINT).is_file():
        paths = [folder / CHECKPOINT]
    else:
        paths = sorted(folder.glob(f"fold_*/{CHECKPOINT}"))
    if missing := [path for path in paths if not path.is_file()]:
        raise ImportRefused(f"{missing[0]} is missing; {folder} holds {_content(folder)}")
    if not paths:
        raise ImportRefused(
            f"{folder} holds no {CHECKPOINT}, neither in itself nor in all/ or fold_*/; it holds {_content(folder)}"
        )
    return paths


def to_plain_names(weights: Mapping[str, Tensor], plans: PlansV1, path: Path) -> dict[str, Tensor]:
    """Return a state dict of Generic_UNet under the names of the plain U-Net, biases that it lacks as zeros.

    Raises:
        ImportRefused: a name is not one of Generic_UNet's.
    """
    convs = plans.unet.convs_per_stage
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = _plain_name(key, convs)
        if name is None:
            raise ImportRefused(f"{path}: {key} is no weight of nnU-Net v1's Generic_UNet")
        if name in found:
            raise ImportRefused(f"{path}: {key} falls on {name}, which is already taken")
        found[name] = value
        if name.startswith(("decoder.transpconvs", "decoder.seg_layers")):
            outputs = 1 if name.startswith("decoder.transpconvs") else 0
            if value.ndim != 5:
                raise ImportRefused(f"{path}: {key} has shape {tuple(value.shape)}, expected five axes")
            found[name.replace(".weight", ".bias")] = torch.zeros(value.shape[outputs])
    return found


def _plain_name(key: str, convs: int) -> str | None:
    if match := _CONTEXT.fullmatch(key):
        stage, half, block, layer, kind = match.groups()
        # The bottleneck is a pair: all convolutions but the last, and the last.
        index = int(block) + (convs - 1 if half == "1" else 0)
        return f"encoder.stages.{stage}.0.convs.{index}.{_LAYERS[layer]}.{kind}"
    if match := _LOCALIZATION.fullmatch(key):
        stage, half, block, layer, kind = match.groups()
        index = int(block) + (convs - 1 if half == "1" else 0)
        return f"decoder.stages.{stage}.convs.{index}.{_LAYERS[layer]}.{kind}"
    if match := _UP.fullmatch(key):
        return f"decoder.transpconvs.{match[1]}.weight"
    if match := _HEAD.fullmatch(key):
        return f"decoder.seg_layers.{match[1]}.weight"
    return None


def _network(plans: PlansV1, path: Path, trainer: str | None) -> PlainConvUNet:
    _check_trainer(path, trainer)
    content = read_checkpoint(path)
    if "state_dict" not in content:
        raise ImportRefused(f"{path} has no 'state_dict'; it has {', '.join(map(str, content))}")
    weights = to_plain_names(tensors_of(content["state_dict"], f"{path}: state_dict"), plans, path)
    network = PlainConvUNet(plans.unet)
    load(network, weights, path)
    return network.eval()


def _trainer_of(path: Path) -> object:
    """Return the trainer that the file beside a checkpoint names; "" where there is no such file."""
    description = path.with_name(path.name + ".pkl")
    if not description.is_file():
        return ""
    content = read_pickle(description)
    return content.get("name") if isinstance(content, Mapping) else None


def _check_trainer(path: Path, trainer: str | None) -> None:
    """Refuse trainers that change the network; without the file beside the checkpoint, keys and shapes decide."""
    name = _trainer_of(path)
    if isinstance(name, str) and "Cascade" in name:
        raise ImportRefused(
            f"{path} was written by trainer {name}, the second stage of a cascade, which are not supported:"
            " import a configuration that stands alone"
        )
    if name != "" and name not in (*TRAINERS, trainer):
        raise ImportRefused(
            f"{path}.pkl was written by trainer {name!r}; known to build the plain network with a softmax are"
            f" {', '.join(TRAINERS)}. If {name} does too, say so with --trainer {name}"
        )


def _content(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
