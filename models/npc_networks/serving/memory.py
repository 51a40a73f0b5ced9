"""How much memory a volume takes, known beforehand; class maps are held for one window's height, not all slices."""

from __future__ import annotations

import math
from typing import Final

from npc_contour.core.resampling import resampled_shape
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.serving.engines import CONCURRENT

HU: Final = 2
REAL: Final = 4
"""Bytes of an int16 and of a float32."""
OTHER_BYTES: Final = 4 * 2**20
"""Bands, lookups, weights of windows and the stretches that threads work on."""


def segment_peak_bytes(contract: NetworkContract, shape_zyx: tuple[int, int, int], spacing_zyx_mm: Vec3) -> int:
    """Return the most memory that segmenting a volume takes, without the network's own.

    The volume itself, labels and crossings; the image on the network's grid; and either what resampling needs besides
    or the class maps of one window's height with the windows under way, whichever is more. A crop to the body only
    makes it less. Rules after segmentation (largest components) and a mask for normalisation are not counted.

    Args:
        contract: of the network.
        shape_zyx: of the planning grid.
        spacing_zyx_mm: of the planning grid.
    """
    first, second, third = contract.transpose
    fine = (shape_zyx[first], shape_zyx[second], shape_zyx[third])
    spacing = (spacing_zyx_mm[first], spacing_zyx_mm[second], spacing_zyx_mm[third])
    coarse = resampled_shape(fine, spacing, contract.spacing_zyx_mm)
    padded = [max(size, patch) for size, patch in zip(coarse, contract.patch_zyx, strict=True)]
    channels, voxels = len(contract.channels), math.prod(fine)
    lasting = (HU * channels + 3) * voxels + REAL * channels * math.prod(padded)
    rows = math.prod((fine[0], fine[1], coarse[2]))
    planes = math.prod((fine[0], coarse[1], coarse[2]))
    before = voxels if contract.normalise_first else 0
    resampling = REAL * channels * (before + planes + max(rows, math.prod(coarse)))
    height = min(contract.patch_zyx[0] + 1, padded[0])
    class_maps = height * padded[1] * padded[2] * (REAL * contract.outputs + 1)
    windows = (CONCURRENT + 1) * REAL * (contract.outputs + channels) * math.prod(contract.patch_zyx)
    return lasting + max(resampling, class_maps + windows) + OTHER_BYTES
