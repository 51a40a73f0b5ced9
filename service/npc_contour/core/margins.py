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
from scipy.spatial import cKDTree

from npc_contour.core.drawing import signed_distance_mm
from npc_contour.domain.geometry import FloatArray, Vec3

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
    mask: BoolArray, margin_mm: float, spacing_zyx_mm: Vec3, where: BoolArray | None = None
) -> BoolArray:
    """Return a mask grown by a margin, or shrunk by a negative one.

    Args:
        mask: (z, y, x); not empty, with room for the margin around it.
        margin_mm: the same in all directions.
        spacing_zyx_mm: distance between voxel centres.
        where: which voxels are asked for; others stay as they are in the mask. None asks for all.
    """
    reach = abs(margin_mm) + math.sqrt(sum(step**2 for step in spacing_zyx_mm))
    changes = ~mask if margin_mm > 0 else mask
    band = changes & (ndimage.distance_transform_edt(changes, sampling=spacing_zyx_mm) <= reach)
    if where is not None:
        band &= where
    surface = surface_points_mm(mask, spacing_zyx_mm)
    at = np.argwhere(band) * np.asarray(spacing_zyx_mm)
    distance, _ = cKDTree(surface).query(at, distance_upper_bound=abs(margin_mm) + 1e-6)
    result = mask.copy()
    result[band] = np.isfinite(distance) if margin_mm > 0 else ~np.isfinite(distance)
    return result


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
