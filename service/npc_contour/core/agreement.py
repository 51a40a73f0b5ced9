"""Overlap, surface distances and path of two masks, in the definitions that the field uses and that differ silently.

* Normalised surface Dice: surface elements between voxels, weighted by their area, as DeepMind's `surface-distance`
  computes them (that library is called).
* ASD, ASSD and HD95: the border *voxels* of each mask (those that one erosion with the six neighbours takes away),
  every one counted alike, as `medpy` defines them. Written here, since medpy is under the GPL; a test compares.

* Added path length (Vaassen et al., Phys Imaging Radiat Oncol 13:1, 2020): how much contour had to be drawn.

Masks are (z, y, x) bool of one shape, spacings in mm in the same order.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import surface_distance
from scipy import ndimage

from npc_contour.domain.geometry import Vec3

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


class EmptyMaskError(ValueError):
    """A distance to or from nothing is not defined."""


@dataclass(frozen=True, slots=True, eq=False)
class BorderDistances:
    """How far each border voxel of one mask is from the nearest border voxel of the other.

    Attributes:
        from_found: (n,) mm, border voxels of the answer to the reference.
        from_reference: (m,) mm, border voxels of the reference to the answer.
    """

    from_found: FloatArray
    from_reference: FloatArray

    @property
    def asd_mm(self) -> float:
        """Mean distance from the answer to the reference; not symmetric."""
        return float(self.from_found.mean())

    @property
    def assd_mm(self) -> float:
        """Mean over both directions together, as medpy 0.5 and MONAI; medpy 0.4 took the mean of the two means."""
        return float(np.concatenate((self.from_found, self.from_reference)).mean())

    @property
    def hd95_mm(self) -> float:
        """95th percentile of both directions together."""
        return float(np.percentile(np.concatenate((self.from_found, self.from_reference)), 95))


def dice(found: Mask, reference: Mask) -> float | None:
    """Return the Dice coefficient; None where both masks are empty."""
    total = np.count_nonzero(found) + np.count_nonzero(reference)
    return 2.0 * np.count_nonzero(found & reference) / total if total else None


def jaccard(found: Mask, reference: Mask) -> float | None:
    """Return the Jaccard index; None where both masks are empty."""
    union = np.count_nonzero(found | reference)
    return np.count_nonzero(found & reference) / union if union else None


def union_box(found: Mask, reference: Mask) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds both masks.

    Raises:
        EmptyMaskError: both are empty.
    """
    boxes = ndimage.find_objects((found | reference).astype(np.uint8), max_label=1)
    if boxes[0] is None:
        raise EmptyMaskError("both masks are empty")
    z, y, x = boxes[0]
    return z, y, x


def surface_dice(found: Mask, reference: Mask, spacing_zyx_mm: Vec3, tolerance_mm: float) -> float:
    """Return the share of both surfaces that lies within a tolerance of the other (NSD).

    Raises:
        EmptyMaskError: one mask is empty.
    """
    _need_both(found, reference)
    box = union_box(found, reference)
    with warnings.catch_warnings():
        # The library calls scipy by names that scipy has moved.
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = surface_distance.compute_surface_distances(
            np.ascontiguousarray(reference[box]), np.ascontiguousarray(found[box]), spacing_zyx_mm
        )
        return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm))


def border_distances(found: Mask, reference: Mask, spacing_zyx_mm: Vec3) -> BorderDistances:
    """Return the distances between the border voxels of two masks.

    Voxels at the edge of the volume are border voxels: outside there is nothing.

    Raises:
        EmptyMaskError: one mask is empty.
    """
    _need_both(found, reference)
    box = union_box(found, reference)
    borders = [_border(mask[box]) for mask in (found, reference)]
    to_found, to_reference = (
        np.asarray(ndimage.distance_transform_edt(~border, sampling=spacing_zyx_mm)) for border in borders
    )
    return BorderDistances(to_reference[borders[0]], to_found[borders[1]])


def added_path_mm(edited: Mask, original: Mask, spacing_zyx_mm: Vec3, tolerance_mm: float = 0.0) -> float:
    """Return the length of contour pixels of the edited mask that are further than a tolerance from the original's.

    Contours are those of each slice; a pixel counts with its mean size.
    """
    pixel_mm = spacing_zyx_mm[1:]
    if not edited.any():
        return 0.0
    box = union_box(edited, original)
    count = 0
    for after, before in zip(edited[box], original[box], strict=True):
        drawn, there = _border(after), _border(before)
        if not there.any():
            count += int(drawn.sum())
        elif drawn.any():
            far = ndimage.distance_transform_edt(~there, sampling=pixel_mm) > tolerance_mm
            count += int((drawn & far).sum())
    return count * sum(pixel_mm) / 2


def slices_changed(edited: Mask, original: Mask) -> int:
    """Return how many slices hold other voxels."""
    return int((edited != original).any(axis=(1, 2)).sum())


def _border(mask: Mask) -> Mask:
    inner = ndimage.binary_erosion(mask, structure=ndimage.generate_binary_structure(mask.ndim, 1))
    border: Mask = mask & ~np.asarray(inner, dtype=np.bool_)
    return border


def _need_both(found: Mask, reference: Mask) -> None:
    if not found.any() or not reference.any():
        raise EmptyMaskError("a surface distance needs two masks that are not empty")
