"""Sliding windows: where they lie, how they are weighted, and how their answers are put together.

Positions and weights are nnU-Net's. Because the positions form a product grid and a Gaussian is separable, the weights
of all windows that cover a voxel can be made to sum to one beforehand, one axis at a time: no weight volume and no
division.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.compiled import compiled

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class AxisTiles:
    """The windows along one axis.

    Attributes:
        starts: first voxel of each window, ascending.
        weights: (windows, patch) float32; at each voxel the weights of all windows that cover it sum to one.
        size: length of the axis, not below the patch.
    """

    starts: tuple[int, ...]
    weights: Float32Array
    size: int

    @property
    def patch(self) -> int:
        """Length of a window."""
        return int(self.weights.shape[1])


def window_starts(size: int, patch: int, step: float) -> tuple[int, ...]:
    """Return where windows start along one axis: spread evenly, no further apart than `step` patches.

    Raises:
        ValueError: the axis is shorter than the patch (pad first), or the step is not in (0, 1].
    """
    if size < patch:
        raise ValueError(f"an axis of {size} voxels is shorter than the patch of {patch}")
    if not 0 < step <= 1:
        raise ValueError(f"step must be above 0 and at most 1, got {step}")
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count == 1:
        return (0,)
    spread = (size - patch) / (count - 1)
    return tuple(round(spread * index) for index in range(count))


def gaussian_profile(patch: int) -> Float32Array:
    """Return nnU-Net's importance along one axis: (patch,) float32, sigma an eighth of the patch, maximum one."""
    impulse = np.zeros(patch)
    impulse[patch // 2] = 1.0
    profile = ndimage.gaussian_filter1d(impulse, sigma=patch / 8, mode="constant", cval=0.0)
    profile /= profile.max()
    profile[profile == 0] = profile[profile > 0].min()
    return np.asarray(profile, dtype=np.float32)


def axis_tiles(size: int, patch: int, step: float) -> AxisTiles:
    """Return windows and weights along one axis of `size` voxels, `size >= patch`."""
    starts = window_starts(size, patch, step)
    profile = gaussian_profile(patch)
    total = np.zeros(size, dtype=np.float64)
    for start in starts:
        total[start : start + patch] += profile
    weights = np.stack([profile / total[start : start + patch] for start in starts]).astype(np.float32)
    return AxisTiles(starts, weights, size)


@compiled
def blend_rows(
    slab: Float32Array,
    logits: Float32Array,
    corner_zyx: tuple[int, int, int],
    weights_zyx: tuple[Float32Array, Float32Array, Float32Array],
    first: int,
    last: int,
) -> None:
    """Add one window's weighted answer to the slab, for the window's planes `first` to `last`.

    Args:
        slab: (planes, y, x, classes) float32; plane z of the grid is row z modulo planes.
        logits: (z, y, x, classes) float32 of the window.
        corner_zyx: the window's first voxel on the grid.
        weights_zyx: (patch,) float32 along each axis.
        first: first plane of the window to add.
        last: the plane after the last to add; calls on disjoint planes may run in parallel.
    """
    z0, y0, x0 = corner_zyx
    weights_z, weights_y, weights_x = weights_zyx
    classes = logits.shape[3]
    for z in range(first, last):
        row = (z0 + z) % slab.shape[0]
        for y in range(logits.shape[1]):
            weight_zy = weights_z[z] * weights_y[y]
            for x in range(logits.shape[2]):
                weight = weight_zy * weights_x[x]
                for label in range(classes):
                    slab[row, y0 + y, x0 + x, label] += weight * logits[z, y, x, label]
