"""What the contours of anybody's structure set enclose on a planning grid, and what of them was left out and why.

Contours of one slice unite. One that lies inside another is a hole, one inside a hole an island (PS3.3 C.8.8.6.3); the
same contour twice counts once; CLOSEDPLANAR_XOR contours combine by exclusive or, as their name says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.rasterise import fill_even_odd, in_plane_index, nearest_planes, one_plane_a_slice
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.structures import ReadContour, ReadRoi
from npc_contour.domain.volumes import Volume

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

XOR = "CLOSEDPLANAR_XOR"
AREA_TYPES = ("CLOSED_PLANAR", XOR, "INTERPOLATED_PLANAR")
"""Contour Geometric Types that enclose an area; the last is no defined term, older systems write it."""
MOST_BETWEEN = 4
"""Empty slices between two drawn ones that may be filled by the shape of both."""
_FINE = 128
_POKES_OUT = 0.01
"""Share of a contour's area that may lie outside another that it is inside of: numbers are rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnRoi:
    """One ROI as voxels.

    Attributes:
        mask: (z, y, x) bool on the whole planning grid.
        drawn: how many of its contours are in the mask.
        left_out: why contours are not in it → how many.
        gaps: empty slices between drawn ones.
        filled: slices that were filled by the shape of their neighbours.
        off_plane_mm: the furthest that a drawn contour lies from its slice.
    """

    mask: BoolArray
    drawn: int
    left_out: dict[str, int]
    gaps: int
    filled: int
    off_plane_mm: float = 0.0


def draw_roi(roi: ReadRoi, volume: Volume, *, fill_between: bool = False) -> DrawnRoi:
    """Draw one ROI on the planning grid.

    Args:
        roi: as read.
        volume: where the slices lie; each contour belongs to the slice that all its points are nearest to.
        fill_between: whether up to `MOST_BETWEEN` empty slices between two drawn ones get the shape between theirs.
    """
    left_out: Counter[str] = Counter()
    areas: list[ReadContour] = []
    for contour in roi.contours:
        reason = _no_area(contour)
        if reason:
            left_out[reason] += 1
        else:
            areas.append(contour)
    slices, off_mm = _slices_of(areas, volume, left_out)
    mask = np.zeros(volume.grid.shape_zyx, dtype=np.bool_)
    outside = 0
    for index in np.unique(slices[slices >= 0]).tolist():
        here = [contour for contour, at in zip(areas, slices, strict=True) if at == index]
        places = [in_plane_index(c.points_lps_mm, np.full(len(c.points_lps_mm), index), volume) for c in here]
        outside += sum(_is_outside(place, mask.shape[1:]) for place in places)
        mask[index] = _slice_mask(places, [c.geometric_type == XOR for c in here], mask.shape[1:])
    if outside:
        left_out["beside the images"] += outside
    filled = _fill_between(mask, volume.grid.spacing_zyx_mm[1:]) if fill_between else 0
    drawn = int((slices >= 0).sum()) - outside
    return DrawnRoi(mask, drawn, dict(left_out), _gaps(mask), filled, float(off_mm[slices >= 0].max(initial=0.0)))


def _no_area(contour: ReadContour) -> str:
    kind = contour.geometric_type
    if kind not in AREA_TYPES:
        return {"POINT": "points", "": "without a type"}.get(kind, kind)
    return "of fewer than 3 points" if len(contour.points_lps_mm) < 3 else ""


def _slices_of(contours: Sequence[ReadContour], volume: Volume, left_out: Counter[str]) -> tuple[IntArray, FloatArray]:
    """Return the slice of each contour, -1 for one that lies in none, and how far off it lies; reasons are counted."""
    if not contours:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    normal = np.asarray(volume.grid.direction_lps[0])
    planes_mm = volume.slice_positions_lps_mm @ normal
    depths = [contour.points_lps_mm @ normal for contour in contours]
    centre_mm = np.array([depth.mean() for depth in depths])
    span_mm = np.array([np.abs(depth - depth.mean()).max() for depth in depths])
    slices = nearest_planes(centre_mm, planes_mm, volume.grid)
    off_mm = np.abs(centre_mm - planes_mm[np.maximum(slices, 0)]) + span_mm
    half_mm = volume.grid.spacing_zyx_mm[0] / 2 + 1e-6
    across = span_mm > half_mm
    beyond = ~across & (slices < 0)
    tilted = ~across & ~beyond & (off_mm > half_mm)
    left_out.update({"across the slices": int((across | tilted).sum()), "outside the images": int(beyond.sum())})
    slices = np.where(across | tilted, -1, slices)
    chosen = one_plane_a_slice(slices, centre_mm, planes_mm)
    left_out["between slices, with others nearer to them"] += int(((slices >= 0) & (chosen < 0)).sum())
    for reason in [reason for reason, count in left_out.items() if not count]:
        del left_out[reason]
    return chosen, off_mm


