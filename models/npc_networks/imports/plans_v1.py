"""nnU-Net v1's `plans.pkl`, read without executing it and checked key by key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import Normalisation
from npc_networks.imports.keys import Keys, three, triple
from npc_networks.imports.safe_files import ImportRefused, read_pickle
from npc_networks.unet import Triple, UNetPlan

MAX_FEATURES = 320
UNCLIPPED = (-np.inf, np.inf)
INT16_HU = (-32768.0, 32767.0)
EXPORT = {"force_separate_z": None, "interpolation_order": 1, "interpolation_order_z": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlansV1:
    """One stage of the plans.

    Attributes:
        modalities: names of the channels.
        normalisation: one per channel.
        spacing_mm: of the stage, in the network's order of axes, as `patch`.
        unet: the network's shape, with version 1's own kernels in the decoder.
    """

    modalities: tuple[str, ...]
    normalisation: tuple[Normalisation, ...]
    stage: int
    spacing_mm: Vec3
    patch: Triple
    transpose: Triple
    unet: UNetPlan


def read_plans(path: Path, stage: int | None = None) -> PlansV1:
    """Read the plans of one stage.

    Args:
        path: `plans.pkl`.
        stage: 0 is the low resolution where there are two; None takes the last (full resolution).

    Raises:
        ImportRefused: no plain data, a key is missing or of another kind, or the plans ask for what is not supported.
    """
    return parse_plans(read_pickle(path), path, stage)


def parse_plans(content: Any, path: Path, stage: int | None) -> PlansV1:  # noqa: ANN401
    """Check the content of `plans.pkl`; see `read_plans`."""
    plans = Keys(content, f"{path}")
    _check_export(plans)
    stages = plans.numbered("plans_per_stage")
    chosen = max(stages) if stage is None else stage
    if chosen not in stages:
        raise ImportRefused(f"{path} has stages {sorted(stages)}, asked for stage {chosen}")
    of_stage = Keys(stages[chosen], f"{path}, stage {chosen}")
    channels = plans.whole("num_modalities")
    modalities = plans.numbered("modalities")
    if sorted(modalities) != list(range(channels)):
        raise ImportRefused(f"{path}: {channels} modalities, but names for {sorted(modalities)}")
    spacing = of_stage.numbers("current_spacing")
    first, second, third = (float(value) for value in three(spacing, f"{path}: current_spacing"))
    return PlansV1(
        modalities=tuple(str(modalities[index]) for index in range(channels)),
        normalisation=_normalisations(plans, channels),
        stage=chosen,
        spacing_mm=(first, second, third),
        patch=triple(of_stage.numbers("patch_size"), f"{path}: patch_size"),
        transpose=triple(plans.numbers("transpose_forward"), f"{path}: transpose_forward"),
        unet=_unet(plans, of_stage, channels),
    )


def _normalisations(plans: Keys, channels: int) -> tuple[Normalisation, ...]:
    schemes = plans.mapping("normalization_schemes")
    masked = plans.mapping("use_mask_for_norm")
    return tuple(_normalisation(plans, index, schemes.get(index), masked.get(index)) for index in range(channels))


def _normalisation(plans: Keys, channel: int, scheme: Any, masked: Any) -> Normalisation:  # noqa: ANN401
    if not isinstance(scheme, str):
        raise ImportRefused(f"{plans.where}: normalization_schemes has no scheme for channel {channel}")
    if not isinstance(masked, bool | np.bool_):
        raise ImportRefused(f"{plans.where}: use_mask_for_norm of channel {channel} is {masked!r}, expected yes or no")
    within = bool(masked)
    if scheme == "noNorm":
        return Normalisation(INT16_HU, 0.0, 1.0)
    if scheme not in ("CT", "CT2"):
        return Normalisation(UNCLIPPED, 0.0, 1.0, "zscore", within)
    properties = Keys(plans.get("dataset_properties"), f"{plans.where}, dataset_properties").mapping(
        "intensityproperties"
    )
    where = f"{plans.where}, intensityproperties of channel {channel}"
    found = Keys(properties.get(channel), where)
    low, high, mean, std = (found.number(key) for key in ("percentile_00_5", "percentile_99_5", "mean", "sd"))
    if not low < high or not std > 0:
        raise ImportRefused(f"{where}: percentiles {low:g} and {high:g}, sd {std:g}; expected low < high and sd > 0")
    if scheme == "CT2":
        return Normalisation((low, high), 0.0, 1.0, "clipped_zscore", within)
    return Normalisation((low, high), mean, std, masked=within)


def _check_export(plans: Keys) -> None:
    """Refuse plans that resample probabilities in another way than nnU-Net does unless told."""
    if "segmentation_export_params" not in plans:
        return
    asked = Keys(plans.get("segmentation_export_params"), f"{plans.where}, segmentation_export_params")
    for key, expected in EXPORT.items():
        if asked.get(key) != expected:
            raise ImportRefused(f"{asked.where}: {key} is {asked.get(key)!r}, expected {expected!r}")


def _unet(plans: Keys, of_stage: Keys, channels: int) -> UNetPlan:
    pools = of_stage.rows("pool_op_kernel_sizes")
    kernels = of_stage.rows("conv_kernel_sizes")
    if len(kernels) != len(pools) + 1:
        raise ImportRefused(f"{of_stage.where}: {len(pools)} poolings and {len(kernels)} kernels, expected one more")
    if strange := {side for kernel in kernels for side in kernel} - {1, 3}:
        raise ImportRefused(f"{of_stage.where}: kernels with sides {sorted(strange)}, expected 1 or 3")
    base = plans.whole("base_num_features")
    return UNetPlan(
        in_channels=channels,
        classes=plans.whole("num_classes") + 1,
        features=tuple(min(base * 2**index, MAX_FEATURES) for index in range(len(kernels))),
        kernels=tuple(kernels),
        strides=((1, 1, 1), *pools),
        convs_per_stage=plans.whole("conv_per_stage"),
        # The decoder stage that works at the resolution of encoder stage i has the kernel of stage i + 1.
        decoder_kernels=tuple(reversed(kernels[1:])),
    )
