"""Measures of ROIs on the planning grid: lymph nodes one by one, and the shape of a tumour.

A node is a connected part of its ROI (voxels that touch by a face, an edge or a corner); parts that only a bridge
narrower than `THIN_MM` joins are nodes of their own. Its axes are measured as a person with a caliper does (RECIST
1.1): of each piece in an axial slice the longest line that stays inside, and the longest one at right angles to it that
stays inside; the slice with the longest short axis counts. Spurs narrower than `THIN_MM` are not measured. Lines run
from outline to outline, drawn smooth through the piece and finer than its pixels (`core.smooth_surface`), which takes
half a millimetre from each sharp corner of a box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import find_contours

from npc_contour.core.labels import RoiMask
from npc_contour.core.morphology import Morphology, morphology
from npc_contour.core.smooth_surface import finely, finer_for, smooth_morphology, widest_mm
from npc_contour.domain.geometry import FloatArray, Grid, Vec3
from npc_contour.domain.measurements import Axis, MeasurementKind, MeasurementRule, Measurements, Node, Shape

BoolArray = npt.NDArray[np.bool_]
CONNECTED = np.ones((3, 3, 3), dtype=np.bool_)
THIN_MM = 3.0
MAX_VOLUME_CHANGE = 0.15
"""A smooth surface encloses what the voxels hold within this; on slices as thick as the piece they are 14 % off."""
_GRAZES_PX = 0.01
"""A line may run along an edge, this far outside."""
_FEW_PX = 5
"""A piece that is nowhere wider is drawn along its pixels."""
_MARGIN_PX = 6
_MOST_POINTS = 240
_ROUNDED = math.sqrt(2) - 1
"""An opening by a disc takes this share of its radius from a square corner."""
_FINE = 8


def measure(rule: MeasurementRule, masks: Sequence[RoiMask], grid: Grid) -> Measurements:
    """Measure the ROI that a rule names.

    Args:
        rule: of the pipeline.
        masks: all of the case, on one grid.
        grid: of the planning volume.

    Raises:
        KeyError: no mask has the name.
    """
    mask = next((mask for mask in masks if mask.spec.name == rule.roi), None)
    if mask is None:
        raise KeyError(f"there is no ROI {rule.roi}")
    if mask.empty:
        return Measurements(rule=rule)
    if rule.kind is MeasurementKind.SHAPE:
        return Measurements(rule=rule, shape=shape_of(mask.mask, grid.spacing_zyx_mm))
    nodes, ignored = nodes_of(mask, grid, ignore_below_mm=rule.ignore_below_mm)
    return Measurements(rule=rule, nodes=nodes, ignored_nodes=ignored)


def shape_of(mask: BoolArray, spacing_zyx_mm: Vec3) -> Shape:
    """Return the shape of a mask (z, y, x) that is not empty; see `smooth_morphology`.

    Of several pieces, volume and surface are of all, diameter and regularity of the largest.
    """
    pieces, _ = _labelled(mask)
    found = [_shape_of_piece(pieces[box] == number, spacing_zyx_mm) for number, box in _boxes(pieces)]
    largest = max(found, key=lambda piece: piece.volume_mm3)
    volume_cc, surface_cm2 = sum(one.volume_mm3 for one in found) / 1000, sum(one.surface_mm2 for one in found) / 100
    return Shape(volume_cc, surface_cm2, largest.diameter_mm, largest.regularity, pieces=len(found))


def _shape_of_piece(piece: BoolArray, spacing_zyx_mm: Vec3) -> Morphology:
    """By a smooth surface; by the mesh along the voxels where few voxels do not tell a smooth one."""
    smooth = smooth_morphology(piece, spacing_zyx_mm)
    counted_mm3 = float(piece.sum()) * math.prod(spacing_zyx_mm)
    if abs(smooth.volume_mm3 / counted_mm3 - 1.0) <= MAX_VOLUME_CHANGE:
        return smooth
    return morphology(piece, spacing_zyx_mm)


def nodes_of(mask: RoiMask, grid: Grid, *, ignore_below_mm: float) -> tuple[tuple[Node, ...], int]:
    """Return the nodes of an ROI, from the head to the feet, and how many were too small to be listed."""
    wide = _without_thin(mask.mask, grid.spacing_zyx_mm)
    parts, count = _parts(mask.mask, wide, grid.spacing_zyx_mm)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        offset = [start + piece.start for start, piece in zip(mask.offset_zyx, box, strict=True)]
        part = parts[box] == number
        found.append(_node(part, part & wide[box], offset, grid))
    large = [node for node in found if node.short_axis.length_mm >= ignore_below_mm]
    ordered = sorted(large, key=lambda node: (-node.centre_lps_mm[2], node.centre_lps_mm))
    numbered = tuple(
        Node(
            number=number,
            volume_cc=node.volume_cc,
            long_axis=node.long_axis,
            short_axis=node.short_axis,
            centre_lps_mm=node.centre_lps_mm,
            slice_index=node.slice_index,
        )
        for number, node in enumerate(ordered, start=1)
    )
    return numbered, count - len(large)


def component(mask: RoiMask, node: Node, grid: Grid) -> RoiMask:
    """Return the part of an ROI that is a node of `nodes_of`."""
    wide = _without_thin(mask.mask, grid.spacing_zyx_mm)
    parts, _ = _parts(mask.mask, wide, grid.spacing_zyx_mm)
    ends = grid.to_index_zyx(np.asarray(node.long_axis.ends_lps_mm)) - np.asarray(mask.offset_zyx)
    plane = parts[node.slice_index - mask.offset_zyx[0]]
    rows, columns = np.nonzero(plane)
    nearest = np.argmin((rows - ends[0, 1]) ** 2 + (columns - ends[0, 2]) ** 2)
    return RoiMask(mask.spec, parts == plane[rows[nearest], columns[nearest]], mask.offset_zyx)


def _parts(mask: BoolArray, wide: BoolArray, spacing_zyx_mm: Vec3) -> tuple[npt.NDArray[np.int32], int]:
    """Number the nodes of a mask: its connected parts, divided where only thin bridges join them."""
    whole, count = _labelled(mask)
    cores, cores_count = _labelled(wide)
    per_part = [set(np.unique(cores[box][whole[box] == number])) - {0} for number, box in _boxes(whole)]
    if all(len(inside) < 2 for inside in per_part):
        return whole, count
    nearest = ndimage.distance_transform_edt(
        cores == 0, sampling=spacing_zyx_mm, return_distances=False, return_indices=True
    )
    divided = np.where(mask, cores[tuple(nearest)], 0)
    # A part without any core, and thin all over, keeps its own number.
    for number, box in _boxes(whole):
        if not per_part[number - 1]:
            divided[box][whole[box] == number] = cores_count + number
    _, numbers = np.unique(divided, return_inverse=True)
    parts: npt.NDArray[np.int32] = numbers.reshape(mask.shape).astype(np.int32)
    return parts, int(parts.max())


def _labelled(mask: BoolArray) -> tuple[npt.NDArray[np.int32], int]:
    labels, count = ndimage.label(mask, structure=CONNECTED)
    return np.asarray(labels, dtype=np.int32), int(count)


def _boxes(labels: npt.NDArray[np.int32]) -> list[tuple[int, tuple[slice, ...]]]:
    return list(enumerate(ndimage.find_objects(labels), start=1))


def _without_thin(mask: BoolArray, spacing_zyx_mm: Vec3) -> BoolArray:
    """What of each slice is at least `THIN_MM` wide, with its corners; neither spurs nor bridges."""
    pixel_mm = spacing_zyx_mm[1:]
    radii = [THIN_MM / 2 / mm for mm in pixel_mm]
    rows, columns = (np.arange(-int(radius), int(radius) + 1) / max(radius, 1e-9) for radius in radii)
    disc = (rows[:, None] ** 2 + columns[None, :] ** 2) <= 1.0
    opened = ndimage.binary_opening(mask, structure=disc[None])
    corner_mm = _ROUNDED * THIN_MM / 2 + max(pixel_mm)
    corners = [
        _corners(wide, section & ~wide, corner_mm, pixel_mm) if wide.any() else wide
        for wide, section in zip(opened, mask, strict=True)
    ]
    cornered: BoolArray = opened | np.stack(corners)
    return np.stack(
        [
            _without_stumps(wide, section & ~wide, pixel_mm) if (section & ~wide).any() else wide
            for wide, section in zip(cornered, mask, strict=True)
        ]
    )


def _without_stumps(wide: BoolArray, cut: BoolArray, pixel_mm: tuple[float, ...]) -> BoolArray:
    """Return a slice without what still stands out of it where spurs and bridges were cut off."""
    depth_mm = ndimage.distance_transform_edt(np.pad(wide, 1), sampling=pixel_mm)[1:-1, 1:-1]
    parts, count = ndimage.label(wide, structure=CONNECTED[0])
    halves_mm = np.asarray(ndimage.maximum(depth_mm, parts, np.arange(count + 1))) / 2
    opened = np.zeros_like(wide)
    for number in range(1, count + 1):
        core = (parts == number) & (depth_mm > halves_mm[number])
        opened |= (parts == number) & (ndimage.distance_transform_edt(~core, sampling=pixel_mm) <= halves_mm[number])
    near = ndimage.distance_transform_edt(~cut, sampling=pixel_mm) <= THIN_MM
    rounded: BoolArray = wide & (opened | ~near)
    return rounded


def _corners(wide: BoolArray, rest: BoolArray, corner_mm: float, pixel_mm: tuple[float, ...]) -> BoolArray:
    """Return the pieces of what an opening took from a slice that stay near to one wide part, and touch no other."""
    parts, _ = ndimage.label(wide, structure=CONNECTED[0])
    pieces, count = ndimage.label(rest, structure=CONNECTED[0])
    reach_mm = ndimage.maximum(ndimage.distance_transform_edt(~wide, sampling=pixel_mm), pieces, np.arange(count + 1))
    highest = ndimage.maximum_filter(parts, footprint=CONNECTED[0])
    lowest = -ndimage.maximum_filter(np.where(wide, -parts, -np.inf), footprint=CONNECTED[0])
    numbers = np.arange(count + 1)
    joins = ndimage.maximum(highest, pieces, numbers) > ndimage.minimum(lowest, pieces, numbers)
    kept = (reach_mm <= corner_mm) & ~joins
    kept[0] = False
    corners: BoolArray = kept[pieces]
    return corners


def _node(part: BoolArray, wide: BoolArray, offset_zyx: Sequence[int], grid: Grid) -> Node:
    """Measure one part, its axes where it is not thin unless it is so all over; `number` is given later."""
    _, row_mm, column_mm = grid.spacing_zyx_mm
    solid = wide if wide.any() else part
    pixel_mm = (row_mm, column_mm)
    measured = [
        (index, plane, *_axes(plane, pixel_mm)) for index, section in enumerate(solid) for plane in _pieces(section)
    ]
    # Of pieces nearly as wide as the widest the one with the most voxels, which lies in the node's middle.
    widest = max(_length(short) for *_, short in measured) - min(pixel_mm) / 4
    nearly = [found for found in measured if _length(found[3]) >= widest]
    index, _, long_ends, short_ends = max(nearly, key=lambda found: int(found[1].sum()))
    centre = grid.to_patient_mm(np.argwhere(part).mean(axis=0) + offset_zyx)
    slice_index = index + offset_zyx[0]

    def place(ends_mm: FloatArray) -> tuple[Vec3, Vec3]:
        rows_columns = ends_mm / (row_mm, column_mm) + offset_zyx[1:]
        index_zyx = np.column_stack([np.full(2, float(slice_index)), rows_columns])
        first, second = (_vec(point) for point in grid.to_patient_mm(index_zyx))
        return first, second

    return Node(
        number=0,
        volume_cc=float(part.sum()) * grid.voxel_cc,
        long_axis=Axis(_length(long_ends), place(long_ends)),
        short_axis=Axis(_length(short_ends), place(short_ends)),
        centre_lps_mm=_vec(centre),
        slice_index=slice_index,
    )


def _pieces(section: BoolArray) -> list[BoolArray]:
    labels, count = ndimage.label(section, structure=CONNECTED[0])
    return [labels == number for number in range(1, count + 1)]


def _axes(plane: BoolArray, pixel_mm: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Return the ends (2, 2), row and column in mm, of the long and the short axis of one piece in a slice."""
    rows, columns = ndimage.find_objects(plane.astype(np.int8))[0]
    start_mm = np.array([rows.start, columns.start]) * pixel_mm
    drawn = _drawn(plane[rows, columns], pixel_mm)
    long_ends = _longest_inside(drawn, pixel_mm)
    return long_ends + start_mm, _longest_across(drawn, long_ends, pixel_mm) + start_mm


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A function that is positive inside a piece, in pixels, padded by `_MARGIN_PX`; `finer` values a pixel.

    The points, (n, 2) row and column in mm from the piece's first pixel, are where it is zero.
    """

    depth_px: FloatArray
    finer: int
    points: FloatArray


def _drawn(piece: BoolArray, pixel_mm: tuple[float, float]) -> _Drawn:
    padded = np.pad(piece, _MARGIN_PX)
    radius_mm = widest_mm(padded, pixel_mm)
    if 2 * radius_mm <= _FEW_PX * max(pixel_mm):
        return _Drawn(padded.astype(np.float64) - 0.5, 1, _pixel_outline_mm(piece, pixel_mm))
    finer = finer_for(radius_mm, pixel_mm)
    depth_px: FloatArray = finely(padded, pixel_mm, finer) / (2 * radius_mm * min(pixel_mm))
    outlines = find_contours(depth_px, 0.0)
    points = np.concatenate([outline[1:] for outline in outlines])
    points = points[:: math.ceil(len(points) / _MOST_POINTS)]
    return _Drawn(depth_px, finer, (points / finer - _MARGIN_PX) * pixel_mm)


def _length(ends: FloatArray) -> float:
    return float(np.linalg.norm(ends[1] - ends[0]))


def _pixel_outline_mm(plane: BoolArray, pixel_mm: tuple[float, float]) -> FloatArray:
    """Return where a plane's mask ends, half-way between pixel centres, (n, 2) row and column in mm."""
    padded = np.pad(plane, 1)
    points = []
    for axis in (0, 1):
        changes = np.argwhere(np.diff(padded.astype(np.int8), axis=axis) != 0).astype(float) - 1.0
        changes[:, axis] += 0.5
        points.append(changes)
    return np.concatenate(points) * pixel_mm


