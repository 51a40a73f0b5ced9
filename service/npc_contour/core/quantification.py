"""Measures of ROIs on the planning grid: lymph nodes one by one, and the shape of a tumour.

A node is a connected part of its ROI (voxels that touch by a face, an edge or a corner). Its axes are measured as on a
workstation: the longest line within an axial slice, and the largest width at right angles to it in the same slice. Both
run between the half-way points of inside and outside pixel centres, so a shape that fills whole pixels is measured
exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist, squareform

from npc_contour.core.labels import RoiMask
from npc_contour.core.morphology import morphology
from npc_contour.domain.geometry import FloatArray, Grid, Vec3
from npc_contour.domain.measurements import Axis, MeasurementKind, MeasurementRule, Measurements, Node, Shape

BoolArray = npt.NDArray[np.bool_]
CONNECTED = np.ones((3, 3, 3), dtype=np.bool_)


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
    """Return the shape of a mask (z, y, x) that is not empty; see `morphology`."""
    found = morphology(mask, spacing_zyx_mm)
    return Shape(found.volume_mm3 / 1000.0, found.surface_mm2 / 100.0, found.diameter_mm, found.regularity)


def nodes_of(mask: RoiMask, grid: Grid, *, ignore_below_mm: float) -> tuple[tuple[Node, ...], int]:
    """Return the nodes of an ROI, from the head to the feet, and how many were too small to be listed."""
    parts, count = ndimage.label(mask.mask, structure=CONNECTED)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        offset = [start + piece.start for start, piece in zip(mask.offset_zyx, box, strict=True)]
        found.append(_node(parts[box] == number, offset, grid))
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
    parts, _ = ndimage.label(mask.mask, structure=CONNECTED)
    ends = grid.to_index_zyx(np.asarray(node.long_axis.ends_lps_mm)) - np.asarray(mask.offset_zyx)
    plane = parts[node.slice_index - mask.offset_zyx[0]]
    rows, columns = np.nonzero(plane)
    nearest = np.argmin((rows - ends[0, 1]) ** 2 + (columns - ends[0, 2]) ** 2)
    return RoiMask(mask.spec, parts == plane[rows[nearest], columns[nearest]], mask.offset_zyx)


def _node(part: BoolArray, offset_zyx: Sequence[int], grid: Grid) -> Node:
    """Measure one connected part; `number` is given later."""
    _, row_mm, column_mm = grid.spacing_zyx_mm
    outlines = [_outline_mm(plane, row_mm, column_mm) for plane in part]
    lines = [_farthest(points) for points in outlines]
    lengths = [float(np.linalg.norm(line[1] - line[0])) for line in lines]
    # Of slices with the same length the one with the most voxels, which lies in the node's middle.
    index = max(range(len(part)), key=lambda k: (round(lengths[k], 6), int(part[k].sum())))
    length, long_ends, points = lengths[index], lines[index], outlines[index]
    width, short_ends = _width(points, long_ends)
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
        long_axis=Axis(length, place(long_ends)),
        short_axis=Axis(width, place(short_ends)),
        centre_lps_mm=_vec(centre),
        slice_index=slice_index,
    )


def _outline_mm(plane: BoolArray, row_mm: float, column_mm: float) -> FloatArray:
    """Return where a plane's mask ends, half-way between pixel centres, (n, 2) row and column in mm."""
    padded = np.pad(plane, 1)
    points = []
    for axis in (0, 1):
        changes = np.argwhere(np.diff(padded.astype(np.int8), axis=axis) != 0).astype(float) - 1.0
        changes[:, axis] += 0.5
        points.append(changes)
    return np.concatenate(points) * (row_mm, column_mm)


def _farthest(points: FloatArray) -> FloatArray:
    """Return the two points (2, 2) that lie farthest apart; they are corners of the convex hull."""
    if len(points) == 0:
        return np.zeros((2, 2))
    corners = _hull(points)
    distances = squareform(pdist(corners))
    one, other = np.unravel_index(int(np.argmax(distances)), distances.shape)
    return corners[[one, other]]


def _width(points: FloatArray, long_ends: FloatArray) -> tuple[float, FloatArray]:
    """Return the largest width at right angles to a line, and a line of that length in the middle of both tangents."""
    along = long_ends[1] - long_ends[0]
    along = along / np.linalg.norm(along)
    across = np.array([-along[1], along[0]])
    heights = points @ across
    low, high = points[int(np.argmin(heights))], points[int(np.argmax(heights))]
    middle = 0.5 * ((low + high) @ along)
    ends = np.array([middle * along + (end @ across) * across for end in (low, high)])
    return float(heights.max() - heights.min()), ends


def _hull(points: FloatArray) -> FloatArray:
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        return np.unique(points, axis=0)


def _vec(point: FloatArray) -> Vec3:
    return float(point[0]), float(point[1]), float(point[2])
