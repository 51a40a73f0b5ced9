"""Margins measured from an ROI's surface: between voxel centres in a slice, between slices, and beyond the last one.

A mask says where the surface is to half a voxel. In a slice it runs through the mid-points between centres. Between two
slices it follows the shape between theirs; beyond the last one it closes where the area of the slices before says that
it ends, at half a slice where they do not say (a box). Distances are to points on that surface, so that 3 mm grow
through slices 5 mm apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.compiled import compiled
from npc_contour.core.drawing import signed_distance_mm
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Vec3
from npc_contour.domain.profiles import Margin

BoolArray = npt.NDArray[np.bool_]

FINE_MM = 1.0
"""Distance between the layers of surface points."""
_MOST_LAYERS = 8
_SMOOTH_PX = 0.6
_LEAST_PX = 0.3
"""What smoothing leaves of a voxel's distance to the surface: none changes sides."""
_JUST_OUTSIDE_MM = 1e-6
_BEYOND = -0.3
"""Width of a round end beyond its tip: negative, so that the surface closes between two layers."""
_MOST_BEND_MM = 6.0
_SAME_AREA = 0.85
_TIP = 0.35
"""An end is round where the areas before it say that the next slice would hold less than this share of the last."""


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
        np.abs(towards) + _JUST_OUTSIDE_MM,
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


def surface_points_mm(mask: BoolArray, spacing_zyx_mm: Vec3) -> FloatArray:
    """Return points on the surface of a mask, (n, 3) in mm from the centre of voxel (0, 0, 0), as z, y, x."""
    in_plane = spacing_zyx_mm[1:]
    layers = list(_layers(mask, spacing_zyx_mm))
    points = [_crossings(z_mm, layer, in_plane) for z_mm, layer in layers]
    points += [_rise(low, high, in_plane) for low, high in pairwise(layers)]
    return np.concatenate(points)


def _layers(mask: BoolArray, spacing_zyx_mm: Vec3) -> Iterator[tuple[float, FloatArray]]:
    """Yield (z in mm, signed distance in the plane) of slices and of the layers between and beyond them."""
    step_mm, in_plane = spacing_zyx_mm[0], spacing_zyx_mm[1:]
    count = min(2 * math.ceil(step_mm / 2 / FINE_MM), _MOST_LAYERS)
    shares = np.arange(1, count) / count
    nothing = np.full(mask.shape[1:], -step_mm)
    distances = [_smooth_distance_mm(section, in_plane) if section.any() else None for section in mask]
    for index, here in enumerate(distances):
        z_mm = index * step_mm
        yield z_mm, nothing if here is None else here
        above = index + 1
        if above >= len(mask):
            continue
        for share in shares:
            parts = list(_between(mask, distances, index, float(share), in_plane))
            yield z_mm + share * step_mm, np.max(parts, axis=0) if parts else nothing


def _between(
    mask: BoolArray, distances: Sequence[FloatArray | None], index: int, share: float, in_plane: tuple[float, ...]
) -> Iterator[FloatArray]:
    """Yield the signed distances of what goes on between two slices, of what ends there and of what begins."""
    here, there = mask[index], mask[index + 1]
    ending, staying = _apart(here, there)
    beginning, coming = _apart(there, here)
    if staying.any() and coming.any():
        low, high = distances[index], distances[index + 1]
        if ending.any() or low is None:
            low = _smooth_distance_mm(staying, in_plane)
        if beginning.any() or high is None:
            high = _smooth_distance_mm(coming, in_plane)
        yield low * (1 - share) + high * share - share * (1 - share) / 2 * _bend(distances, index)
    for piece in _pieces(ending):
        yield _cap(mask[index::-1], piece, share, in_plane)
    for piece in _pieces(beginning):
        yield _cap(mask[index + 1 :], piece, 1 - share, in_plane)


def _bend(distances: Sequence[FloatArray | None], index: int) -> FloatArray | float:
    """How the signed distance bends along the slices around a gap, where both sides of a slice are drawn."""
    bends = []
    for middle in (index, index + 1):
        three = [distances[at] for at in (middle - 1, middle, middle + 1) if 0 <= at < len(distances)]
        drawn = [distance for distance in three if distance is not None]
        if len(drawn) == 3:
            bends.append(drawn[0] - 2 * drawn[1] + drawn[2])
    return np.clip(np.mean(bends, axis=0), -_MOST_BEND_MM, _MOST_BEND_MM) if bends else 0.0


