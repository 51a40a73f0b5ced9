"""How far two answers to the same case lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

VOXEL_AGREEMENT = 0.9995
DICE = 0.999
"""What counts as the same answer: share of voxels, and Dice of every label."""

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two label maps of one case.

    Attributes:
        voxels: share of voxels with the same label.
        disagreeing: voxels with another label.
        dice: per label that either has, by name.
        largest_difference: of blended class maps; None where they were not compared.
        largest_value: of the original's class maps, to judge the difference by.
    """

    voxels: float
    disagreeing: int
    dice: Mapping[str, float]
    largest_difference: float | None = None
    largest_value: float | None = None

    @property
    def same(self) -> bool:
        """Whether this counts as the same answer."""
        return self.voxels >= VOXEL_AGREEMENT and min(self.dice.values(), default=1.0) >= DICE


def compare(
    ours: UInt8Array,
    theirs: UInt8Array,
    names: Sequence[str],
    maps: tuple[Float32Array, Float32Array] | None = None,
) -> Agreement:
    """Compare label maps, and class maps (ours, theirs) where there are both.

    Args:
        ours: (z, y, x).
        theirs: likewise.
        names: of the labels; index = value.
        maps: (output, ...) each.

    Raises:
        ValueError: shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"label maps have shapes {ours.shape} and {theirs.shape}")
    different = int(np.count_nonzero(ours != theirs))
    labels = range(1, len(names))
    common = np.bincount(ours[ours == theirs].ravel(), minlength=256)
    sizes = np.bincount(ours.ravel(), minlength=256) + np.bincount(theirs.ravel(), minlength=256)
    dice = {names[label]: float(2 * common[label] / sizes[label]) for label in labels if sizes[label]}
    if maps is None:
        return Agreement(1 - different / ours.size, different, dice)
    difference, largest = float(np.abs(maps[0] - maps[1]).max()), float(np.abs(maps[1]).max())
    return Agreement(1 - different / ours.size, different, dice, difference, largest)
