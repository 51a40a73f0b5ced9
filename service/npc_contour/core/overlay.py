"""A structure set's own points over the images: where each lies on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import Grid
from npc_contour.domain.structures import ReadRoi, ReadStructureSet

OFF_PLANE = 0.25
"""A contour this far (in slices) from the nearest slice is said to lie off its plane."""


@dataclass(frozen=True, slots=True)
class Ring:
    """One contour: `count` points from `start` of the overlay's table, on the slice nearest to it."""

    slice_index: int
    start: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class RoiOverlay:
    """One ROI as the structure set has it.

    Attributes:
        volume_cc: ROI Volume (3006,002C) where it is given, else the area of its rings times the slice distance.
        off_plane: how many of its contours lie between slices.
        centre_zyx: middle of its largest contour as voxel indices, where it is best looked at: strays that a network
            left elsewhere do not move it; None when it has no contour.
    """

    name: str
    interpreted_type: str
    colour_rgb: tuple[int, int, int]
    description: str
    volume_cc: float
    rings: tuple[Ring, ...]
    off_plane: int
    centre_zyx: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """All ROIs of a structure set on one grid.

    Attributes:
        points_xy: (n, 2) float32 (column, row) of every contour's points, ring after ring; voxel centres are whole
            numbers.
    """

    label: str
    approval_status: str
    sop_instance_uid: str
    rois: tuple[RoiOverlay, ...]
    points_xy: npt.NDArray[np.float32]


def overlay_on(content: ReadStructureSet, grid: Grid) -> Overlay:
    """Place a structure set on a grid.

    Args:
        content: in the grid's frame of reference.
        grid: of the images; contours beyond its first or last slice are left out.
    """
    rois, tables, start = [], [np.zeros((0, 2), dtype=np.float32)], 0
    for roi in content.rois:
        placed, points = _place(roi, grid, start)
        rois.append(placed)
        tables.append(points)
        start += len(points)
    return Overlay(
        label=content.label,
        approval_status=content.approval_status,
        sop_instance_uid=content.sop_instance_uid,
        rois=tuple(rois),
        points_xy=np.concatenate(tables),
    )


def _place(roi: ReadRoi, grid: Grid, start: int) -> tuple[RoiOverlay, npt.NDArray[np.float32]]:
    closed = roi.closed_lps_mm
    if not closed:
        volume_cc = roi.volume_cc or 0.0
        empty = RoiOverlay(roi.name, roi.interpreted_type, roi.colour_rgb, roi.description, volume_cc, (), 0, None)
        return empty, np.zeros((0, 2), dtype=np.float32)
    index_zyx = grid.to_index_zyx(np.concatenate(closed))
    counts = np.array([len(points) for points in closed])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    levels = np.add.reduceat(index_zyx[:, 0], starts) / counts
    nearest = np.rint(levels).astype(int)
    inside = (nearest >= 0) & (nearest < grid.shape_zyx[0])
    rings = tuple(
        Ring(int(level), start + int(first), int(count))
        for level, first, count, is_inside in zip(nearest, starts, counts, inside, strict=True)
        if is_inside
    )
    areas = _areas(index_zyx, starts, counts)
    largest = int(np.argmax(areas))
    ring = index_zyx[starts[largest] : starts[largest] + counts[largest]]
    centre = (ring.min(axis=0) + ring.max(axis=0)) / 2
    placed = RoiOverlay(
        name=roi.name,
        interpreted_type=roi.interpreted_type,
        colour_rgb=roi.colour_rgb,
        description=roi.description,
        volume_cc=roi.volume_cc if roi.volume_cc is not None else float(areas.sum()) * grid.voxel_cc,
        rings=rings,
        off_plane=int((np.abs(levels - nearest) > OFF_PLANE).sum()),
        centre_zyx=(float(centre[0]), float(centre[1]), float(centre[2])),
    )
    return placed, np.ascontiguousarray(index_zyx[:, [2, 1]], dtype=np.float32)


def _areas(
    index_zyx: npt.NDArray[np.float64], starts: npt.NDArray[np.intp], counts: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Area of each ring in pixels by the shoelace formula, closed onto its own first point."""
    y, x = index_zyx[:, 1], index_zyx[:, 2]
    following = np.arange(1, len(y) + 1)
    following[starts + counts - 1] = starts
    areas: npt.NDArray[np.float64] = np.abs(np.add.reduceat(x * y[following] - x[following] * y, starts)) / 2
    return areas
