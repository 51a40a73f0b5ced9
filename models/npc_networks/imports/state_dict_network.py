"""A bare state dict of SwinUNETR, 3D UX-Net or RepUX-Net: the network's shape is read from the weights themselves."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from npc_networks.imports.bare_plans import read_bare_plans
from npc_networks.imports.network import FoldMean, ImportedNetwork
from npc_networks.imports.safe_files import ImportRefused, read_checkpoint
from npc_networks.imports.state_dicts import load, tensors_of
from npc_networks.imports.uxnet import STAGES, UXNet, UXPlan

SWIN, UX, REP_UX = ARCHITECTURES = ("swinunetr", "uxnet3d", "repuxnet")
HOLDERS = ("state_dict", "model_state_dict", "network_weights", "model", "net")
"""Keys under which trainers keep the weights."""

DOWNSAMPLING = {SWIN: 32, UX: 16, REP_UX: 16}
SWIN_MULTIPLE = 12
_UNUSED = re.compile(r".*\.(relative_position_index|num_batches_tracked)")
"""Buffers that are computed or only count; not every version of a framework keeps them."""


def read_state_dict(path: Path, architecture: str, plans_path: Path) -> ImportedNetwork:
    """Read one file of weights.

    Args:
        path: checkpoint with the weights, bare or under one of the usual keys.
        architecture: one of ARCHITECTURES.
        plans_path: `plans.toml`.

    Raises:
        ImportRefused: file or plans are not what they should be; what is missing is named.
    """
    plans = read_bare_plans(plans_path)
    weights = _weights(path)
    if architecture == SWIN:
        network, channels, classes = _swin(weights, path, plans.downsample)
    else:
        network, channels, classes = _ux(weights, path, architecture)
    if channels != len(plans.channels):
        raise ImportRefused(
            f"{path} holds a network of {channels} channels, {plans_path} names {len(plans.channels)}"
            f" ({', '.join(plans.channels)})"
        )
    step = DOWNSAMPLING[architecture]
    if any(side % step for side in plans.patch):
        raise ImportRefused(f"{plans_path}: patch is {list(plans.patch)}, {architecture} takes multiples of {step}")
    load(network, weights, path)
    return ImportedNetwork(
        module=FoldMean([network.eval()], plans.blended),
        modalities=plans.channels,
        classes=classes,
        spacing_mm=plans.spacing_mm,
        patch=plans.patch,
        downsampling=(step, step, step),
        normalisation=plans.normalisations,
        transpose=plans.transpose,
        normalise_first=plans.normalise_first,
        source=f"Imported from a state dict of {architecture}, {path.name}, fed as {plans_path.name} says.",
        flipped_zyx=plans.flipped,
        mirror_axes=plans.mirror_axes,
        separate_z=plans.separate_z,
        crop_nonzero=False,
    )


def _weights(path: Path) -> dict[str, Tensor]:
    content: Any = read_checkpoint(path)
    for holder in HOLDERS:
        if isinstance(content.get(holder), Mapping):
            content = content[holder]
            break
    tensors = tensors_of(content, str(path))
    return {key: value for key, value in tensors.items() if not _UNUSED.fullmatch(key)}


def _shape(weights: Mapping[str, Tensor], key: str, axes: int, path: Path, architecture: str) -> list[int]:
    if key not in weights:
        some = ", ".join(list(weights)[:3])
        raise ImportRefused(f"{path} is no {architecture}: it has no {key}; it has {some}, ...")
    if weights[key].ndim != axes:
        raise ImportRefused(f"{path}: {key} has shape {tuple(weights[key].shape)}, expected {axes} axes")
    return list(weights[key].shape)


def _ux(weights: Mapping[str, Tensor], path: Path, architecture: str) -> tuple[nn.Module, int, int]:
    backbone = "uxnet_3d" if architecture == UX else "repuxnet_3d"

    def shape(key: str, axes: int = 5) -> list[int]:
        return _shape(weights, key, axes, path, architecture)

    widths = [shape(f"{backbone}.stages.{stage}.0.dwconv.weight")[0] for stage in range(STAGES)]
    blocks = [_count(weights, rf"{backbone}\.stages\.{stage}\.(\d+)\.dwconv\.weight") for stage in range(STAGES)]
    groups = None
    if architecture == UX:
        points = [shape(f"{backbone}.stages.{stage}.0.pwconv1.weight") for stage in range(STAGES)]
        if any(width % max(point[1], 1) for width, point in zip(widths, points, strict=True)):
            raise ImportRefused(f"{path}: point-wise convolutions of {points} do not fit widths {widths}")
        g0, g1, g2, g3 = (width // point[1] for width, point in zip(widths, points, strict=True))
        groups = (g0, g1, g2, g3)
    channels = shape(f"{backbone}.downsample_layers.0.0.weight")[1]
    classes = shape("out.conv.conv.weight")[0]
    (w0, w1, w2, w3), (b0, b1, b2, b3) = widths, blocks
    plan = UXPlan(
        in_channels=channels,
        classes=classes,
        widths=(w0, w1, w2, w3),
        blocks=(b0, b1, b2, b3),
        kernel=shape(f"{backbone}.stages.0.0.dwconv.weight")[2],
        hidden=shape("encoder5.layer.conv1.conv.weight")[0],
        groups=groups,
    )
    return UXNet(plan), channels, classes


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    found = {int(match[1]) for key in weights if (match := re.fullmatch(pattern, key))}
    return max(found, default=-1) + 1


def _swin(weights: Mapping[str, Tensor], path: Path, downsample: str) -> tuple[nn.Module, int, int]:
    """Build MONAI's SwinUNETR; MONAI is asked for only here.

    Raises:
        ImportRefused: MONAI is not installed, or the weights are no SwinUNETR's.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from monai.networks.nets.swin_unetr import SwinUNETR  # noqa: PLC0415 - an extra, slow to import
    except ImportError as error:
        raise ImportRefused(
            f"SwinUNETR's architecture comes from MONAI, which is not installed ({error}): pip install monai"
        ) from error

    def shape(key: str, axes: int) -> list[int]:
        return _shape(weights, key, axes, path, SWIN)

    feature_size, channels, *_ = shape("swinViT.patch_embed.proj.weight", 5)
    classes = shape("out.conv.conv.weight", 5)[0]
    stages = range(1, STAGES + 1)
    depths = [_count(weights, rf"swinViT\.layers{stage}\.0\.blocks\.(\d+)\.norm1\.weight") for stage in stages]
    table = "swinViT.layers{}.0.blocks.0.attn.relative_position_bias_table"
    heads = [shape(table.format(stage), 2)[1] for stage in stages]
    window = round(shape(table.format(1), 2)[0] ** (1 / 3) + 1) // 2
    if feature_size % SWIN_MULTIPLE:
        raise ImportRefused(f"{path}: feature size is {feature_size}, SwinUNETR's is a multiple of {SWIN_MULTIPLE}")
    network = SwinUNETR(
        in_channels=channels,
        out_channels=classes,
        feature_size=feature_size,
        depths=depths,
        num_heads=heads,
        window_size=window,
        downsample=downsample,
        use_v2="swinViT.layers1c.0.conv1.conv.weight" in weights,
    )
    return network, channels, classes