def _apart(here: BoolArray, there: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Split a slice into pieces that do not touch the next one and those that do."""
    labels, _ = ndimage.label(here)
    touching = np.isin(labels, np.unique(labels[here & there])) & here
    return here & ~touching, touching


def _pieces(mask: BoolArray) -> Iterator[BoolArray]:
    labels, count = ndimage.label(mask)
    for number in range(1, count + 1):
        yield labels == number


def _cap(inwards: BoolArray, piece: BoolArray, share: float, in_plane: tuple[float, ...]) -> FloatArray:
    """Return the signed distance of a layer beyond a piece's last slice; `inwards` are the slices from it on."""
    distance = _smooth_distance_mm(piece, in_plane)
    areas = _areas(inwards, piece)
    if not _is_round(areas):
        return distance if share < 0.5 else np.minimum(distance, -_JUST_OUTSIDE_MM)
    return distance - float(distance.max()) * (1 - _scale(areas, share))


def _areas(inwards: BoolArray, piece: BoolArray) -> list[int]:
    """Areas of a piece's last three slices, from the last one inwards."""
    areas, current = [int(piece.sum())], piece
    for section in inwards[1:3]:
        _, current = _apart(section, current)
        if not current.any():
            break
        areas.append(int(current.sum()))
    if len(areas) == 2 and areas[0] < _SAME_AREA * areas[1]:
        areas.append(0)  # a ball of two slices: the other side is empty, too
    return areas


def _is_round(areas: Sequence[int]) -> bool:
    """Whether the areas shrink so fast that the next slice is (nearly) empty, as in a ball: not as in a box."""
    return len(areas) == 3 and 3 * areas[0] - 3 * areas[1] + areas[2] < _TIP * areas[0]


def _scale(areas: Sequence[int], share: float) -> float:
    """How wide a round end is beyond the last slice, as a share of its width there: the root of its area's share.

    The area follows the parabola through the last three slices, which is exact for ellipsoids.
    """
    last, before, first = areas
    slope, bend = (3 * last - 4 * before + first) / 2, (last - 2 * before + first) / 2
    left = 1 + (slope * share + bend * share**2) / last
    return math.sqrt(min(left, 1.0)) if left > 0 else _BEYOND


def _smooth_distance_mm(section: BoolArray, in_plane: tuple[float, ...]) -> FloatArray:
    """Signed distance in a slice, smoothed over the steps of the pixels; every pixel stays on its side."""
    smooth = ndimage.gaussian_filter(signed_distance_mm(section, in_plane), _SMOOTH_PX)
    least = _LEAST_PX * min(in_plane)
    result: FloatArray = np.where(section, np.maximum(smooth, least), np.minimum(smooth, -least))
    return result


def _crossings(z_mm: float, layer: FloatArray, in_plane: tuple[float, ...]) -> FloatArray:
    """Points where a layer's distance is zero along its rows and columns."""
    found = []
    for axis in (0, 1):
        first = layer[:-1] if axis == 0 else layer[:, :-1]
        second = layer[1:] if axis == 0 else layer[:, 1:]
        at = np.argwhere((first > 0) != (second > 0))
        one, other = first[tuple(at.T)], second[tuple(at.T)]
        places = at.astype(np.float64)
        places[:, axis] += one / (one - other)
        found.append(np.column_stack([np.full(len(places), z_mm), places * np.asarray(in_plane)]))
    return np.concatenate(found)


def _rise(low: tuple[float, FloatArray], high: tuple[float, FloatArray], in_plane: tuple[float, ...]) -> FloatArray:
    """Points where the distance is zero between two layers, over every pixel."""
    at = np.argwhere((low[1] > 0) != (high[1] > 0))
    one, other = low[1][tuple(at.T)], high[1][tuple(at.T)]
    z_mm = low[0] + (high[0] - low[0]) * one / (one - other)
    return np.column_stack([z_mm, at * np.asarray(in_plane)])