def _is_outside(place: FloatArray, shape_yx: tuple[int, ...]) -> bool:
    return bool((place.max(axis=0) < -0.5).any() or (place.min(axis=0) > np.subtract(shape_yx, 0.5)).any())


def _slice_mask(places: Sequence[FloatArray], xor: Sequence[bool], shape_yx: tuple[int, ...]) -> BoolArray:
    """Combine the contours of one slice, each (n, 2) row and column."""
    mask = _filled([place for place, is_xor in zip(places, xor, strict=True) if is_xor], shape_yx)
    plain = _without_doubles([place for place, is_xor in zip(places, xor, strict=True) if not is_xor])
    inside = _containers(plain)
    depth = _depths(inside)
    for outer, place in enumerate(plain):
        if depth[outer] % 2:
            continue
        area = _filled([place], shape_yx)
        for inner, around in enumerate(inside):
            if outer in around and depth[inner] == depth[outer] + 1:
                area &= ~_filled([plain[inner]], shape_yx)
        mask |= area
    return mask


def _filled(places: Sequence[FloatArray], shape_yx: tuple[int, ...]) -> BoolArray:
    """Fill polygons by parity, (y, x)."""
    buffer = np.zeros((1, *shape_yx), dtype=np.uint8)
    if places:
        starts = np.concatenate(([0], np.cumsum([len(place) for place in places])))
        fill_even_odd(
            buffer, np.ascontiguousarray(np.concatenate(places)), starts, np.zeros(len(places), dtype=np.int64)
        )
    filled: BoolArray = buffer[0].view(np.bool_)
    return filled


def _without_doubles(places: Sequence[FloatArray]) -> list[FloatArray]:
    """Leave out contours of the same points, whichever they begin with and whichever way they run; largest first."""
    unique: dict[bytes, FloatArray] = {}
    for place in places:
        points = np.unique(np.round(place, 3), axis=0)
        unique.setdefault(points.tobytes(), place)
    return sorted(unique.values(), key=_area, reverse=True)


def _area(place: FloatArray) -> float:
    rows, columns = place.T
    return abs(float(np.dot(rows, np.roll(columns, 1)) - np.dot(columns, np.roll(rows, 1)))) / 2


def _containers(places: Sequence[FloatArray]) -> list[set[int]]:
    """For each contour, largest first, return those that it lies inside of."""
    boxes = [(place.min(axis=0), place.max(axis=0)) for place in places]
    around: list[set[int]] = []
    for inner, (low, high) in enumerate(boxes):
        meets = [o for o in range(inner) if (boxes[o][0] <= high).all() and (boxes[o][1] >= low).all()]
        around.append({outer for outer in meets if _is_inside(places[inner], places[outer])})
    return around


def _is_inside(inner: FloatArray, outer: FloatArray) -> bool:
    """Compare two contours on a raster much finer than the slice's."""
    low = inner.min(axis=0)
    step = max(float((inner.max(axis=0) - low).max()) / _FINE, 1e-6)
    shape = (_FINE + 2, _FINE + 2)
    small, large = (_filled([(place - low) / step + 0.5], shape) for place in (inner, outer))
    return bool(np.count_nonzero(small & ~large) <= _POKES_OUT * np.count_nonzero(small))


def _depths(around: Sequence[set[int]]) -> list[int]:
    depths: list[int] = []
    for containers in around:  # the largest come first, so that a container's depth is known
        depths.append(1 + max((depths[outer] for outer in containers), default=-1))
    return depths


def _gaps(mask: BoolArray) -> int:
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    return int(used[-1] - used[0] + 1 - len(used)) if len(used) else 0


def _fill_between(mask: BoolArray, spacing_yx_mm: tuple[float, ...]) -> int:
    """Fill empty slices between two drawn ones by interpolating their signed distances; return how many were."""
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    filled = 0
    for low, high in pairwise(used.tolist()):
        if not 1 < high - low <= MOST_BETWEEN + 1:
            continue
        below, above = (signed_distance_mm(mask[index], spacing_yx_mm) for index in (low, high))
        for index in range(low + 1, high):
            share = (index - low) / (high - low)
            mask[index] = below * (1 - share) + above * share > 0
            filled += int(mask[index].any())
    return filled


def signed_distance_mm(mask: BoolArray, spacing_mm: tuple[float, ...]) -> FloatArray:
    """Return how far each voxel lies inside (positive) or outside of a mask that is not empty, from its surface."""
    half = min(spacing_mm) / 2
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    distance: FloatArray = np.where(mask, inside - half, half - outside)
    return distance
