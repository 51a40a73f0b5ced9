"""Masks to closed planar contours in the patient.

Where a contour runs decides what every reader sees. Through the pixels' centres, readers that test centres lose the
border; along the pixels' edges, readers that round vertices to pixels gain one. The contours here cross between an
inside and an outside pixel centre just inside the mid-point (`INSET_PX`): both kinds of reader get back the mask.
Holes become part of the ring around them through a zero-width bridge (PS3.3 C.8.8.6.3), because readers that unite
the contours of a slice fill separate inner contours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from npc_contour.core.labels import RoiMask
from npc_contour.core.simplify import thin_ring, thin_to
from npc_contour.core.tracing import ByteArray, trace
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.profiles import MAX_POINTS, Holes, Profile
from npc_contour.domain.structures import Contour, Roi
from npc_contour.domain.volumes import Volume

INSET_PX = 0.005
"""Vertices lie this far inside the mid-point between two pixel centres: marching squares at level 0.505."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContourOptions:
    """How masks become contours.

    Attributes:
        holes: joined to the ring around them, or as inner contours of their own.
        thin_mm: no vertex left out lies further than this from the contour; 0 leaves out only collinear ones. Up to a
            third of a pixel no pixel centre changes sides.
        max_points: contours with more vertices are thinned, as little as is needed.
    """

    holes: Holes = Holes.KEYHOLE
    thin_mm: float = 0.0
    max_points: int = MAX_POINTS

    def __post_init__(self) -> None:
        if self.thin_mm < 0 or self.max_points < 16:
            raise ValueError(f"thin_mm {self.thin_mm} must be >= 0, max_points {self.max_points} at least 16")

    @classmethod
    def of(cls, profile: Profile) -> ContourOptions:
        """Return what a site's profile asks for."""
        return cls(holes=profile.holes, thin_mm=profile.thin_mm, max_points=profile.max_points)


DEFAULT_OPTIONS = ContourOptions()


def contour_rois(
    masks: Sequence[RoiMask], volume: Volume, options: ContourOptions = DEFAULT_OPTIONS
) -> tuple[Roi, ...]:
    """Contour every ROI on the slices of the planning volume; an empty mask gives an ROI without contours."""
    return tuple(contour_roi(mask, volume, options) for mask in masks)


def contour_roi(roi_mask: RoiMask, volume: Volume, options: ContourOptions = DEFAULT_OPTIONS) -> Roi:
    """Contour one ROI.

    Returns:
        The ROI with its contours in LPS mm, each on its own slice's position and orientation, slices ascending, on
        each slice outer rings clockwise as the image is displayed; `volume_cc` counts voxels.
    """
    points, locked, offsets, slices = trace(
        roi_mask.mask.view(np.uint8), inset=INSET_PX, keyhole=options.holes is Holes.KEYHOLE
    )
    slices = slices + roi_mask.offset_zyx[0]
    spacing = np.asarray(volume.grid.spacing_zyx_mm)
    in_plane_mm = (points + roi_mask.offset_zyx[1:]) * spacing[1:]
    keep = _thinned(in_plane_mm, locked, offsets, float(spacing[1:].min()), options)
    lengths = np.diff(offsets)
    if keep is not None:
        lengths = np.add.reduceat(keep, offsets[:-1], dtype=np.int64)
        in_plane_mm = in_plane_mm[keep]
    directions = np.asarray(volume.grid.direction_lps)
    placed = in_plane_mm @ directions[1:] + volume.slice_positions_lps_mm[np.repeat(slices, lengths)]
    pieces = np.split(placed, np.cumsum(lengths)[:-1]) if len(lengths) else []
    contours = tuple(Contour(int(index), piece) for index, piece in zip(slices, pieces, strict=True))
    return Roi(roi_mask.spec, contours, roi_mask.voxels * volume.grid.voxel_cc)


def _thinned(
    in_plane_mm: FloatArray, locked: ByteArray, offsets: npt.NDArray[np.int64], pixel_mm: float, options: ContourOptions
) -> npt.NDArray[np.bool_] | None:
    """Return which vertices stay; None for all."""
    if options.thin_mm == 0 and (not len(in_plane_mm) or np.diff(offsets).max() <= options.max_points):
        return None
    keep = np.ones(len(in_plane_mm), dtype=np.bool_)
    for start, stop in pairwise(offsets):
        ring, bridges = in_plane_mm[start:stop], locked[start:stop]
        if options.thin_mm > 0:
            keep[start:stop] = thin_ring(ring, bridges, options.thin_mm)
        if np.count_nonzero(keep[start:stop]) > options.max_points:
            keep[start:stop] = thin_to(ring, bridges, options.max_points, pixel_mm)
    return keep
