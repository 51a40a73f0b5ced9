"""Contours back to masks: an even-odd scan conversion that shares nothing with the tracing.

A voxel is inside when its centre is: the rule that plastimatch and most dose engines follow. Used by the gate, by the
reader of other people's RTSTRUCTs and by tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled
from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.domain.volumes import Volume

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


SAME_PLANE_MM = 0.05
"""Contours whose distances from a slice differ by no more lie on one plane."""


@dataclass(frozen=True, slots=True, eq=False)
class RasterisedRoi:
    """The voxels whose centres lie in an ROI.

    Attributes:
        mask: (z, y, x) bool, cropped; may be of shape (0, 0, 0).
        offset_zyx: index of the crop's first voxel on the grid.
        slice_indices: (c,) the slice each contour was put on; -1 for one outside the stack, or on a plane that another
            plane of contours is nearer to the slice than.
        off_plane_mm: the furthest that any point lies from the plane of its slice.
    """

    mask: BoolArray
    offset_zyx: tuple[int, int, int]
    slice_indices: IntArray
    off_plane_mm: float


def rasterise_roi(polygons_lps_mm: Sequence[FloatArray], volume: Volume) -> RasterisedRoi:
    """Rasterise the contours of one ROI on the planning grid.

    Contours of one slice are combined by parity, which reads keyholes and separate inner contours alike.

    Args:
        polygons_lps_mm: each (n, 3).
        volume: where the slices lie; each contour goes to the slice whose plane is nearest to its mean, unless that
            plane is further away than half the distance between slices. Of contours drawn on several planes between
            two slices, those on the plane nearest to a slice count; slices between planes stay empty.
    """
    if not polygons_lps_mm:
        return RasterisedRoi(np.zeros((0, 0, 0), dtype=np.bool_), (0, 0, 0), np.zeros(0, dtype=np.int64), 0.0)
    lengths = np.array([len(polygon) for polygon in polygons_lps_mm], dtype=np.int64)
    points = np.concatenate(polygons_lps_mm)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    normal = np.asarray(volume.grid.direction_lps[0])
    planes_mm = volume.slice_positions_lps_mm @ normal
    depth_mm = points @ normal
    contour_mm = np.add.reduceat(depth_mm, starts[:-1]) / lengths
    slices = one_plane_a_slice(nearest_planes(contour_mm, planes_mm, volume.grid), contour_mm, planes_mm)
    off_plane_mm = np.abs(depth_mm - np.repeat(planes_mm[np.maximum(slices, 0)], lengths))
    inside = np.repeat(slices >= 0, lengths)
    in_plane = in_plane_index(points, np.repeat(slices, lengths), volume)
    mask, offset = _rasterise(in_plane, starts, slices, volume.grid.shape_zyx)
    return RasterisedRoi(mask, offset, slices, float(off_plane_mm[inside].max(initial=0.0)))


def nearest_planes(depth_mm: FloatArray, planes_mm: FloatArray, grid: Grid) -> IntArray:
    """Return the index of the nearest of the ascending planes, or -1 where it is over half a slice distance away."""
    after = np.clip(np.searchsorted(planes_mm, depth_mm), 1, max(len(planes_mm) - 1, 1))
    after = np.minimum(after, len(planes_mm) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(planes_mm[after] - depth_mm) < np.abs(planes_mm[before] - depth_mm), after, before)
    too_far = np.abs(planes_mm[nearest] - depth_mm) > grid.spacing_zyx_mm[0] / 2
    return np.where(too_far, -1, nearest).astype(np.int64)


def one_plane_a_slice(slices: IntArray, contour_mm: FloatArray, planes_mm: FloatArray) -> IntArray:
    """Leave out contours whose slice has others on a nearer plane: parity must not combine two planes."""
    distance = np.abs(contour_mm - planes_mm[np.maximum(slices, 0)])
    nearest = np.full(len(planes_mm), np.inf)
    np.minimum.at(nearest, slices[slices >= 0], distance[slices >= 0])
    return np.where(distance <= nearest[np.maximum(slices, 0)] + SAME_PLANE_MM, slices, -1)


def in_plane_index(points_lps_mm: FloatArray, slices: IntArray, volume: Volume) -> FloatArray:
    """Map points to (row, column), (n, 2), continuous, by the position of each point's own slice."""
    offset = points_lps_mm - volume.slice_positions_lps_mm[np.maximum(slices, 0)]
    in_plane: FloatArray = (offset @ np.asarray(volume.grid.direction_lps[1:]).T) / volume.grid.spacing_zyx_mm[1:]
    return in_plane


def _rasterise(
    in_plane: FloatArray, starts: IntArray, slices: IntArray, shape_zyx: tuple[int, int, int]
) -> tuple[BoolArray, tuple[int, int, int]]:
    used = np.repeat(slices >= 0, np.diff(starts))
    nothing = (np.zeros((0, 0, 0), dtype=np.bool_), (0, 0, 0))
    if not used.any():
        return nothing
    low = np.maximum(np.floor(in_plane[used].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(in_plane[used].max(axis=0)).astype(int) + 1, shape_zyx[1:])
    if (high <= low).any():
        return nothing
    z_low, z_high = int(slices[slices >= 0].min()), int(slices.max()) + 1
    buffer = np.zeros((z_high - z_low, int(high[0] - low[0]), int(high[1] - low[1])), dtype=np.uint8)
    fill_even_odd(buffer, np.ascontiguousarray(in_plane - low), starts, slices - z_low)
    return buffer.view(np.bool_), (z_low, int(low[0]), int(low[1]))


@compiled
def fill_even_odd(buffer: npt.NDArray[np.uint8], points: FloatArray, starts: IntArray, slices: IntArray) -> None:
    """Fill polygons into a (z, y, x) stack of 0; several in one slice combine by parity.

    Args:
        buffer: uint8, changed in place to 0 and 1.
        points: (n, 2) row and column, voxel centres at whole numbers.
        starts: (c + 1,) where each polygon's points start.
        slices: (c,) index into the stack; polygons outside it are left out.
    """
    depth, rows, columns = buffer.shape
    for polygon in range(starts.shape[0] - 1):
        z = slices[polygon]
        if z < 0 or z >= depth:
            continue
        previous = starts[polygon + 1] - 1
        for current in range(starts[polygon], starts[polygon + 1]):
            low, high = previous, current
            if points[low, 0] > points[high, 0]:
                low, high = high, low
            row_low, column_low = points[low, 0], points[low, 1]
            height = points[high, 0] - row_low
            width = points[high, 1] - column_low
            # An edge owns its lower end, not its upper: a vertex on a row of centres counts once.
            for row in range(max(0, int(np.ceil(row_low))), min(rows, int(np.ceil(points[high, 0])))):
                column = int(np.ceil(column_low + (row - row_low) * width / height))
                if column < columns:
                    buffer[z, row, max(column, 0)] ^= 1
            previous = current
    for z in range(depth):
        for row in range(rows):
            inside = np.uint8(0)
            for column in range(columns):
                inside ^= buffer[z, row, column]
                buffer[z, row, column] = inside
