"""Of some labels only the largest piece stays: what nnU-Net calls postprocessing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import LargestComponent

UInt8Array = npt.NDArray[np.uint8]


def keep_largest(labels: UInt8Array, rules: Iterable[LargestComponent], spacing_zyx_mm: Vec3) -> None:
    """Apply each rule in turn to (z, y, x) uint8 labels, in place; pieces of equal size all stay."""
    for rule in rules:
        mask = np.isin(labels, rule.labels)
        if not mask.any():
            continue
        (found,) = ndimage.find_objects(mask.view(np.uint8), max_label=1)
        inside = mask[found]
        structure = np.ones((3, 3, 3), dtype=bool) if rule.corners else None
        pieces, _ = ndimage.label(inside, structure=structure)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        stays = sizes == sizes.max()
        if rule.spare_mm3 is not None:
            stays |= sizes * math.prod(spacing_zyx_mm) >= rule.spare_mm3
        labels[found][inside & ~stays[pieces]] = 0
