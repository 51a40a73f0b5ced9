"""One channel from HU to the network's grid, in each of the ways in which networks were trained.

nnU-Net v1 resamples, then normalises; v2 the other way round. Both treat volumes with thick slices apart: planes are
resampled one by one, each clipped to its own range, and copied along the thick axis.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from npc_contour.core.argmax import AxisLookup
from npc_contour.core.intensity import normalise
from npc_contour.core.resampling import Order, resample
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import Normalisation

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
Shape = tuple[int, int, int]

IMAGE_ORDER: Final = 3
THICK_RATIO = 3.0
SMALLEST_STD = 1e-8
MASK_SHARE = 0.5
RGB_LARGEST = 255.0


class VolumeRefused(ValueError):
    """The volume cannot be segmented by this network; the message says why."""


def thick_axis(spacing_zyx_mm: Vec3, target_zyx_mm: Vec3) -> int | None:
    """Return the axis that nnU-Net treats apart; None where it treats all alike.

    The volume's own spacing decides if its ratio is above 3, else the target's; two equally thick axes are none.
    """
    for spacing in (spacing_zyx_mm, target_zyx_mm):
        if max(spacing) / min(spacing) > THICK_RATIO:
            thick = [axis for axis in range(3) if spacing[axis] == max(spacing)]
            return thick[0] if len(thick) == 1 else None
    return None


def nearest_index(source: int, target: int) -> npt.NDArray[np.int64]:
    """Return the nearest sample of an axis for each of another over the same extent, (target,)."""
    position = (np.arange(target) + 0.5) * (source / target)
    index: npt.NDArray[np.int64] = np.clip(np.floor(position), 0, source - 1).astype(np.int64)
    return index


def nearest_lookup(coarse: int, fine: int) -> AxisLookup:
    """Return the lookup of two axes where each voxel takes the nearest, none between."""
    return AxisLookup(nearest_index(coarse, fine).astype(np.int32), np.zeros(fine, dtype=np.float32), coarse)


def prepare_channel(
    hu: Int16Array,
    shape_zyx: Shape,
    how: Normalisation,
    *,
    normalise_first: bool,
    thick: int | None,
    mask: Mask | None = None,
) -> Float32Array:
    """Return one channel as the network takes it.

    Args:
        hu: (z, y, x) int16.
        shape_zyx: of the network's grid over the same extent.
        how: of this channel.
        normalise_first: before resampling rather than after.
        thick: axis along which planes are copied; None resamples all three.
        mask: (z, y, x) bool, where normalisation looks if `how` is masked.

    Returns:
        float32 of `shape_zyx`, a new array.

    Raises:
        VolumeRefused: the channel cannot be normalised in this way.
    """
    if not how.masked:
        mask = None
    if normalise_first:
        return _resampled(_normalised(hu.astype(np.float32), how, mask), shape_zyx, thick)
    if mask is not None:
        # Half a voxel of mask is mask, as nnU-Net v1 resamples it.
        mask = _resampled(mask.astype(np.float32), shape_zyx, thick, order=1) >= MASK_SHARE
    return _normalised(_resampled(hu, shape_zyx, thick), how, mask)


def _normalised(values: Float32Array, how: Normalisation, mask: Mask | None) -> Float32Array:
    """Normalise in place; outside a mask everything becomes zero."""
    if how.scheme == "ct":
        normalise(values, how, out=values)
    elif how.scheme == "rgb01":
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > RGB_LARGEST:
            raise VolumeRefused(f"the network takes values from 0 to 255, found {low:g} to {high:g}")
        values /= np.float32(RGB_LARGEST)
    elif how.scheme == "rescale01":
        values -= values.min()
        values /= np.float32(max(float(values.max()), SMALLEST_STD))
    else:
        _standardise(values, how, mask)
    if mask is not None:
        values[~mask] = 0.0
    return values


def _standardise(values: Float32Array, how: Normalisation, mask: Mask | None) -> None:
    """Subtract the mean and divide by the deviation of the voxels that count, in place."""
    if how.scheme == "clipped_zscore":
        low, high = how.clip_hu
        counted = values[(values > low) & (values < high)]
        np.clip(values, np.float32(low), np.float32(high), out=values)
    else:
        counted = values if mask is None else values[mask]
    if counted.size == 0:
        counted = values
    mean, std = counted.mean(dtype=np.float64), counted.std(dtype=np.float64)
    values -= np.float32(mean)
    values /= np.float32(std + SMALLEST_STD)


def _resampled(
    volume: Int16Array | Float32Array, shape_zyx: Shape, thick: int | None, *, order: Order = IMAGE_ORDER
) -> Float32Array:
    if thick is None:
        return resample(volume, shape_zyx, order=order)
    planes = np.moveaxis(volume, thick, 0)
    height, width = (size for axis, size in enumerate(shape_zyx) if axis != thick)
    inside = np.stack([resample(plane[np.newaxis], (1, height, width), order=order)[0] for plane in planes])
    chosen = inside[nearest_index(len(planes), shape_zyx[thick])]
    return np.ascontiguousarray(np.moveaxis(chosen, 0, thick))
