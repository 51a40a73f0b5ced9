"""One frame of reference in terms of another, as a Spatial Registration says (PS3.3 C.20.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.domain.volumes import Volume

Matrix = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class RigidMove:
    """Takes positions of one frame of reference to another.

    Attributes:
        source_frame_uid: where positions come from.
        target_frame_uid: where they go.
        matrix: 4 x 4, homogeneous, LPS mm: rotation and translation.
        sop_instance_uids: of the Spatial Registration objects it was made of.
    """

    source_frame_uid: str
    target_frame_uid: str
    matrix: Matrix
    sop_instance_uids: tuple[str, ...]

    @property
    def rotation(self) -> FloatArray:
        """(3, 3), orthonormal."""
        return np.asarray(self.matrix, dtype=np.float64)[:3, :3]

    def points(self, positions_lps_mm: FloatArray) -> FloatArray:
        """Move (..., 3) positions in mm."""
        moved: FloatArray = positions_lps_mm @ self.rotation.T + np.asarray(self.matrix, dtype=np.float64)[:3, 3]
        return moved

    def grid(self, grid: Grid) -> Grid:
        """Move a grid: the same voxels, described in the target frame."""
        origin = self.points(np.asarray(grid.origin_lps_mm))
        direction = np.asarray(grid.direction_lps) @ self.rotation.T
        z, y, x = ((float(a), float(b), float(c)) for a, b, c in direction)
        return replace(
            grid,
            origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction_lps=(z, y, x),
            frame_of_reference_uid=self.target_frame_uid,
        )

    def volume(self, volume: Volume) -> Volume:
        """Move a volume; no voxel is interpolated."""
        return replace(
            volume,
            grid=self.grid(volume.grid),
            slice_positions_lps_mm=self.points(volume.slice_positions_lps_mm),
        )

    def inverse(self) -> RigidMove:
        """The way back."""
        return RigidMove(
            self.target_frame_uid,
            self.source_frame_uid,
            matrix_of(np.linalg.inv(np.asarray(self.matrix, dtype=np.float64))),
            self.sop_instance_uids,
        )

    def then(self, other: RigidMove) -> RigidMove:
        """This move followed by another, which starts where this one ends."""
        product = np.asarray(other.matrix, dtype=np.float64) @ np.asarray(self.matrix, dtype=np.float64)
        uids = tuple(dict.fromkeys((*self.sop_instance_uids, *other.sop_instance_uids)))
        return RigidMove(self.source_frame_uid, other.target_frame_uid, matrix_of(product), uids)


def matrix_of(array: FloatArray) -> Matrix:
    """A 4 x 4 array as plain numbers."""
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in array)
