"""Hounsfield units to network input, and the box that is worth looking at."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import Normalisation

Float32Array = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]


def normalise(hu: Float32Array, normalisation: Normalisation, *, out: Float32Array | None = None) -> Float32Array:
    """Clip, subtract the mean, divide by the deviation.

    Args:
        hu: float32 of any shape, in HU.
        normalisation: of this channel.
        out: where to write; may be `hu` itself.

    Returns:
        float32 of the same shape.
    """
    low, high = normalisation.clip_hu
    result: Float32Array = np.clip(hu, np.float32(low), np.float32(high), out=out)
    result -= np.float32(normalisation.mean_hu)
    result *= np.float32(1.0 / normalisation.std_hu)
    return result


def body_box(
    volume_hu: npt.NDArray[np.int16], *, above_hu: float, margin_mm: float, spacing_zyx_mm: Vec3
) -> Box | None:
    """Return the smallest box that holds every voxel above a threshold in any channel, with a margin.

    Args:
        volume_hu: (channel, z, y, x) int16 HU.
        above_hu: voxels strictly above it count.
        margin_mm: added on each side, cut at the border of the volume.
        spacing_zyx_mm: of the volume.

    Returns:
        Slices along z, y and x; None when no voxel counts.
    """
    z, y, x = (math.ceil(margin_mm / spacing) for spacing in spacing_zyx_mm)
    return _box(lambda values: values > above_hu, volume_hu, (z, y, x))


def nonzero_box(volume_hu: npt.NDArray[np.int16]) -> Box | None:
    """Return the smallest box that holds every voxel that is not zero in any channel of (channel, z, y, x)."""
    return _box(lambda values: values != 0, volume_hu, (0, 0, 0))


def nonzero_mask(volume_hu: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Return (z, y, x) where any channel is not zero, enclosed holes filled."""
    filled: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(np.any(volume_hu != 0, axis=0))
    return filled


def _box(
    counts: Callable[[npt.NDArray[np.int16]], npt.NDArray[np.bool_]],
    volume_hu: npt.NDArray[np.int16],
    margins_zyx: tuple[int, int, int],
) -> Box | None:
    plane = np.zeros(volume_hu.shape[2:], dtype=bool)
    slices = np.zeros(volume_hu.shape[1], dtype=bool)
    for index in range(volume_hu.shape[1]):
        found: npt.NDArray[np.bool_] = np.any(counts(volume_hu[:, index]), axis=0)
        slices[index] = found.any()
        plane |= found
    if not slices.any():
        return None
    z, y, x = margins_zyx
    return _span(slices, z), _span(plane.any(axis=1), y), _span(plane.any(axis=0), x)


def _span(flags: npt.ArrayLike, margin: int) -> slice:
    hits = np.flatnonzero(flags)
    size = np.size(flags)
    return slice(max(0, int(hits[0]) - margin), min(size, int(hits[-1]) + 1 + margin))
