"""Two series of one patient on one grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.domain.geometry import Grid
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused

Int16Array = npt.NDArray[np.int16]

OUTSIDE_HU = -1024.0
SAME_PLACE_MM = 0.01


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
    image = SimpleITK.GetImageFromArray(volume.hu)
    _place(image, volume.grid)
    lattice = SimpleITK.Image([1, 1, 1], SimpleITK.sitkInt16)
    _place(lattice, grid)
    size_xyz = [int(size) for size in reversed(grid.shape_zyx)]
    moved = SimpleITK.Resample(
        image,
        size_xyz,
        SimpleITK.Transform(3, SimpleITK.sitkIdentity),
        SimpleITK.sitkLinear,
        lattice.GetOrigin(),
        lattice.GetSpacing(),
        lattice.GetDirection(),
        OUTSIDE_HU,
        SimpleITK.sitkFloat32,
    )
    values = SimpleITK.GetArrayViewFromImage(moved)
    hu = np.empty(grid.shape_zyx, dtype=np.int16)
    for index in range(len(hu)):  # slice by slice: no second float copy of the volume
        hu[index] = np.rint(values[index])
    return hu


def same_voxels(first: Grid, second: Grid) -> bool:
    """Whether every voxel of one grid lies on the other's, to a hundredth of a millimetre at the corners."""
    if first.shape_zyx != second.shape_zyx:
        return False
    corners = _corners_zyx(first)
    gap_mm = np.linalg.norm(first.to_patient_mm(corners) - second.to_patient_mm(corners), axis=1)
    return bool(gap_mm.max() <= SAME_PLACE_MM)


def _corners_zyx(grid: Grid) -> npt.NDArray[np.float64]:
    ends = [(0.0, float(size - 1)) for size in grid.shape_zyx]
    return np.array([(z, y, x) for z in ends[0] for y in ends[1] for x in ends[2]])


def _overlap(first: Grid, second: Grid) -> bool:
    reached = first.to_index_zyx(second.to_patient_mm(_corners_zyx(second)))
    low, high = reached.min(axis=0), reached.max(axis=0)
    return bool(np.all(high >= 0) and np.all(low <= np.asarray(first.shape_zyx) - 1))


def _place(image: SimpleITK.Image, grid: Grid) -> None:
    image.SetOrigin([float(value) for value in grid.origin_lps_mm])
    image.SetSpacing([float(value) for value in reversed(grid.spacing_zyx_mm)])
    columns_xyz = np.asarray(grid.direction_lps)[::-1].T
    image.SetDirection([float(value) for value in columns_xyz.ravel()])
