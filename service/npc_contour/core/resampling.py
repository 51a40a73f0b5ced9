"""Exact resampling as one small matrix product per axis.

Interpolation on a regular grid is linear in the samples and separable, so a whole resampling is three matrices. They are
taken from `scipy.ndimage.zoom` itself (pixel centres aligned as in nnU-Net and scikit-image, edges repeated), which makes
the product equal to it and some fifteen times faster.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from npc_contour.domain.geometry import Grid, Vec3
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]

# Smaller coefficients change nothing in float32, and their denormal products slow the matrix product thirty times.
NEGLIGIBLE = 1e-9
OUTSIDE_HU = -1024.0
SAME_PLACE_MM = 0.01


@lru_cache(maxsize=64)
def axis_matrix(source: int, target: int, order: int) -> Float32Array:
    """Return the matrix that resamples one axis.

    Args:
        source: samples along the axis before.
        target: samples after.
        order: of the spline; 1 (linear) or 3 (cubic).

    Returns:
        (target, source) float32, read-only; every row sums to one.
    """
    if source < 1 or target < 1:
        raise ValueError(f"an axis has at least one sample, got {source} to {target}")
    if order not in (1, 3):
        raise ValueError(f"order must be 1 or 3, got {order}")
    units = np.eye(source)
    columns = [
        ndimage.zoom(unit, target / source, order=order, mode="nearest", grid_mode=True, prefilter=order > 1)
        for unit in units
    ]
    matrix = np.stack(columns, axis=1)
    matrix[np.abs(matrix) < NEGLIGIBLE] = 0.0
    result = np.ascontiguousarray(matrix, dtype=np.float32)
    result.setflags(write=False)
    return result


def resampled_shape(shape_zyx: tuple[int, int, int], spacing_zyx_mm: Vec3, target_zyx_mm: Vec3) -> tuple[int, int, int]:
    """Return the shape that covers the same extent at another spacing, rounded as nnU-Net does (half to even)."""
    z, y, x = (
        max(1, round(size * spacing / target))
        for size, spacing, target in zip(shape_zyx, spacing_zyx_mm, target_zyx_mm, strict=True)
    )
    return z, y, x


def resample(volume: npt.NDArray[Any], shape_zyx: tuple[int, int, int], *, order: int) -> Float32Array:
    """Resample to another shape over the same extent.

    Args:
        volume: (z, y, x) of any real type.
        shape_zyx: the shape wanted.
        order: 1 or 3; cubic overshoot is clipped to the range of the input, as scikit-image does.

    Returns:
        float32 of `shape_zyx`, a new array.
    """
    if volume.ndim != 3:
        raise ValueError(f"a volume has three axes, got shape {volume.shape}")
    low, high = float(volume.min()), float(volume.max())
    result: Float32Array = np.array(volume, dtype=np.float32, order="C")
    # The axis that shrinks most goes first: the later products are then the smaller ones.
    for axis in sorted(range(3), key=lambda axis: shape_zyx[axis] / volume.shape[axis]):
        if shape_zyx[axis] != result.shape[axis]:
            result = _along(result, axis_matrix(result.shape[axis], shape_zyx[axis], order), axis)
    if order > 1:
        np.clip(result, low, high, out=result)
    return result


def resample_onto(volume: Volume, grid: Grid) -> Int16Array:
    """Return the HU of one series on the voxels of another in the same frame of reference.

    Args:
        volume: the series to move.
        grid: where its values are wanted.

    Returns:
        (z, y, x) int16 of `grid.shape_zyx`; linear between voxels, -1024 HU outside the series. When the voxels
        already coincide the array is the volume's own.

    Raises:
        CaseRefused: the two are not in one frame of reference, or do not overlap.
    """
    theirs, ours = volume.grid.frame_of_reference_uid, grid.frame_of_reference_uid
    if theirs != ours:
        raise CaseRefused(f"the series lie in two frames of reference, {theirs} and {ours}: they cannot be paired")
    if same_voxels(volume.grid, grid):
        return volume.hu
    if not _overlap(volume.grid, grid):
        raise CaseRefused("the series do not overlap in the patient: they cannot be paired")
    image = sitk.GetImageFromArray(volume.hu)
    _place(image, volume.grid)
    lattice = sitk.Image([1, 1, 1], sitk.sitkInt16)
    _place(lattice, grid)
    size_xyz = [int(size) for size in reversed(grid.shape_zyx)]
    moved = sitk.Resample(
        image,
        size_xyz,
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear,
        lattice.GetOrigin(),
        lattice.GetSpacing(),
        lattice.GetDirection(),
        OUTSIDE_HU,
        sitk.sitkFloat32,
    )
    rounded: Int16Array = np.rint(sitk.GetArrayViewFromImage(moved)).astype(np.int16)
    return rounded


def same_voxels(first: Grid, second: Grid) -> bool:
    """Whether every voxel of one grid lies on the other's, to a hundredth of a millimetre at the corners."""
    if first.shape_zyx != second.shape_zyx:
        return False
    corners = _corners_zyx(first)
    gap_mm = np.linalg.norm(first.to_patient_mm(corners) - second.to_patient_mm(corners), axis=1)
    return bool(gap_mm.max() <= SAME_PLACE_MM)


def _along(volume: Float32Array, matrix: Float32Array, axis: int) -> Float32Array:
    z, y, x = volume.shape
    if axis == 2:
        return np.asarray((volume.reshape(z * y, x) @ matrix.T).reshape(z, y, -1))
    if axis == 1:
        return np.asarray(np.matmul(matrix, volume))
    return np.asarray((matrix @ volume.reshape(z, y * x)).reshape(-1, y, x))


def _corners_zyx(grid: Grid) -> npt.NDArray[np.float64]:
    ends = [(0.0, float(size - 1)) for size in grid.shape_zyx]
    return np.array([(z, y, x) for z in ends[0] for y in ends[1] for x in ends[2]])


def _overlap(first: Grid, second: Grid) -> bool:
    reached = first.to_index_zyx(second.to_patient_mm(_corners_zyx(second)))
    low, high = reached.min(axis=0), reached.max(axis=0)
    return bool(np.all(high >= 0) and np.all(low <= np.asarray(first.shape_zyx) - 1))


def _place(image: sitk.Image, grid: Grid) -> None:
    image.SetOrigin([float(value) for value in grid.origin_lps_mm])
    image.SetSpacing([float(value) for value in reversed(grid.spacing_zyx_mm)])
    columns_xyz = np.asarray(grid.direction_lps)[::-1].T
    image.SetDirection([float(value) for value in columns_xyz.ravel()])
