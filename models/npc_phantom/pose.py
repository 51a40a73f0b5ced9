"""How the canonical patient becomes one patient: size, tilt, flexion of the neck, smooth deformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """How the canonical patient becomes this one: canonical = bend(matrix @ (lps - origin)) + waves.

    Attributes:
        matrix: (3, 3) from patient to canonical.
        origin_lps_mm: (3,) patient position of the canonical origin.
        flexion: forward tilt of the neck, rad per mm below the skull, about the x axis.
        waves: (n, 9) rows of wave vector (rad/mm), amplitude (mm), phase of each component.
    """

    matrix: FloatArray
    origin_lps_mm: FloatArray
    flexion: float
    waves: FloatArray

    def to_canonical_mm(self, lps_mm: FloatArray) -> FloatArray:
        """Map patient positions (..., 3) to canonical ones; smooth and invertible."""
        q: FloatArray = (lps_mm - self.origin_lps_mm) @ self.matrix.T
        drop = np.clip(20.0 - q[..., 2], 0.0, 130.0)
        q[..., 1] += self.flexion * drop * drop / 2.0
        moved = q.copy()
        for row in self.waves:
            angle = q @ row[0:3]
            for axis in range(3):
                moved[..., axis] += row[3 + axis] * np.sin(angle + row[6 + axis])
        return moved

    def to_patient_mm(self, canonical_mm: FloatArray) -> FloatArray:
        """Map canonical positions (..., 3) to the patient: the inverse, by fixed-point iteration."""
        back = np.linalg.inv(self.matrix).T
        p: FloatArray = np.asarray(canonical_mm, dtype=float) @ back + self.origin_lps_mm
        for _ in range(12):
            p = p + (canonical_mm - self.to_canonical_mm(p)) @ back
        return p


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose."""
    angles = np.deg2rad(rng.uniform(-6.0, 6.0, 3) * np.array([1.3, 0.8, 0.8]))
    scale = rng.uniform(0.94, 1.07) * rng.uniform(0.95, 1.05, 3)
    c, s = np.cos(angles), np.sin(angles)
    rx = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    ry = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    rz = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    matrix = np.diag(1.0 / scale) @ (rz @ ry @ rx).T
    waves = []
    for length, amplitude in (
        (150.0, 1.5),
        (150.0, 1.5),
        (110.0, 1.0),
        (90.0, 0.8),
        (70.0, 0.6),
        (60.0, 0.5),
    ):
        direction = rng.normal(size=3)
        wave = direction / np.linalg.norm(direction) * 2.0 * np.pi / length
        waves.append(
            np.concatenate(
                [
                    wave,
                    rng.normal(0.0, amplitude, 3).clip(-2 * amplitude, 2 * amplitude),
                    rng.uniform(0, 2 * np.pi, 3),
                ]
            )
        )
    return Pose(
        matrix=matrix,
        origin_lps_mm=rng.uniform(-12.0, 12.0, 3) + np.array([0.0, -120.0, 0.0]),
        flexion=float(rng.uniform(-0.0018, 0.0018)),
        waves=np.array(waves),
    )
