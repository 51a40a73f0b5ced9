"""Exact resampling as one narrow matrix per axis.

Interpolation on a regular grid is linear in the samples and separable, so a whole resampling is three matrices. They
are taken from `scipy.ndimage.zoom` itself (pixel centres aligned as in nnU-Net and scikit-image, edges repeated), which
makes the product equal to it. The influence of a sample on a cubic spline fades by a factor of four per voxel, so each
row is a narrow band and the product some twenty times faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.compiled import compiled
from npc_contour.domain.geometry import Vec3

Float32Array = npt.NDArray[np.float32]
Order = Literal[1, 3]

# Smaller coefficients change less than float32 resolves, and denormal products are thirty times slower.
NEGLIGIBLE = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class AxisBand:
    """The matrix that resamples one axis, as the band of each row.

    Attributes:
        first: (target,) int32, the first source sample that counts.
        weights: (target, width) float32, zero where a band is shorter; each row sums to one.
    """

    first: npt.NDArray[np.int32]
    weights: Float32Array


@lru_cache(maxsize=64)
def axis_band(source: int, target: int, order: Order) -> AxisBand:
    """Return how each sample of a resampled axis is made.

    Args:
        source: samples along the axis before.
        target: samples after.
        order: of the spline; 1 (linear) or 3 (cubic).
    """
    if source < 1 or target < 1:
        raise ValueError(f"an axis has at least one sample, got {source} to {target}")
    if order not in (1, 3):
        raise ValueError(f"order must be 1 or 3, got {order}")
    columns = [
        ndimage.zoom(unit, target / source, order=order, mode="nearest", grid_mode=True) for unit in np.eye(source)
    ]
    matrix = np.stack(columns, axis=1)
    counts = np.abs(matrix) >= NEGLIGIBLE
    begin = counts.argmax(axis=1)
    end = source - counts[:, ::-1].argmax(axis=1)
    width = int((end - begin).max())
    first = np.minimum(begin, source - width)
    weights = np.take_along_axis(matrix, first[:, np.newaxis] + np.arange(width), axis=1)
    weights[np.abs(weights) < NEGLIGIBLE] = 0.0
    return AxisBand(first.astype(np.int32), weights.astype(np.float32))


def resampled_shape(shape_zyx: tuple[int, int, int], spacing_zyx_mm: Vec3, target_zyx_mm: Vec3) -> tuple[int, int, int]:
    """Return the shape that covers the same extent at another spacing, rounded as nnU-Net does (half to even)."""
    z, y, x = (
        max(1, round(spacing / target * size))
        for size, spacing, target in zip(shape_zyx, spacing_zyx_mm, target_zyx_mm, strict=True)
    )
    return z, y, x


def resample(
    volume: npt.NDArray[np.int16] | Float32Array, shape_zyx: tuple[int, int, int], *, order: Order
) -> Float32Array:
    """Resample to another shape over the same extent.

    Args:
        volume: (z, y, x) int16 or float32.
        shape_zyx: the shape wanted.
        order: 1 or 3; cubic overshoot is clipped to the range of the input, as scikit-image does.

    Returns:
        float32 of `shape_zyx`, a new array.
    """
    if volume.ndim != 3:
        raise ValueError(f"a volume has three axes, got shape {volume.shape}")
    z, y, x = (axis_band(size, wanted, order) for size, wanted in zip(volume.shape, shape_zyx, strict=True))
    # Rows first: they are read once, as they come, and planes mostly shrink to the network's spacing.
    result = np.empty((volume.shape[0], volume.shape[1], shape_zyx[2]), dtype=np.float32)
    _resample_rows(volume, x.first, x.weights, result)
    for axis, band in ((1, y), (0, z)):
        shape = list(result.shape)
        shape[axis] = shape_zyx[axis]
        resampled = np.empty(shape, dtype=np.float32)
        _resample_lines(np.moveaxis(result, axis, 1), band.first, band.weights, np.moveaxis(resampled, axis, 1))
        result = resampled
    if order > 1:
        np.clip(result, float(volume.min()), float(volume.max()), out=result)
    return result


@compiled(fastmath={"reassoc", "contract"})
def _resample_rows(
    volume: npt.NDArray[np.int16] | Float32Array,
    first: npt.NDArray[np.int32],
    weights: Float32Array,
    out: Float32Array,
) -> None:
    """Resample along the last axis."""
    row = np.empty(volume.shape[2], np.float32)
    for z in range(volume.shape[0]):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                row[x] = volume[z, y, x]
            for target in range(out.shape[2]):
                total = np.float32(0.0)
                start = first[target]
                for tap in range(weights.shape[1]):
                    total += weights[target, tap] * row[start + tap]
                out[z, y, target] = total


@compiled(fastmath={"contract"})
def _resample_lines(
    volume: Float32Array, first: npt.NDArray[np.int32], weights: Float32Array, out: Float32Array
) -> None:
    """Resample along the middle axis; whole rows of the last axis are added at once."""
    for z in range(out.shape[0]):
        for target in range(out.shape[1]):
            start = first[target]
            for x in range(out.shape[2]):
                out[z, target, x] = 0.0
            for tap in range(weights.shape[1]):
                weight = weights[target, tap]
                if weight != 0.0:
                    for x in range(out.shape[2]):
                        out[z, target, x] += weight * volume[z, start + tap, x]
