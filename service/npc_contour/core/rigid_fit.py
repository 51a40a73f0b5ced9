"""The rigid move between two images of the same bones, from where a mere shift leaves off.

Gauss-Newton on squared differences with the first image's gradient ("inverse compositional", S. Baker and I. Matthews,
IJCV 56 (2004) 221), from coarse to fine, over some thousand voxels at the bones' surface: tens of milliseconds, and the
number of steps is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from npc_contour.domain.geometry import FloatArray, Vec3

Float32Array = npt.NDArray[np.float32]

SMOOTHING_VOXELS = (3.0, 1.5, 0.75)
STEPS = 20
ENOUGH_MM = 0.02
MOST_POINTS = 12_000
MAX_TURN_DEG = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class RigidFit:
    """Where the points of one image lie in another: `turn` about `centre_mm`, then `shift_mm`.

    Attributes:
        turn: of column vectors (z, y, x).
        shift_mm: (3,) along z, y, x: how far the centre moves.
        centre_mm: (3,) middle of the points.
    """

    turn: Rotation
    shift_mm: FloatArray
    centre_mm: FloatArray

    @property
    def turn_deg(self) -> float:
        """By how much it is turned."""
        return float(np.rad2deg(self.turn.magnitude()))

    def points(self, points_mm: FloatArray) -> FloatArray:
        """Return where (n, 3) points lie in the other image."""
        moved: FloatArray = self.turn.apply(points_mm - self.centre_mm) + self.centre_mm + self.shift_mm
        return moved


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Two images of the same bones, smoothed alike.

    Attributes:
        first: (z, y, x).
        second: on the same grid.
        slopes: the first's gradient along z, y, x, per mm.
    """

    first: Float32Array
    second: Float32Array
    slopes: tuple[Float32Array, ...]


def levels_of(first: Float32Array, second: Float32Array, spacing_zyx_mm: Vec3) -> list[Level]:
    """Return two images of bones from coarse to fine.

    Args:
        first: (z, y, x) bones.
        second: on the same grid.
        spacing_zyx_mm: of the grid.
    """
    levels = []
    for smoothing in SMOOTHING_VOXELS:
        smooth = [ndimage.gaussian_filter(image, smoothing) for image in (first, second)]
        levels.append(Level(smooth[0], smooth[1], tuple(np.gradient(smooth[0], *spacing_zyx_mm))))
    return levels


def fit_rigid(
    levels: list[Level], inside: slice, spacing_zyx_mm: Vec3, start_mm: FloatArray
) -> tuple[RigidFit, FloatArray]:
    """Fit the move from the first image to the second.

    Args:
        levels: both images, from coarse to fine.
        inside: which slices of the first are looked at.
        spacing_zyx_mm: of the grid.
        start_mm: (3,) shift to begin with, along z, y, x.

    Returns:
        The fit, and the (n, 3) points in mm from the grid's first voxel that it was made on. Where turning explains
        no more than the shift alone, the fit is that shift.
    """
    spacing = np.asarray(spacing_zyx_mm)
    points = _surface(levels[-1], inside) * spacing
    start = RigidFit(Rotation.identity(), np.asarray(start_mm, dtype=float), points.mean(axis=0))
    fit = start
    for level in levels:
        fit = _descend(level, points, spacing, fit)
    costs = [_cost(levels[-1], points, spacing, one) for one in (fit, start)]
    trusted = costs[0] < costs[1] and fit.turn_deg <= MAX_TURN_DEG
    return (fit if trusted else start), points


def _surface(level: Level, inside: slice) -> FloatArray:
    """Return voxels at the surface of the bones: (n, 3) indices, every one of a few or all."""
    steep = np.sqrt(np.sum([slope[inside] ** 2 for slope in level.slopes], axis=0))
    found = np.argwhere(steep > 0.25 * np.percentile(steep[steep > 0], 99))
    found[:, 0] += inside.start or 0
    chosen: FloatArray = found[:: max(1, -(-len(found) // MOST_POINTS))].astype(float)
    return chosen


def _descend(level: Level, points: FloatArray, spacing: FloatArray, fit: RigidFit) -> RigidFit:
    second = level.second
    wanted = _sample(level.first, points, spacing)
    slopes = np.stack([_sample(slope, points, spacing) for slope in level.slopes], axis=1)
    # How the value at a point changes with a small shift and a small turn of the image: slope . (s + w x q).
    change = np.hstack([slopes, np.cross(points - fit.centre_mm, slopes)])
    for _ in range(STEPS):
        moved = fit.points(points)
        seen = np.all((moved >= 0) & (moved <= (np.asarray(second.shape) - 1) * spacing), axis=1)
        if np.count_nonzero(seen) < 100:
            return fit
        error = _sample(second, moved, spacing)[seen] - wanted[seen]
        step, *_ = np.linalg.lstsq(change[seen], error, rcond=None)
        # The first image is explained by moving it; the fit moves the other way.
        back = Rotation.from_rotvec(-step[3:])
        turn = fit.turn * back
        fit = RigidFit(turn, fit.shift_mm - turn.apply(step[:3]), fit.centre_mm)
        if np.linalg.norm(step[:3]) < ENOUGH_MM and np.linalg.norm(step[3:]) < ENOUGH_MM / 100:
            break
    return fit


def _sample(image: npt.NDArray[np.floating], points_mm: FloatArray, spacing: FloatArray) -> FloatArray:
    values: FloatArray = ndimage.map_coordinates(image, (points_mm / spacing).T, order=1, mode="nearest")
    return values


def _cost(level: Level, points: FloatArray, spacing: FloatArray, fit: RigidFit) -> float:
    moved = _sample(level.second, fit.points(points), spacing)
    return float(np.mean((moved - _sample(level.first, points, spacing)) ** 2))
