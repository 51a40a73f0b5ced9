"""Two series of one patient on one grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import Grid
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused

Int16Array = npt.NDArray[np.int16]

SAME_PLACE_MM = 0.01


def resample_onto(volume: Volume, grid: Grid) -> Int16Array:
    """Return the HU of one series on the voxels of another in the same frame of reference.

    Args:
        volume: the series to move.
        grid: where its values are wanted.

    Returns:
        (z, y, x) int16 of `grid.shape_zyx`; linear between voxels; outside the series -1024 HU (CT) or 0 (MR).
        When the voxels already coincide the array is the volume's own.

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
    # Loaded only where it is needed: SimpleITK takes 110 MB in every process that imports it.
    from npc_contour.core.interpolation import linear_onto  # noqa: PLC0415

    return linear_onto(volume, grid)


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