def _longest_inside(drawn: _Drawn, pixel_mm: tuple[float, float]) -> FloatArray:
    """Return the two points (2, 2) of an outline that lie farthest apart with all of their line inside."""
    points = drawn.points
    first, second = np.triu_indices(len(points), 1)
    lengths = np.linalg.norm(points[first] - points[second], axis=1)
    longest = np.argsort(-lengths, kind="stable")
    steps = np.linspace(0.0, 1.0, 2 + int(2 * lengths.max() / min(pixel_mm)))[1:-1, None, None]
    for chunk in np.array_split(longest, max(1, len(longest) // 512)):
        one, other = points[first[chunk]], points[second[chunk]]
        inside = (_sampled(drawn, one + steps * (other - one), pixel_mm) >= -_GRAZES_PX).all(axis=0)
        if inside.any():
            pair = chunk[int(np.argmax(inside))]
            return points[[first[pair], second[pair]]]
    raise ValueError("a piece of a mask has an outline, and a line across each of its pixels")


def _longest_across(drawn: _Drawn, long_ends: FloatArray, pixel_mm: tuple[float, float]) -> FloatArray:
    """Return the ends (2, 2) of the longest line at right angles to another one that stays inside."""
    length = _length(long_ends)
    along = (long_ends[1] - long_ends[0]) / length
    across = np.array([-along[1], along[0]])
    step_mm = min(pixel_mm) / _FINE
    reach = np.arange(-length - min(pixel_mm), length + min(pixel_mm) + step_mm, step_mm)
    feet = np.linspace(0.0, length, 3 + 2 * int(length / min(pixel_mm)))[1:-1]
    lines = long_ends[0] + feet[:, None, None] * along + reach[None, :, None] * across
    values = np.pad(_sampled(drawn, lines, pixel_mm), ((0, 0), (1, 1)), constant_values=-1.0)
    inside = values >= 0.0
    starts, ends = np.diff(inside.astype(np.int8), axis=1) == 1, np.diff(inside.astype(np.int8), axis=1) == -1
    rows, firsts = np.nonzero(starts)
    lasts = np.nonzero(ends)[1]
    # Where a line enters and leaves, between two samples.
    low = firsts - values[rows, firsts] / (values[rows, firsts + 1] - values[rows, firsts])
    high = lasts - values[rows, lasts] / (values[rows, lasts + 1] - values[rows, lasts])
    best = int(np.argmax(high - low))
    places = reach[0] + (np.array([low[best], high[best]]) - 1.0) * step_mm
    found: FloatArray = long_ends[0] + feet[rows[best]] * along + places[:, None] * across
    return found


def _sampled(drawn: _Drawn, points_mm: FloatArray, pixel_mm: tuple[float, float]) -> FloatArray:
    """The function of a drawn piece at points (..., 2)."""
    places = np.moveaxis((points_mm / pixel_mm + _MARGIN_PX) * drawn.finer, -1, 0)
    sampled: FloatArray = ndimage.map_coordinates(drawn.depth_px, places, order=1, mode="constant", cval=-1.0)
    return sampled


def _vec(point: FloatArray) -> Vec3:
    return float(point[0]), float(point[1]), float(point[2])
