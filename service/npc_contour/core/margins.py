"""Margins measured from an ROI's surface (`core.surface`), so that 3 mm grow through slices 5 mm apart."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled
from npc_contour.core.surface import JUST_OUTSIDE_MM, surface_points_mm
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Vec3
from npc_contour.domain.profiles import Margin

BoolArray = npt.NDArray[np.bool_]


def with_margin_mm(
    mask: BoolArray,
    margin: Margin,
    spacing_zyx_mm: Vec3,
    direction_lps: tuple[Vec3, Vec3, Vec3] = HEAD_FIRST_SUPINE,
    where: BoolArray | None = None,
) -> BoolArray:
    """Return a mask grown by a margin, or shrunk by a negative one.

    Between two of the patient's directions the margin follows an ellipsoid, as planning systems do it.

    Args:
        mask: (z, y, x); not empty, with room for the margin around it.
        margin: towards each of the patient's directions.
        spacing_zyx_mm: distance between voxel centres.
        direction_lps: unit vectors of one step along z, y and x.
        where: which voxels are asked for; others stay as they are in the mask. None asks for all.
    """
    grows = margin.grows
    asked = ~mask if grows else mask.copy()
    if where is not None:
        asked &= where
    # Half-axes towards L, P, S and towards R, A, I; what is 0 reaches nothing but what lies on the axis.
    towards = np.array(
        [[margin.left, margin.posterior, margin.superior], [margin.right, margin.anterior, margin.inferior]]
    )
    reached = np.zeros_like(mask)
    _reach(
        surface_points_mm(mask, spacing_zyx_mm),
        asked,
        np.asarray(spacing_zyx_mm),
        np.asarray(direction_lps) * (1.0 if grows else -1.0),
        np.abs(towards) + JUST_OUTSIDE_MM,
        reached,
    )
    return mask | reached if grows else mask & ~reached


@compiled
def _reach(
    points_mm: FloatArray,
    asked: BoolArray,
    spacing_mm: FloatArray,
    direction: FloatArray,
    towards_mm: FloatArray,
    reached: BoolArray,
) -> None:
    """Mark the voxels asked for that lie in the margin around any point of a surface."""
    most = towards_mm.max()
    depth, rows, columns = asked.shape
    for point in points_mm:
        low_z, high_z = _span(point[0], most, spacing_mm[0], depth)
        low_y, high_y = _span(point[1], most, spacing_mm[1], rows)
        low_x, high_x = _span(point[2], most, spacing_mm[2], columns)
        for z in range(low_z, high_z):
            dz = z * spacing_mm[0] - point[0]
            for y in range(low_y, high_y):
                dy = y * spacing_mm[1] - point[1]
                for x in range(low_x, high_x):
                    if not asked[z, y, x] or reached[z, y, x]:
                        continue
                    dx = x * spacing_mm[2] - point[2]
                    left = 1.0
                    for axis in range(3):
                        step = dz * direction[0, axis] + dy * direction[1, axis] + dx * direction[2, axis]
                        share = step / towards_mm[0 if step > 0 else 1, axis]
                        left -= share * share
                    if left >= 0.0:
                        reached[z, y, x] = True


@compiled(inline="always")
def _span(at_mm: float, reach_mm: float, step_mm: float, size: int) -> tuple[int, int]:
    """Return the first index within reach, and the one after the last."""
    low = max(math.ceil((at_mm - reach_mm) / step_mm), 0)
    high = min(math.floor((at_mm + reach_mm) / step_mm) + 1, size)
    return low, high
