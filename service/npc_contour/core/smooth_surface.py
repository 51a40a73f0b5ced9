"""Shape of one piece of a mask from a smooth surface through it, finer than its voxels.

Voxels are stairs: a mesh along them has up to a tenth too much surface, and says of a ball on thick slices that it is
a tenth longer than it is. So the surface is drawn where a smooth function of place is zero (shape-based interpolation:
Raya and Udupa, IEEE Trans Med Imaging 9:32, 1990). In each slice that function is d (2 r - d), with d the distance to
the outline and r the largest of them: for a disc r^2 - s^2, which also is what a ball leaves from slice to slice.
Between slices runs a cubic spline; beyond the last one the parabola through the last three, and where that would reach
the next slice, which the mask says is empty, the shape ends half-way. Masks are (z, y, x) bool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.interpolate import make_interp_spline
from skimage.measure import marching_cubes

from npc_contour.core.morphology import Morphology, cropped, of_mesh
from npc_contour.domain.geometry import FloatArray, Vec3

_SMOOTH_PX = 1.5
_HALF_WAY_OF_SPLINE = 2.2
"""A cubic through (0, -2.2), (1, 1), (2, 1), (3, 1) is zero at 0.5."""
_MARGIN_PX = 10
"""As far as smoothing twice reaches, nearly: 3.3 standard deviations each."""


def smooth_morphology(mask: npt.NDArray[np.bool_], spacing_zyx_mm: Vec3) -> Morphology:
    """Return the shape of one connected piece of a mask, closed where the volume ends.

    Raises:
        ValueError: the mask is empty.
    """
    field, fine_mm = _field(cropped(mask), spacing_zyx_mm)
    vertices, faces, _, _ = marching_cubes(field.astype(np.float32), 0.0, spacing=fine_mm)
    return of_mesh(vertices, faces)


def _field(mask: npt.NDArray[np.bool_], spacing_zyx_mm: Vec3) -> tuple[FloatArray, Vec3]:
    """Return a smooth function in mm^2 that is positive within a mask, and the spacing in mm of the grid it is on."""
    gap_mm, *pixel_mm = spacing_zyx_mm
    padded = np.pad(mask, ((0, 0), (_MARGIN_PX,) * 2, (_MARGIN_PX,) * 2))
    slices = np.stack([of_slice(section, pixel_mm) for section in padded])
    parts = math.ceil(gap_mm / (sum(pixel_mm) / 2) - 1e-6)
    half_way = _HALF_WAY_OF_SPLINE if parts > 1 else 1.0
    ends = [_beyond(towards, gap_mm, half_way)[None] for towards in (slices, slices[::-1])]
    known = np.concatenate([ends[0], slices, ends[1]])
    if parts > 1:
        steps = np.linspace(0, len(known) - 1, (len(known) - 1) * parts + 1)
        known = make_interp_spline(np.arange(len(known)), known, k=min(3, len(known) - 1))(steps)
    closed = np.pad(known, 1, constant_values=float(known.min()))
    return closed, (gap_mm / max(parts, 1), spacing_zyx_mm[1], spacing_zyx_mm[2])


def of_slice(section: npt.NDArray[np.bool_], pixel_mm: Sequence[float]) -> FloatArray:
    """Return a smooth function in mm^2 that is positive within the mask of a slice, which needs a margin around it."""
    inside, outside = (ndimage.distance_transform_edt(part, sampling=pixel_mm) for part in (section, ~section))
    half_mm = sum(pixel_mm) / 4
    distance = inside - outside - np.where(section, half_mm, -half_mm)
    values = distance * (2 * distance.max() - distance)
    once = ndimage.gaussian_filter(values, _SMOOTH_PX, mode="nearest")
    # Smoothing lowers what is curved: twice the once minus the twice smoothed takes that back.
    smooth: FloatArray = 2 * once - ndimage.gaussian_filter(once, _SMOOTH_PX, mode="nearest")
    # The outline keeps the area of the pixels, which of small and thin sections smoothing alone would not.
    first_out = smooth.size - int(section.sum())
    around = np.partition(smooth.ravel(), (first_out - 1, first_out))[[first_out - 1, first_out]]
    outline: FloatArray = smooth - around.mean()
    return outline


def _beyond(slices: FloatArray, gap_mm: float, half_way: float) -> FloatArray:
    """The function one slice before the first, by a parabola; of one or two slices by that of a ball.

    `half_way` times the first, below zero, is where the function changes its sign half-way.
    """
    first = slices[0]
    if len(slices) > 2:
        parabola = 3 * first - 3 * slices[1] + slices[2]
    elif len(slices) == 2:
        parabola = 2 * first - slices[1] - 2 * gap_mm**2
    else:
        parabola = first - gap_mm**2
    beyond: FloatArray = np.where(parabola > 0, -half_way * np.abs(first), parabola)
    return beyond
