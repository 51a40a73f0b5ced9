"""The surface of an ROI: between voxel centres in a slice, between slices, and beyond the last one.

A mask says where the surface is to half a voxel. In a slice it runs through the mid-points between centres. Between two
slices it follows the shape between theirs; beyond the last one it closes where the area of the slices before says that
it ends, at half a slice where they do not say (a box). Outlines are smoothed over the steps of their pixels, but for
true corners.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.drawing import signed_distance_mm
from npc_contour.domain.geometry import FloatArray, Vec3

BoolArray = npt.NDArray[np.bool_]

FINE_MM = 1.0
"""Distance between the layers of surface points."""
_MOST_LAYERS = 8
_SMOOTH_PX = 1.6
_RUN_PX = 3
"""A corner has straight runs of so many pixels on both sides."""
_CORNER_PX = 7
"""So many pixels around a corner nothing is smoothed."""
_JUST_BESIDE = 1e-6
"""A flat end lies between two layers so near the middle between two slices, as a share of their distance."""
_LEAST_PX = 0.1
"""What smoothing leaves of a voxel's distance to the surface: none changes sides."""
JUST_OUTSIDE_MM = 1e-6
_BEYOND = -0.3
"""Width of a round end beyond its tip: negative, so that the surface closes between two layers."""
_MOST_BEND_MM = 6.0
_SAME_AREA = 0.85
_TIP = 0.35
"""An end is round where the areas before it say that the next slice would hold less than this share of the last."""


def surface_points_mm(mask: BoolArray, spacing_zyx_mm: Vec3) -> FloatArray:
    """Return points on the surface of a mask, (n, 3) in mm from the centre of voxel (0, 0, 0), as z, y, x."""
    in_plane = spacing_zyx_mm[1:]
    points: list[FloatArray] = []
    below: _Layer | None = None
    for layer in _layers(mask, spacing_zyx_mm):
        points += [_crossings(layer, in_plane), _at_corners(layer, in_plane)]
        if below is not None:
            points.append(_rise(below, layer, in_plane))
        below = layer
    return np.concatenate(points)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A plane of the surface: signed distances at its pixels, positive inside, and which pixels' ends are corners."""

    z_mm: float
    distance_mm: FloatArray
    corners: BoolArray


@dataclass(frozen=True, slots=True)
class _Section:
    """A slice, or a piece of one."""

    distance_mm: FloatArray
    corners: BoolArray


SectionAt = Callable[[int], _Section | None]
"""Returns a slice by its index; None where nothing is drawn."""


def _layers(mask: BoolArray, spacing_zyx_mm: Vec3) -> Iterator[_Layer]:
    """Yield the slices and the layers between and beyond them."""
    step_mm, in_plane = spacing_zyx_mm[0], spacing_zyx_mm[1:]
    none = np.zeros_like(mask[0])
    outside = np.full(mask.shape[1:], -step_mm)

    @lru_cache(maxsize=4)
    def section_at(index: int) -> _Section | None:
        drawn = 0 <= index < len(mask) and mask[index].any()
        return _section(mask[index], in_plane) if drawn else None

    for index in range(len(mask)):
        z_mm, here = index * step_mm, section_at(index)
        yield _Layer(z_mm, here.distance_mm, here.corners) if here else _Layer(z_mm, outside, none)
        if index + 1 == len(mask):
            return
        parts = list(_between(mask, section_at, index, in_plane))
        for share in _shares(step_mm, parts):
            here_mm = z_mm + share * step_mm
            now = [part.at(share) for part in parts]
            if now:
                distances, corners = zip(*now, strict=True)
                yield _Layer(here_mm, np.max(distances, axis=0), np.any(corners, axis=0))
            else:
                yield _Layer(here_mm, outside, none)


