"""Images as arrays with a place: a volume and what a network says of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import FloatArray, Grid


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One series as a regular stack.

    Attributes:
        hu: (z, y, x) int16 Hounsfield units (rescaled per slice, rounded, saturated), read-only.
        grid: where the voxels lie; `grid.shape_zyx == hu.shape`; axis 0 ascends along the slice normal.
        sop_instance_uids: SOP Instance UID of each slice, length z, in the order of `hu`.
        slice_positions_lps_mm: (z, 3) each slice's own Image Position (Patient), the centre of its
            first voxel. Contours are placed by these, never by index times spacing.
        modality: "CT"; or "MR", whose values have no unit: rescaled, then stretched to the range of int16 where they
            would not fit or would lose their steps.
    """

    hu: npt.NDArray[np.int16]
    grid: Grid
    sop_instance_uids: tuple[str, ...]
    slice_positions_lps_mm: FloatArray
    modality: str = "CT"

    @property
    def empty_value(self) -> int:
        """What a voxel holds where nothing was measured: air in CT, no signal in MR."""
        return -1024 if self.modality == "CT" else 0

    def slice_nearest(self, z_mm: float) -> int:
        """Return the index of the slice whose first voxel's centre is nearest to a patient z."""
        return int(np.abs(self.slice_positions_lps_mm[:, 2] - z_mm).argmin())

    def __post_init__(self) -> None:
        slices = self.hu.shape[0]
        if self.hu.shape != self.grid.shape_zyx or len(self.sop_instance_uids) != slices:
            raise ValueError(
                f"hu {self.hu.shape}, grid {self.grid.shape_zyx}, {len(self.sop_instance_uids)} UIDs: must agree"
            )
        if self.slice_positions_lps_mm.shape != (slices, 3):
            raise ValueError(f"slice positions {self.slice_positions_lps_mm.shape}, expected ({slices}, 3)")
        self.hu.setflags(write=False)
        self.slice_positions_lps_mm.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """One network's answer: every voxel has exactly one label, 0 is background.

    Attributes:
        labels: (z, y, x) uint8, read-only, on the planning grid.
        grid: where the voxels lie.
        network: name of the network whose label table applies.
        crossings: (2, z, y, x) uint8, read-only: where between a voxel and the next row, and the next column, the
            network changes its mind (`core.crossings`); None when it did not say.
        doubts: (labels, 3) float64, read-only: what the network's class maps say of each label (`core.class_doubts`);
            None when it did not say.
    """

    labels: npt.NDArray[np.uint8]
    grid: Grid
    network: str
    crossings: npt.NDArray[np.uint8] | None = None
    doubts: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.labels.shape != self.grid.shape_zyx:
            raise ValueError(f"labels {self.labels.shape}, grid {self.grid.shape_zyx}: must agree")
        self.labels.setflags(write=False)
        if self.crossings is not None:
            if self.crossings.shape != (2, *self.grid.shape_zyx):
                raise ValueError(f"crossings {self.crossings.shape}, expected {(2, *self.grid.shape_zyx)}")
            self.crossings.setflags(write=False)
        if self.doubts is not None:
            self.doubts.setflags(write=False)
