"""Where voxels lie in the patient.

Conventions, once for the whole code base:
array axes are (z, y, x) = (slice, row, column); positions are millimetres in the
DICOM patient system, LPS+ (x to the left, y to posterior, z to the head);
an index names the centre of a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vec3 = tuple[float, float, float]
FloatArray = npt.NDArray[np.float64]

HEAD_FIRST_SUPINE: tuple[Vec3, Vec3, Vec3] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Directions of an axial stack of a patient lying head first supine: +z, +y, +x."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular stack of voxels in the frame of reference of one series.

    Attributes:
        shape_zyx: slices, rows, columns.
        spacing_zyx_mm: distance between neighbouring voxel centres along each array axis.
        origin_lps_mm: centre of voxel (0, 0, 0).
        direction_lps: unit vectors of one step along z, y and x of the array, in that order.
        frame_of_reference_uid: DICOM Frame of Reference UID (0020,0052).
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: Vec3
    origin_lps_mm: Vec3
    direction_lps: tuple[Vec3, Vec3, Vec3]
    frame_of_reference_uid: str

    def __post_init__(self) -> None:
        if min(self.shape_zyx) < 1:
            raise ValueError(f"a grid has at least one voxel along each axis, got {self.shape_zyx}")
        if not min(self.spacing_zyx_mm) > 0:
            raise ValueError(f"spacing must be positive, got {self.spacing_zyx_mm} mm")
        direction = np.asarray(self.direction_lps)
        if not np.allclose(direction @ direction.T, np.eye(3), atol=1e-3):
            raise ValueError(f"directions must be orthonormal, got {self.direction_lps}")

    @property
    def voxel_cc(self) -> float:
        """Volume of one voxel in cm³."""
        return float(np.prod(self.spacing_zyx_mm)) / 1000.0

    def to_patient_mm(self, index_zyx: npt.ArrayLike) -> FloatArray:
        """Map voxel indices to the patient.

        Args:
            index_zyx: (..., 3) continuous voxel indices.

        Returns:
            (..., 3) LPS positions in mm.
        """
        steps = np.asarray(self.direction_lps) * np.asarray(self.spacing_zyx_mm)[:, np.newaxis]
        position: FloatArray = np.asarray(self.origin_lps_mm) + np.asarray(index_zyx, dtype=float) @ steps
        return position

    def to_index_zyx(self, position_lps_mm: npt.ArrayLike) -> FloatArray:
        """Map LPS positions (..., 3) in mm to continuous voxel indices (..., 3)."""
        offset = np.asarray(position_lps_mm, dtype=float) - np.asarray(self.origin_lps_mm)
        index: FloatArray = (offset @ np.asarray(self.direction_lps).T) / np.asarray(self.spacing_zyx_mm)
        return index
