"""Do two CT series of one frame of reference show the patient in the same place? Bones say so.

Contrast changes vessels and glands, not bones, and couch and mask are less dense than they. So: both series as bone
alone on a common coarse grid, once for the upper and once for the lower half of the scan, since a neck bends. For each
half the shift at which they match best, by cross-correlation (Fourier), whatever its length; from there the rigid move
that explains the rest (`rigid_fit`). A head that nodded or turned in place shows as a turn and as what its bones moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from npc_contour.core.rigid_fit import Float32Array, Level, fit_rigid, levels_of
from npc_contour.domain.geometry import FloatArray, Grid, Vec3
from npc_contour.domain.volumes import Volume

BONE_HU = (250.0, 900.0)
"""Above the upper limit all is alike: metal must not decide."""
COARSE_MM = 3.0
MAX_SHIFT_MM = 45.0
LEAST_BONE_VOXELS = 300
MOST_BONE_PERCENT = 95
SAME_AXES = 1e-5
"""Less than this times the grid's size is a hundredth of a voxel."""
CROP_MARGIN = 12
"""Coarse voxels around the bones: four standard deviations of the widest smoothing of `rigid_fit`."""


@dataclass(frozen=True, slots=True)
class Move:
    """How one half of the second series lies against the first.

    Attributes:
        shift_lps_mm: how far the middle of its bones lies away.
        turn_deg: by how much it is turned, about whichever axis.
        largest_mm: how far bones lie away, all but the farthest twentieth of them.
    """

    shift_lps_mm: Vec3
    turn_deg: float
    largest_mm: float


@dataclass(frozen=True, slots=True)
class ShiftFinding:
    """How the second series lies against the first; each part is None where there is too little bone.

    Attributes:
        upper: the half of the scan that is nearer to the head.
        lower: the other half.
    """

    upper: Move | None
    lower: Move | None

    @property
    def largest_mm(self) -> float:
        """How far bones lie apart; 0 where nothing can be said."""
        return max((one.largest_mm for one in (self.upper, self.lower) if one is not None), default=0.0)

    def text(self, role: str, planning_role: str) -> str:
        """In words."""
        parts = [
            f"{name} {' '.join(f'{mm:+.1f}' for mm in move.shift_lps_mm)}, turned by {move.turn_deg:.1f} degrees"
            for name, move in (("upper half", self.upper), ("lower half", self.lower))
            if move is not None
        ]
        return (
            f"{role} lies up to {self.largest_mm:.1f} mm from {planning_role} (bones compared, x y z in mm:"
            f" {'; '.join(parts)}): check the registration of the phases"
        )


def find_shift(planning: Volume, other: Volume) -> ShiftFinding:
    """Compare two CT series; takes a second or two.

    Args:
        planning: where the patient is taken to be.
        other: in the same frame of reference, on any grid.
    """
    grid = _coarse(planning.grid)
    bones = _cropped([_bone_on(volume, grid) for volume in (planning, other)])
    towards_head = grid.direction_lps[0][2] > 0
    half = grid.shape_zyx[0] // 2
    low, high = slice(0, half), slice(half, None)
    upper, lower = (high, low) if towards_head else (low, high)
    levels = levels_of(bones[0], bones[1], grid.spacing_zyx_mm)
    return ShiftFinding(*(_move(bones[0], bones[1], levels, part, grid) for part in (upper, lower)))


