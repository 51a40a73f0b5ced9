"""Shape of one piece of a mask from a smooth surface through it, finer than its voxels.

Voxels are stairs: a mesh along them has up to a tenth too much surface, and says of a ball on thick slices that it is
a tenth longer than it is. So the surface is drawn where a smooth function of place is zero (shape-based interpolation:
Raya and Udupa, IEEE Trans Med Imaging 9:32, 1990). In each slice that function is d (2 r - d), with d the distance to
the outline and r the largest of them: for a disc r^2 - s^2, which also is what a ball leaves from slice to slice.
Distances to pixels are coarse: the outline is drawn first, smooth and finer than they are, around the area that they
count, and distances to it are taken then. Between slices runs a cubic spline; beyond the last one the parabola through
the last three. Where that would reach the next slice, which the mask says is empty, the shape ends the farther before
it the more it would. Masks are (z, y, x) bool.
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

_SMOOTHED = 0.2
_LEAST_SMOOTH_PX, _MOST_SMOOTH_PX = 1.25, 2.0
"""An outline is smoothed over this share of the radius of the largest disc inside, between these bounds."""
_HALF_WAY_OF_SPLINE = 2.2
"""A cubic through (0, -2.2), (1, 1), (2, 1), (3, 1) is zero at 0.5."""
_ACROSS, _FINEST = 20, 4
"""An outline has as many values as this along the radius of the largest disc inside, at most so many a pixel."""
_LEAST_WIDTH = 0.4
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
    finer = finer_for(max(widest_mm(section, pixel_mm) for section in padded), pixel_mm)
    fine_mm = [mm / finer for mm in pixel_mm]
    slices = [finely(section, pixel_mm, finer) for section in padded]
    if finer > 1:
        # Distances to the outline drawn are finer than those to the pixels; a margin of 4 pixels is enough for them.
        inner = (slice((_MARGIN_PX - 4) * finer, -(_MARGIN_PX - 4) * finer),) * 2
        slices = [finely(values[inner] > 0, fine_mm, 1) for values in slices]
    smooth = _across_slices(np.stack(slices), sum(pixel_mm) / 2 / gap_mm)
    parts = math.ceil(gap_mm * finer / (sum(pixel_mm) / 2) - 1e-6)
    half_way = _HALF_WAY_OF_SPLINE if parts > 1 else 1.0
    ends = [_beyond(towards, gap_mm, half_way) for towards in (smooth, smooth[::-1])]
    known = np.stack([ends[0], *smooth, ends[1]])
    if parts > 1:
        steps = np.linspace(0, len(known) - 1, (len(known) - 1) * parts + 1)
        known = make_interp_spline(np.arange(len(known)), known, k=min(3, len(known) - 1))(steps)
    closed = np.pad(known, 1, constant_values=float(known.min()))
    return closed, (gap_mm / max(parts, 1), pixel_mm[0] / finer, pixel_mm[1] / finer)


def _across_slices(slices: FloatArray, width: float) -> FloatArray:
    """Smooth from slice to slice, where these are nearer than pixels; `width` is a pixel in slices."""
    margin = min(math.ceil(3 * width), len(slices) - 1)
    if width < _LEAST_WIDTH or margin < 1:
        return slices
    padded = np.pad(slices, ((margin, margin), (0, 0), (0, 0)), mode="reflect", reflect_type="odd")
    once = ndimage.gaussian_filter1d(padded, width, axis=0, mode="nearest")
    both = 2 * once - ndimage.gaussian_filter1d(once, width, axis=0, mode="nearest")
    smooth: FloatArray = both[margin:-margin]
    return smooth


def finer_for(radius_mm: float, pixel_mm: Sequence[float]) -> int:
    """How many values a pixel draw an outline well that has room for a disc of this radius."""
    return min(_FINEST, math.ceil(_ACROSS * sum(pixel_mm) / 2 / radius_mm))


def finely(section: npt.NDArray[np.bool_], pixel_mm: Sequence[float], finer: int) -> FloatArray:
    """Return a smooth function in mm^2 that is positive within the mask of a slice, which needs a margin around it.

    It has `finer` values a pixel, the first at the first pixel's centre, the last at the last's.
    """
    smooth = _smooth(section, pixel_mm)
    if finer > 1:
        zoom = [((count - 1) * finer + 1) / count for count in section.shape]
        smooth = ndimage.zoom(smooth, zoom, order=3, mode="nearest")
    return _enclosing(int(section.sum()) * finer**2, smooth)


def widest_mm(section: npt.NDArray[np.bool_], pixel_mm: Sequence[float]) -> float:
    """The radius of the largest disc inside the mask of a slice; its middle may lie between pixels."""
    rows, columns = section.shape
    between = np.ones((2 * rows - 1, 2 * columns - 1), np.bool_)
    between[::2, ::2] = section
    farthest = ndimage.distance_transform_edt(between, sampling=[mm / 2 for mm in pixel_mm]).max()
    return float(farthest) - sum(pixel_mm) / 4


def _smooth(section: npt.NDArray[np.bool_], pixel_mm: Sequence[float]) -> FloatArray:
    inside, outside = (ndimage.distance_transform_edt(part, sampling=pixel_mm) for part in (section, ~section))
    half_mm = sum(pixel_mm) / 4
    distance = inside - outside - np.where(section, half_mm, -half_mm)
    radius_mm = widest_mm(section, pixel_mm)
    values = distance * (2 * radius_mm - distance)
    # The larger the section, the more of its pixels' stairs are told from its own shape.
    width_px = min(max(_SMOOTHED * radius_mm / (2 * half_mm), _LEAST_SMOOTH_PX), _MOST_SMOOTH_PX)
    once = ndimage.gaussian_filter(values, width_px, mode="nearest")
    # Smoothing lowers what is curved: twice the once minus the twice smoothed takes that back.
    return 2 * once - ndimage.gaussian_filter(once, width_px, mode="nearest")


def _enclosing(inside: int, values: FloatArray) -> FloatArray:
    """The values less a constant, so that as many as asked are positive.

    So an outline keeps the area of the pixels, which of small and thin sections smoothing alone would not.
    """
    first_out = values.size - inside
    around = np.partition(values.ravel(), (first_out - 1, first_out))[[first_out - 1, first_out]]
    outline: FloatArray = values - around.mean()
    return outline


def _beyond(slices: FloatArray, gap_mm: float, half_way: float) -> FloatArray:
    """The function one slice before the first, by a parabola; of one or two slices by that of a ball.

    `half_way` times the first, below zero, makes the function change its sign half-way.
    """
    first = slices[0]
    if len(slices) > 2:
        parabola = 3 * first - 3 * slices[1] + slices[2]
    elif len(slices) == 2:
        parabola = 2 * first - slices[1] - 2 * gap_mm**2
    else:
        parabola = first - gap_mm**2
    beyond: FloatArray = np.where(parabola > 0, -half_way * np.minimum(parabola, np.abs(first)), parabola)
    return beyond
