"""Do two CT series of one frame of reference show the patient in the same place? Bones say so.

Contrast changes vessels and glands, not bones, and couch and mask are less dense than they. So: both series as bone
alone on a common coarse grid, and the shift at which they match best, by cross-correlation (Fourier), once for the
upper and once for the lower half of the scan: a head that turned between the phases shows as two different shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.geometry import FloatArray, Grid, Vec3
from npc_contour.domain.volumes import Volume

BONE_HU = (250.0, 900.0)
"""Above the upper limit all is alike: metal must not decide."""
COARSE_MM = 3.0
MAX_SHIFT_MM = 45.0
LEAST_BONE_VOXELS = 300

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ShiftFinding:
    """How far the second series lies from the first, LPS mm; each part is None where there is too little bone.

    Attributes:
        upper_lps_mm: of the half of the scan that is nearer to the head.
        lower_lps_mm: of the other half.
    """

    upper_lps_mm: Vec3 | None
    lower_lps_mm: Vec3 | None

    @property
    def largest_mm(self) -> float:
        """Length of the longer shift; 0 where nothing can be said."""
        return max((float(np.linalg.norm(one)) for one in self._known()), default=0.0)

    def text(self, role: str, planning_role: str) -> str:
        """In words."""
        parts = [
            f"{name} {self._words(shift)}"
            for name, shift in (("upper half", self.upper_lps_mm), ("lower half", self.lower_lps_mm))
            if shift is not None
        ]
        return (
            f"{role} lies up to {self.largest_mm:.1f} mm from {planning_role} (bones compared, x y z in mm:"
            f" {'; '.join(parts)}): check the registration of the phases"
        )

    def _known(self) -> list[Vec3]:
        return [shift for shift in (self.upper_lps_mm, self.lower_lps_mm) if shift is not None]

    @staticmethod
    def _words(shift: Vec3) -> str:
        return " ".join(f"{mm:+.1f}" for mm in shift)


def find_shift(planning: Volume, other: Volume) -> ShiftFinding:
    """Compare two CT series; takes about a second.

    Args:
        planning: where the patient is taken to be.
        other: in the same frame of reference, on any grid.
    """
    grid = _coarse(planning.grid)
    bones = [_bone_on(volume, grid) for volume in (planning, other)]
    towards_head = grid.direction_lps[0][2] > 0
    half = grid.shape_zyx[0] // 2
    low, high = slice(0, half), slice(half, None)
    upper, lower = (high, low) if towards_head else (low, high)
    return ShiftFinding(*(_shift(bones[0][part], bones[1][part], grid) for part in (upper, lower)))


def _coarse(grid: Grid) -> Grid:
    steps = [max(1, round(COARSE_MM / spacing)) for spacing in grid.spacing_zyx_mm]
    z, y, x = (max(1, size // step) for size, step in zip(grid.shape_zyx, steps, strict=True))
    dz, dy, dx = (spacing * step for spacing, step in zip(grid.spacing_zyx_mm, steps, strict=True))
    return Grid((z, y, x), (dz, dy, dx), grid.origin_lps_mm, grid.direction_lps, grid.frame_of_reference_uid)


def _bone_on(volume: Volume, grid: Grid) -> Float32Array:
    """Bone of a series on a coarse grid in the same frame: (z, y, x), 0 where there is none."""
    ours, theirs = np.asarray(grid.direction_lps), np.asarray(volume.grid.direction_lps)
    steps = ours * np.asarray(grid.spacing_zyx_mm)[:, np.newaxis]
    matrix = (theirs @ steps.T) / np.asarray(volume.grid.spacing_zyx_mm)[:, np.newaxis]
    offset = volume.grid.to_index_zyx(np.asarray(grid.origin_lps_mm))
    ratio = np.abs(matrix).max(axis=1)
    fine = ndimage.uniform_filter(volume.hu.astype(np.float32), size=[max(1, round(float(r))) for r in ratio])
    moved = ndimage.affine_transform(
        fine, matrix, offset, output_shape=grid.shape_zyx, order=1, mode="constant", cval=-1000.0, prefilter=False
    )
    bone: Float32Array = np.clip(moved, *BONE_HU) - np.float32(BONE_HU[0])
    return bone


def _shift(first: Float32Array, second: Float32Array, grid: Grid) -> Vec3 | None:
    """By how much the second is moved against the first, LPS mm, to a fraction of a voxel."""
    if min(np.count_nonzero(first), np.count_nonzero(second)) < LEAST_BONE_VOXELS:
        return None
    reach = [
        min(int(MAX_SHIFT_MM / step), size - 1) for step, size in zip(grid.spacing_zyx_mm, first.shape, strict=True)
    ]
    padded = [size + r for size, r in zip(first.shape, reach, strict=True)]
    spectra = [np.fft.rfftn(bone, padded, axes=(0, 1, 2)) for bone in (first, second)]
    matching = np.fft.irfftn(np.conj(spectra[0]) * spectra[1], padded, axes=(0, 1, 2))
    near = np.roll(matching, reach, axis=(0, 1, 2))[tuple(slice(0, 2 * r + 1) for r in reach)]
    peak = np.unravel_index(int(near.argmax()), near.shape)
    steps = np.array([_vertex(near, peak, axis) - reach[axis] for axis in range(3)])
    shift: FloatArray = (steps * np.asarray(grid.spacing_zyx_mm)) @ np.asarray(grid.direction_lps)
    return float(shift[0]), float(shift[1]), float(shift[2])


def _vertex(values: FloatArray, peak: tuple[np.intp, ...], axis: int) -> float:
    """Where the parabola through the peak and its neighbours along one axis is highest."""
    at = int(peak[axis])
    if not 0 < at < values.shape[axis] - 1:
        return float(at)
    line = [float(values[tuple(at + d if k == axis else int(p) for k, p in enumerate(peak))]) for d in (-1, 0, 1)]
    bend = line[0] - 2 * line[1] + line[2]
    return at + (0.5 * (line[0] - line[2]) / bend if bend else 0.0)
