"""Voxels of another storage order on the planning grid: axes are swapped and turned, nothing is interpolated."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.errors import CaseRefused

MAX_CORNER_OFF_PX = 0.1
"""How far a corner of the other grid may lie from the planning grid's lattice, in voxels."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the voxels of another grid lie on the planning grid.

    Attributes:
        axes: for each planning axis the other grid's axis.
        flipped: planning axes along which the other runs the other way.
        offset_zyx: planning index of the turned array's first voxel.
    """

    axes: tuple[int, int, int]
    flipped: tuple[int, ...]
    offset_zyx: tuple[int, int, int]

    def apply(self, array: npt.NDArray[np.generic], shape_zyx: tuple[int, int, int]) -> npt.NDArray[np.generic]:
        """Return a (z, y, x) array on the planning grid, 0 where the other grid has no voxel."""
        turned = np.flip(array.transpose(self.axes), self.flipped)
        if turned.shape == shape_zyx:
            return turned
        whole = np.zeros(shape_zyx, dtype=array.dtype)
        start = np.asarray(self.offset_zyx)
        low, high = np.maximum(start, 0), np.minimum(start + turned.shape, shape_zyx)
        if (high > low).all():
            inside = tuple(slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True))
            whole[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))] = turned[inside]
        return whole


def placement(other: Grid, grid: Grid, *, part: bool = False) -> Placement:
    """Return how the voxels of another grid become those of the planning grid.

    Args:
        other: where the voxels lie; its axes may come in any order and run either way.
        grid: the planning grid.
        part: whether the other grid may cover only a part of the planning grid, or more than it.

    Raises:
        CaseRefused: the two are not one lattice of voxels; both are described.
    """
    corners = other.to_patient_mm(np.array(list(itertools.product(*((0, size - 1) for size in other.shape_zyx)))))
    index = grid.to_index_zyx(corners)
    steps = (grid.to_index_zyx(other.to_patient_mm(np.eye(3))) - grid.to_index_zyx(other.to_patient_mm(np.zeros(3)))).T
    axes = tuple(int(axis) for axis in np.abs(steps).argmax(axis=1))
    flipped = tuple(axis for axis in range(3) if steps[axis, axes[axis]] < 0)
    low = index.min(axis=0)
    shape = tuple(other.shape_zyx[axis] for axis in axes)
    offset = np.rint(low)
    if (
        sorted(axes) != [0, 1, 2]
        or (not part and (shape != grid.shape_zyx or offset.any()))
        or _off(index, offset, shape) > MAX_CORNER_OFF_PX
    ):
        raise CaseRefused(f"the grids differ: {described(other)}; the CT has {described(grid)}")
    return Placement(axes, flipped, tuple(int(start) for start in offset))  # type: ignore[arg-type]


def _off(index: FloatArray, offset: FloatArray, shape: tuple[int, ...]) -> float:
    """How far the corners lie from those of a box of whole voxels, the furthest, in voxels."""
    ends = np.stack([offset, offset + np.asarray(shape) - 1])
    nearest = np.abs(index[:, np.newaxis, :] - ends[np.newaxis]).min(axis=1)
    box = np.abs(np.stack([index.min(axis=0), index.max(axis=0)]) - ends)
    return float(max(nearest.max(), box.max()))


def described(grid: Grid) -> str:
    """Return a grid in words: size, spacing, first voxel and directions, as (x, y, z)."""
    columns, rows, slices = grid.shape_zyx[::-1]
    spacing = " x ".join(f"{step:.4g}" for step in grid.spacing_zyx_mm[::-1])
    origin = ", ".join(f"{place:.2f}" for place in grid.origin_lps_mm)
    along = " ".join(_direction(direction) for direction in grid.direction_lps[::-1])
    return f"{columns} x {rows} x {slices} voxels of {spacing} mm from ({origin}) mm, axes {along}"


def _direction(direction: tuple[float, float, float]) -> str:
    """Return a direction as the side that it points to where it is straight: R, L, A, P, I, S."""
    axis = int(np.abs(direction).argmax())
    if abs(direction[axis]) > 0.9999:
        return ("RL", "AP", "IS")[axis][direction[axis] > 0]
    return "(" + ", ".join(f"{part:.3f}" for part in direction) + ")"
