"""Crossings by the book: linear interpolation of a field between neighbouring voxels, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.crossings import STEPS
from npc_contour.core.labels import RoiMask, roi_masks
from npc_contour.domain.geometry import Grid
from npc_contour.domain.structures import RoiSpec
from npc_contour.domain.volumes import LabelMap


def crossings_of(field: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return (2, z, y, x) codes of a (z, y, x) field that is positive inside: to the next row, to the next column."""
    codes = np.zeros((2, *field.shape), dtype=np.uint8)
    for along, axis in enumerate((1, 2)):
        near, far = np.delete(field, -1, axis), np.delete(field, 0, axis)
        change = (near > 0) != (far > 0)
        fraction = near / np.where(change, near - far, 1.0)
        code = np.where(change, 1 + np.rint(STEPS * np.clip(fraction, 0.0, 1.0)), 0).astype(np.uint8)
        codes[along] = np.pad(code, [(0, int(axis == other)) for other in range(3)])
    return codes


def mask_with_crossings(spec: RoiSpec, field: npt.NDArray[np.floating], grid: Grid) -> RoiMask:
    """Return the ROI of a field that is positive inside, as a network's label map with crossings gives it."""
    labels = (field > 0).astype(np.uint8)
    (mask,) = roi_masks({spec.network: LabelMap(labels, grid, spec.network, crossings_of(field))}, [spec])
    return mask
