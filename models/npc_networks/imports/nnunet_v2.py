"""nnU-Net v2: `plans.json`, `dataset.json` and `fold_N/checkpoint_final.pth`. Windows are blended as logits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from npc_networks.imports.network import FoldMean, ImportedNetwork
from npc_networks.imports.plans_v2 import PlansV2, read_plans
from npc_networks.imports.postprocessing import read_v2
from npc_networks.imports.residual import ResidualEncoderUNet, ResidualPlan
from npc_networks.imports.safe_files import ImportRefused, read_checkpoint
from npc_networks.imports.state_dicts import load, tensors_of
from npc_networks.imports.validation import V2, read_validation
from npc_networks.unet import PlainConvUNet

CHECKPOINT = "checkpoint_final.pth"
TRAINER = re.compile(
    r"NpcTrainer|nnUNetTrainer(_?(\d+epochs?|NoMirroring|onlyMirror01|NoDA|DA5|DA(Seg)?[Oo]rd0|DA5ord0|CELoss|DiceLoss"
    r"|NoDeepSupervision|noDummy2DDA))*"
)
"""Trainers that change the length of training, the augmentation or the loss, not the network or its last layer."""


def read_nnunet_v2(
    folder: Path,
    *,
    folds: Sequence[str] = (),
    trainer: str | None = None,
    mirroring: bool = False,
    postprocessing: Path | None = None,
    checkpoint: str = CHECKPOINT,
) -> ImportedNetwork:
    """Read a trained nnU-Net v2 configuration.

    Args:
        folder: with `plans.json`, `dataset.json` and folds.
        folds: "0" to "4" or "all"; none takes every fold there is, as nnU-Net does: "all" only where it is alone.
        trainer: name of a trainer not known here that is known to build the plans' network all the same.
        mirroring: show windows mirrored too, along the axes that training allowed, as `nnUNetv2_predict` does unless
            told not to.
        postprocessing: the `postprocessing.pkl` that `nnUNetv2_find_best_configuration` wrote; None applies nothing.
        checkpoint: file of each fold: that of the last epoch, or `checkpoint_best.pth`.

    Raises:
        ImportRefused: what was found is not what nnU-Net v2 writes, or asks for what is not supported.
    """
    if not folder.is_dir():
        raise ImportRefused(f"{folder} is no folder")
    paths = find_checkpoints(folder, folds, checkpoint)
    contents = [read_checkpoint(path) for path in paths]
    configurations = {_configuration(content, path, trainer) for content, path in zip(contents, paths, strict=True)}
    if len(configurations) != 1:
        raise ImportRefused(f"{folder}: folds of different configurations {', '.join(sorted(configurations))}")
    plans = read_plans(folder, configurations.pop())
    networks = [_network(plans, content, path) for content, path in zip(contents, paths, strict=True)]
    names = ", ".join(path.relative_to(folder).as_posix() for path in paths)
    return ImportedNetwork(
        module=FoldMean(networks, "logits"),
        modalities=plans.channels,
        classes=plans.labels,
        spacing_mm=plans.spacing_mm,
        patch=plans.patch,
        downsampling=plans.unet.downsampling_zyx,
        normalisation=plans.normalisation,
        transpose=plans.transpose,
        flipped_zyx=plans.flipped,
        normalise_first=True,
        source=f"Imported from nnU-Net v2, {folder.resolve().name}, configuration {plans.configuration}: {names}.",
        mirror_axes=_mirror_axes(contents[0], paths[0]) if mirroring else (),
        regions=plans.regions,
        label_names=plans.label_names,
        validation=read_validation([path.parent for path in paths], V2),
        keep_largest=() if postprocessing is None else read_v2(postprocessing),
    )


def find_checkpoints(folder: Path, folds: Sequence[str], checkpoint: str = CHECKPOINT) -> list[Path]:
    """Return the checkpoints of the folds asked for.

    Raises:
        ImportRefused: one is missing, or there is none.
    """
    there = sorted(folder.glob(f"fold_*/{checkpoint}"))
    numbered = [path for path in there if path.parent.name != "fold_all"]
    paths = [folder / f"fold_{fold}" / checkpoint for fold in folds] or numbered or there
    holds = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
    if missing := [path for path in paths if not path.is_file()]:
        raise ImportRefused(f"{missing[0]} is missing; {folder} holds {holds}{_others(missing[0].parent, checkpoint)}")
    if not paths:
        others = "".join(_others(fold, checkpoint) for fold in sorted(folder.glob("fold_*"))[:1])
        raise ImportRefused(f"{folder} holds no fold_*/{checkpoint}; it holds {holds}{others}")
    return paths


def _others(fold: Path, checkpoint: str) -> str:
    names = sorted(path.name for path in fold.glob("*.pth") if path.name != checkpoint)
    return f", {fold.name} holds {', '.join(names)}: take one by --checkpoint" if names else ""


def _configuration(content: Mapping[str, Any], path: Path, trainer: str | None) -> str:
    for key in ("network_weights", "init_args", "trainer_name"):
        if key not in content:
            raise ImportRefused(f"{path} has no {key!r}; it has {', '.join(map(str, content))}")
    name = str(content["trainer_name"])
    if not TRAINER.fullmatch(name) and name != trainer:
        raise ImportRefused(
            f"{path} was written by trainer {name}, which may change the network; if it builds the network of its"
            f" plans, say so with --trainer {name}"
        )
    arguments = content["init_args"]
    if not isinstance(arguments, Mapping) or not isinstance(arguments.get("configuration"), str):
        raise ImportRefused(f"{path}: init_args name no configuration")
    return str(arguments["configuration"])


def _mirror_axes(content: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    axes = content.get("inference_allowed_mirroring_axes")
    if axes is None:
        return ()
    if not isinstance(axes, tuple | list) or not set(axes) <= {0, 1, 2}:
        raise ImportRefused(f"{path}: inference_allowed_mirroring_axes is {axes!r}, expected axes of 0, 1, 2")
    return tuple(int(axis) for axis in axes)


def _network(plans: PlansV2, content: Mapping[str, Any], path: Path) -> nn.Module:
    weights = tensors_of(content["network_weights"], f"{path}: network_weights")
    # The same tensors occur a second and third time under the names of lists and of the decoder's own encoder.
    own = {
        key: value
        for key, value in weights.items()
        if ".all_modules." not in key and not key.startswith("decoder.encoder.")
    }
    network = (
        ResidualEncoderUNet(plans.network) if isinstance(plans.network, ResidualPlan) else PlainConvUNet(plans.network)
    )
    load(network, own, path)
    return network.eval()
