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
CONVS_PER_STAGE = 2
AS_STORED = (0, 1, 2)
"""What version 1 itself assumes of plans that were written before it knew these keys."""
PREPROCESSOR = "GenericPreprocessor"
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
    _check_preprocessor(plans)
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
        transpose=_transpose(plans),
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


def _check_preprocessor(plans: Keys) -> None:
    """Refuse plans whose images were prepared in another way than nnU-Net's own."""
    name = plans.get("preprocessor_name") if "preprocessor_name" in plans else None
    if name not in (None, PREPROCESSOR):
        raise ImportRefused(f"{plans.where}: preprocessor_name is {name!r}, expected {PREPROCESSOR!r}")


def _transpose(plans: Keys) -> Triple:
    if any(key not in plans or plans.get(key) is None for key in ("transpose_forward", "transpose_backward")):
        return AS_STORED
    return triple(plans.numbers("transpose_forward"), f"{plans.where}: transpose_forward")


def _pools(of_stage: Keys) -> list[Triple]:
    """Return the poolings; those of plans that only count them begin late along the axes that have fewer."""
    if "pool_op_kernel_sizes" in of_stage:
        return of_stage.rows("pool_op_kernel_sizes")
    counts = triple(of_stage.numbers("num_pool_per_axis"), f"{of_stage.where}: num_pool_per_axis")
    z, y, x = (max(counts) - count for count in counts)
    return [(1 + (z <= level), 1 + (y <= level), 1 + (x <= level)) for level in range(max(counts))]


def _unet(plans: Keys, of_stage: Keys, channels: int) -> UNetPlan:
    pools = _pools(of_stage)
    told = "conv_kernel_sizes" in of_stage
    kernels = of_stage.rows("conv_kernel_sizes") if told else [(3, 3, 3)] * (len(pools) + 1)
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
        convs_per_stage=plans.whole("conv_per_stage") if "conv_per_stage" in plans else CONVS_PER_STAGE,
        # The decoder stage that works at the resolution of encoder stage i has the kernel of stage i + 1.
        decoder_kernels=tuple(reversed(kernels[1:])),
    )