def _coarse(grid: Grid) -> Grid:
    steps = [max(1, round(COARSE_MM / spacing)) for spacing in grid.spacing_zyx_mm]
    z, y, x = (max(1, size // step) for size, step in zip(grid.shape_zyx, steps, strict=True))
    dz, dy, dx = (spacing * step for spacing, step in zip(grid.spacing_zyx_mm, steps, strict=True))
    return Grid((z, y, x), (dz, dy, dx), grid.origin_lps_mm, grid.direction_lps, grid.frame_of_reference_uid)


def _bone_on(volume: Volume, grid: Grid) -> Float32Array:
    """Bone of a series on a coarse grid in the same frame: (z, y, x), 0 where there is none."""
    hu, theirs = _thinned(volume, grid)
    axes = np.asarray(theirs.direction_lps)
    steps = np.asarray(grid.direction_lps) * np.asarray(grid.spacing_zyx_mm)[:, np.newaxis]
    matrix = (axes @ steps.T) / np.asarray(theirs.spacing_zyx_mm)[:, np.newaxis]
    if np.abs(matrix - np.diag(np.diag(matrix))).max() < SAME_AXES:
        matrix = np.diag(matrix)  # a much faster way through SciPy
    offset = theirs.to_index_zyx(np.asarray(grid.origin_lps_mm))
    moved = ndimage.affine_transform(
        hu, matrix, offset, output_shape=grid.shape_zyx, order=1, mode="constant", cval=-1000.0, prefilter=False
    )
    bone: Float32Array = np.clip(moved, *BONE_HU) - np.float32(BONE_HU[0])
    return bone


def _cropped(bones: list[Float32Array]) -> list[Float32Array]:
    """Return the rows and columns in which either has bone, and a margin in which smoothing fades: the rest is zero."""
    seen = np.logical_or(bones[0].any(axis=0), bones[1].any(axis=0))
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not rows.size:
        return bones
    y, x = (slice(max(0, found[0] - CROP_MARGIN), found[-1] + CROP_MARGIN + 1) for found in (rows, columns))
    return [np.ascontiguousarray(bone[:, y, x]) for bone in bones]


def _thinned(volume: Volume, grid: Grid) -> tuple[Float32Array, Grid]:
    """Return the means of a series' voxels in boxes about as large as the coarse grid's, and where those lie."""
    fine = volume.grid
    box = [max(1, round(coarse / own)) for coarse, own in zip(grid.spacing_zyx_mm, fine.spacing_zyx_mm, strict=True)]
    shape = [max(1, size // b) for size, b in zip(fine.shape_zyx, box, strict=True)]
    box = [min(b, size) for b, size in zip(box, fine.shape_zyx, strict=True)]
    whole = volume.hu[: shape[0] * box[0], : shape[1] * box[1], : shape[2] * box[2]]
    split = whole.reshape(shape[0], box[0], shape[1], box[1], shape[2], box[2])
    means = split.mean(axis=(1, 3, 5), dtype=np.float32)
    spacing = [mm * b for mm, b in zip(fine.spacing_zyx_mm, box, strict=True)]
    first = fine.to_patient_mm([(b - 1) / 2 for b in box])
    return means, replace(
        fine,
        shape_zyx=(shape[0], shape[1], shape[2]),
        spacing_zyx_mm=(spacing[0], spacing[1], spacing[2]),
        origin_lps_mm=(float(first[0]), float(first[1]), float(first[2])),
    )


def _move(first: Float32Array, second: Float32Array, levels: list[Level], part: slice, grid: Grid) -> Move | None:
    if min(np.count_nonzero(first[part]), np.count_nonzero(second[part])) < LEAST_BONE_VOXELS:
        return None
    shift_mm = _shift(first[part], second[part], grid.spacing_zyx_mm)
    fit, points_mm = fit_rigid(levels, part, grid.spacing_zyx_mm, shift_mm)
    moved_mm = np.linalg.norm(fit.points(points_mm) - points_mm, axis=1)
    x, y, z = (float(mm) for mm in fit.shift_mm @ np.asarray(grid.direction_lps))
    return Move((x, y, z), fit.turn_deg, float(np.percentile(moved_mm, MOST_BONE_PERCENT)))


def _shift(first: Float32Array, second: Float32Array, spacing_zyx_mm: Vec3) -> FloatArray:
    """By how much the second is moved against the first, mm along z, y, x, to a fraction of a voxel."""
    reach = [min(int(MAX_SHIFT_MM / step), size - 1) for step, size in zip(spacing_zyx_mm, first.shape, strict=True)]
    padded = [size + r for size, r in zip(first.shape, reach, strict=True)]
    padded = [fft.next_fast_len(size, real=True) for size in padded]
    spectra = [fft.rfftn(bone, padded) for bone in (first, second)]
    matching = fft.irfftn(np.conj(spectra[0]) * spectra[1], padded)
    near = np.roll(matching, reach, axis=(0, 1, 2))[tuple(slice(0, 2 * r + 1) for r in reach)]
    peak = np.unravel_index(int(near.argmax()), near.shape)
    steps = np.array([_vertex(near, peak, axis) - reach[axis] for axis in range(3)])
    shift: FloatArray = steps * np.asarray(spacing_zyx_mm)
    return shift


def _vertex(values: npt.NDArray[np.floating], peak: tuple[np.intp, ...], axis: int) -> float:
    """Where the parabola through the peak and its neighbours along one axis is highest."""
    at = int(peak[axis])
    if not 0 < at < values.shape[axis] - 1:
        return float(at)
    line = [float(values[tuple(at + d if k == axis else int(p) for k, p in enumerate(peak))]) for d in (-1, 0, 1)]
    bend = line[0] - 2 * line[1] + line[2]
    return at + (0.5 * (line[0] - line[2]) / bend if bend else 0.0)
