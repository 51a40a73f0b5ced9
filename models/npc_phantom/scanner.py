"""What the scanner adds to the patient: couch, shading, streaks from metal, noise, motion between phases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.geometry import Grid
from npc_phantom.patient import Patient

F32 = npt.NDArray[np.float32]
COUCH_HALF_WIDTH_MM = 265.0
NOISE_GRAIN_MM = 0.75


def in_plane_mm(grid: Grid) -> tuple[F32, F32]:
    """Return patient x of each column and y of each row, mm; the grid's slices are axial."""
    ny, nx = grid.shape_zyx[1:]
    step_y, step_x = grid.direction_lps[1][1], grid.direction_lps[2][0]
    x = grid.origin_lps_mm[0] + step_x * grid.spacing_zyx_mm[2] * np.arange(nx)
    y = grid.origin_lps_mm[1] + step_y * grid.spacing_zyx_mm[1] * np.arange(ny)
    return x.astype(np.float32), y.astype(np.float32)


def add_couch(hu: F32, patient: Patient, grid: Grid) -> None:
    """Paint couch top and head rest where there is air; `hu` (phases, z, y, x) is written."""
    x, y = in_plane_mm(grid)
    depth = y - np.float32(patient.scan.table_y_mm)
    profile = np.full((y.size, x.size), np.nan, dtype=np.float32)
    wide = np.abs(x - patient.pose.origin_lps_mm[0]) < COUCH_HALF_WIDTH_MM
    profile[np.ix_((depth >= 0.0) & (depth < 48.0), wide)] = -965.0
    for top in (0.0, 45.5):
        profile[np.ix_((depth >= top) & (depth < top + 2.5), wide)] = -260.0
    rest = np.abs(x - patient.pose.origin_lps_mm[0]) < 95.0
    profile[np.ix_((depth >= -24.0) & (depth < 0.0), rest)] = -940.0
    painted = np.isfinite(profile)
    for phase in hu:
        for plane in phase:
            free = painted & (plane < -900.0)
            plane[free] = profile[free]


def add_shading(hu: F32, z_mm: F32, patient: Patient, grid: Grid) -> None:
    """Add the slow shading that beam hardening and scatter leave; `hu` (phases, z, y, x) is written."""
    x, y = in_plane_mm(grid)
    rng = np.random.default_rng([patient.seed, 5])
    for length in (260.0, 150.0, 90.0):
        kx, ky, kz = 2.0 * np.pi / length * rng.uniform(0.5, 1.0, 3)
        phase = rng.uniform(0.0, 2.0 * np.pi, 3)
        field = np.sin(kz * z_mm + phase[0])[:, np.newaxis, np.newaxis] * np.sin(ky * y + phase[1])[:, np.newaxis]
        hu += (0.8 * patient.scan.texture_hu * field * np.sin(kx * x + phase[2])).astype(np.float32)


def add_streaks(hu: F32, z_mm: F32, patient: Patient, grid: Grid) -> None:
    """Add streaks and shadows around metal to the slices near it; `hu` (phases, z, y, x) is written."""
    if patient.metal_mm.size == 0:
        return
    x, y = in_plane_mm(grid)
    rng = np.random.default_rng([patient.seed, 7])
    for centre in patient.pose.to_patient_mm(patient.metal_mm):
        waves = rng.uniform((3.0, 0.0, 0.3), (19.0, 2.0 * np.pi, 1.0), (5, 3))
        near = np.flatnonzero(np.abs(z_mm - centre[2]) < 9.0)
        if near.size == 0:
            continue
        dx, dy = x[np.newaxis, :] - np.float32(centre[0]), y[:, np.newaxis] - np.float32(centre[1])
        r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
        pattern = sum(np.float32(w[2]) * np.sin(np.round(w[0]) * angle + w[1]) for w in waves)
        streak = 150.0 * np.exp(-r / 42.0) * np.clip(r / 5.0, 0.0, 1.0) * pattern
        for k in near:
            strength = np.float32(np.exp(-(((z_mm[k] - centre[2]) / 4.0) ** 2)))
            hu[:, k] += strength * streak.astype(np.float32)


class Noise:
    """Noise that is smooth within a slice and a little between slices; deals out slab after slab."""

    def __init__(self, patient: Patient, grid: Grid, phase: int) -> None:
        self._rng = np.random.default_rng([patient.seed, 11, phase])
        self._sigma = patient.scan.noise_hu
        self._grain = [NOISE_GRAIN_MM / s for s in grid.spacing_zyx_mm[1:]]
        self._memory = float(np.exp(-grid.spacing_zyx_mm[0] / 1.5))
        self._last: F32 | None = None

    def add_to(self, hu: F32) -> None:
        """Add noise to the next slices (z, y, x)."""
        for plane in hu:
            white = self._rng.standard_normal(plane.shape, dtype=np.float32)
            fresh = self._smooth(white)
            if self._last is not None:
                fresh = self._memory * self._last + np.sqrt(1.0 - self._memory**2, dtype=np.float32) * fresh
            self._last = fresh
            np.add(plane, np.float32(self._sigma) * fresh, out=plane)

    def _smooth(self, white: F32) -> F32:
        gain = 1.0
        for axis, sigma in enumerate(self._grain):
            if sigma < 0.3:
                continue
            reach = np.arange(-3, 4) if sigma < 1.0 else np.arange(-6, 7)
            kernel = np.exp(-0.5 * (reach / sigma) ** 2)
            kernel = (kernel / kernel.sum()).astype(np.float32)
            white = ndimage.correlate1d(white, kernel, axis=axis, mode="wrap")
            gain *= float(np.sqrt((kernel**2).sum()))
        return white / np.float32(gain)


def shifted(plane_stack: F32, shift_yx: tuple[float, float]) -> F32:
    """Return slices (z, y, x) moved by a fraction of a pixel within their plane, linearly interpolated."""
    out = plane_stack
    for axis, shift in zip((1, 2), shift_yx, strict=True):
        whole = int(np.floor(shift))
        part = np.float32(shift - whole)
        if whole == 0 and part == 0.0:
            continue
        out = np.roll(out, whole, axis=axis) * (1 - part) + np.roll(out, whole + 1, axis=axis) * part
    return out