def _shares(step_mm: float, parts: Sequence[_Going | _End]) -> list[float]:
    """Where the layers between two slices lie: just below and just above the middle where a piece ends flat."""
    count = min(2 * math.ceil(step_mm / 2 / FINE_MM), _MOST_LAYERS)
    shares = [number / count for number in range(1, count)]
    if any(isinstance(part, _End) and not part.round for part in parts):
        shares[count // 2 - 1 : count // 2] = [0.5 - _JUST_BESIDE, 0.5 + _JUST_BESIDE]
    return shares


def _between(
    mask: BoolArray, section_at: SectionAt, index: int, in_plane: tuple[float, ...]
) -> Iterator[_Going | _End]:
    """Yield what goes on between two slices, what ends there and what begins."""
    here, there = mask[index], mask[index + 1]
    ending, staying = _apart(here, there)
    beginning, coming = _apart(there, here)
    if staying.any() and coming.any():
        low, high = section_at(index), section_at(index + 1)
        if ending.any() or low is None:
            low = _section(staying, in_plane)
        if beginning.any() or high is None:
            high = _section(coming, in_plane)
        yield _Going(low, high, _bend(section_at, index, in_plane))
    for piece in _pieces(ending):
        yield _End(_section(piece, in_plane), tuple(_areas(mask[index::-1], piece)), upwards=True)
    for piece in _pieces(beginning):
        yield _End(_section(piece, in_plane), tuple(_areas(mask[index + 1 :], piece)), upwards=False)


@dataclass(frozen=True, slots=True)
class _Going:
    """What goes on from one slice to the next."""

    low: _Section
    high: _Section
    bend: FloatArray | float

    def at(self, share: float) -> tuple[FloatArray, BoolArray]:
        straight = self.low.distance_mm * (1 - share) + self.high.distance_mm * share
        return straight - share * (1 - share) / 2 * self.bend, self.low.corners & self.high.corners


@dataclass(frozen=True, slots=True)
class _End:
    """A piece's last slice, and the areas of its last three, from the last one inwards."""

    last: _Section
    areas: tuple[int, ...]
    upwards: bool

    @property
    def round(self) -> bool:
        """Whether the areas shrink so fast that the next slice is (nearly) empty, as in a ball: not as in a box."""
        areas = self.areas
        return len(areas) == 3 and 3 * areas[0] - 3 * areas[1] + areas[2] < _TIP * areas[0]

    def at(self, share: float) -> tuple[FloatArray, BoolArray]:
        beyond = share if self.upwards else 1 - share
        distance, corners = self.last.distance_mm, self.last.corners
        if self.round:
            return distance - float(distance.max()) * (1 - _scale(self.areas, beyond)), np.zeros_like(corners)
        if beyond < 0.5:
            return distance, corners
        return np.minimum(distance, -JUST_OUTSIDE_MM), np.zeros_like(corners)


def _bend(section_at: SectionAt, index: int, in_plane: tuple[float, ...]) -> FloatArray | float:
    """How the signed distance bends along the slices around a gap, where both sides of a slice are drawn."""
    bends: list[FloatArray] = []
    for middle, outer in ((index, index + 2), (index + 1, index - 1)):
        before, here, after = (section_at(at) for at in (middle - 1, middle, middle + 1))
        if not (before and here and after):
            continue
        bend = before.distance_mm - 2 * here.distance_mm + after.distance_mm
        if section_at(outer) is None:
            last, far = (after, before) if outer > middle else (before, after)
            bend = bend - _bend_more(*(_half_width_mm(section, in_plane) for section in (last, here, far)))
        bends.append(bend)
    return np.clip(np.mean(bends, axis=0), -_MOST_BEND_MM, _MOST_BEND_MM) if bends else 0.0


def _half_width_mm(section: _Section, in_plane: tuple[float, ...]) -> float:
    return math.sqrt(np.count_nonzero(section.distance_mm > 0) * math.prod(in_plane) / math.pi)


def _bend_more(last_mm: float, before_mm: float, far_mm: float) -> float:
    """How much more a ball's half-width bends behind a narrow last slice than in the middle of its last three.

    The squares of a ball's half-widths follow a parabola, so the one between its last two slices is known.
    """
    if last_mm > before_mm / 2:
        return 0.0
    between = (3 * last_mm**2 + 6 * before_mm**2 - far_mm**2) / 8
    bent = (3 * last_mm + 6 * before_mm - far_mm) / 8
    return 8 * (math.sqrt(max(between, 0.0)) - bent)


def _apart(here: BoolArray, there: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Split a slice into pieces that do not touch the next one and those that do."""
    labels, _ = ndimage.label(here)
    touching = np.isin(labels, np.unique(labels[here & there])) & here
    return here & ~touching, touching


def _pieces(mask: BoolArray) -> Iterator[BoolArray]:
    labels, count = ndimage.label(mask)
    for number in range(1, count + 1):
        yield labels == number


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


def _scale(areas: Sequence[int], share: float) -> float:
    """How wide a round end is beyond the last slice, as a share of its width there: the root of its area's share.

    The area follows the parabola through the last three slices, which is exact for ellipsoids.
    """
    last, before, first = areas
    slope, bend = (3 * last - 4 * before + first) / 2, (last - 2 * before + first) / 2
    left = 1 + (slope * share + bend * share**2) / last
    return math.sqrt(min(left, 1.0)) if left > 0 else _BEYOND


def _section(section: BoolArray, in_plane: tuple[float, ...]) -> _Section:
    """Return a slice's signed distance, smoothed over the steps of the pixels; every pixel stays on its side.

    A plain Gaussian would pull round outlines in; less half its Laplacian does not. Corners stay as they are drawn.
    """
    sharp = signed_distance_mm(section, in_plane)
    corners = _corners(section)
    pulled = ndimage.gaussian_filter(sharp, _SMOOTH_PX)
    smooth = pulled - _SMOOTH_PX**2 / 2 * ndimage.laplace(pulled)
    if corners.any():
        smooth = np.where(ndimage.maximum_filter(corners, size=_CORNER_PX), sharp, smooth)
    least = _LEAST_PX * min(in_plane)
    return _Section(np.where(section, np.maximum(smooth, least), np.minimum(smooth, -least)), corners)


def _corners(section: BoolArray) -> BoolArray:
    """Where an outline turns at right angles between two straight runs of `_RUN_PX` pixels, at each pixel's upper ends.

    The pixels of a smooth outline step by one at a time in one direction or the other, so these are corners indeed.
    """
    rows, columns = (size - 1 for size in section.shape)
    corners = np.zeros_like(section)
    for flip_y, flip_x in product((1, -1), repeat=2):
        turned = np.pad(section[::flip_y, ::flip_x], ((_RUN_PX, 0), (_RUN_PX, 0)), mode="edge")

        def at(up: int, left: int, turned: BoolArray = turned) -> BoolArray:
            return turned[_RUN_PX - up :, _RUN_PX - left :][:rows, :columns]

        for side in (turned, ~turned):
            found = ~at(-1, -1, side)
            for back in range(_RUN_PX):
                found &= at(0, back, side) & ~at(-1, back, side) & at(back, 0, side) & ~at(back, -1, side)
            corners[:-1, :-1] |= found[::flip_y, ::flip_x]
    return corners


def _at_corners(layer: _Layer, in_plane: tuple[float, ...]) -> FloatArray:
    places = np.argwhere(layer.corners) + 0.5
    return np.column_stack([np.full(len(places), layer.z_mm), places * np.asarray(in_plane)])


def _crossings(layer: _Layer, in_plane: tuple[float, ...]) -> FloatArray:
    """Points where a layer's distance is zero along its rows and columns."""
    found = []
    field = layer.distance_mm
    for axis in (0, 1):
        first = field[:-1] if axis == 0 else field[:, :-1]
        second = field[1:] if axis == 0 else field[:, 1:]
        at = np.argwhere((first > 0) != (second > 0))
        one, other = first[tuple(at.T)], second[tuple(at.T)]
        places = at.astype(np.float64)
        places[:, axis] += one / (one - other)
        found.append(np.column_stack([np.full(len(places), layer.z_mm), places * np.asarray(in_plane)]))
    return np.concatenate(found)


def _rise(low: _Layer, high: _Layer, in_plane: tuple[float, ...]) -> FloatArray:
    """Points where the distance is zero between two layers, over every pixel."""
    at = np.argwhere((low.distance_mm > 0) != (high.distance_mm > 0))
    one, other = low.distance_mm[tuple(at.T)], high.distance_mm[tuple(at.T)]
    z_mm = low.z_mm + (high.z_mm - low.z_mm) * one / (one - other)
    return np.column_stack([z_mm, at * np.asarray(in_plane)])
