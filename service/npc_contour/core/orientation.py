"""Turning stacks so that every network sees a patient the same way round.

Networks learn anatomy in one array orientation: axis 0 to the head, axis 1 to posterior, axis 2 to the left. A patient
scanned prone or feet first is stored turned; without this, left and right or head and feet would change places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from npc_contour.domain.geometry import Grid, Vec3

Scalar = TypeVar("Scalar", bound=np.generic)
_Z_Y_X = (2, 1, 0)
"""Components of an LPS vector in the order of the canonical axes."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stack's axes become the canonical ones: a permutation, then flips; no voxel is interpolated.

    Attributes:
        axes: for each canonical axis (head, posterior, left) the array axis nearest to it.
        flipped: canonical axes along which the array runs the other way.
    """

    axes: tuple[int, int, int]
    flipped: tuple[int, ...]

    def apply(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return a view of a (z, y, x) array in canonical orientation."""
        return np.flip(array.transpose(self.axes), self.flipped)

    def undo(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return a view of a canonical array in the stack's own orientation."""
        return np.flip(array, self.flipped).transpose(np.argsort(self.axes))

    def spacing_zyx_mm(self, spacing_zyx_mm: Vec3) -> Vec3:
        """Return a stack's spacing in the order of the canonical axes."""
        z, y, x = (spacing_zyx_mm[axis] for axis in self.axes)
        return z, y, x


def turn_of(grid: Grid) -> Turn:
    """Return how to turn a stack on this grid; an oblique stack goes to the nearest canonical axes."""
    along = np.asarray(grid.direction_lps)[:, list(_Z_Y_X)]
    axes = [-1, -1, -1]
    left = np.abs(along)
    for _ in range(3):
        axis, canonical = np.unravel_index(int(left.argmax()), left.shape)
        axes[int(canonical)] = int(axis)
        left[axis, :] = left[:, canonical] = -1.0
    flipped = tuple(canonical for canonical, axis in enumerate(axes) if along[axis, canonical] < 0)
    return Turn((axes[0], axes[1], axes[2]), flipped)
