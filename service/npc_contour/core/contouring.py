"""Masks to closed planar contours in the patient.

Where a contour runs decides what every reader sees. Through the pixels' centres, readers that test centres lose the
border; along the pixels' edges, readers that round vertices to pixels gain one. The contours here cross between an
inside and an outside pixel centre just inside the mid-point (`INSET_PX`): both kinds of reader get back the mask.
Holes become part of the ring around them through a zero-width bridge (PS3.3 C.8.8.6.3), because readers that unite
the contours of a slice fill separate inner contours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from npc_contour.core.components import BoolArray
from npc_contour.core.crossings import fractions_of
from npc_contour.core.labels import RoiMask
from npc_contour.core.rasterise import fill_even_odd
from npc_contour.core.simplify import thin_ring, thin_to
from npc_contour.core.tracing import LEFT, RIGHT, UP, Rings, trace
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.profiles import MAX_POINTS, ContourSource, Holes, Profile
from npc_contour.domain.structures import Contour, Roi
from npc_contour.domain.volumes import Volume

INSET_PX = 0.005
"""Vertices lie this far inside the mid-point between two pixel centres: marching squares at level 0.505."""

MOST_STRIPS = 16
"""Regions with very many holes are cut in strips, on average of all slices this many at most."""
MIN_REACH_PX = 0.05
"""A contour from a network's crossings keeps this far from pixel centres."""

CROSSING_THIN_PX = 0.05
"""Contours from crossings have a vertex on every edge: those that lie this near to a straight line say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContourOptions:
    """How masks become contours.

    Attributes:
        holes: joined to the ring around them, or as inner contours of their own.
        thin_mm: no vertex left out lies further than this from the contour; 0 leaves out only collinear ones. Where a
            pixel centre would change sides, the slice is thinned less.
        max_points: contours with more vertices are thinned, as little as is needed.
        source: where contours run.
    """

    holes: Holes = Holes.KEYHOLE
    thin_mm: float = 0.0
    max_points: int = MAX_POINTS
    source: ContourSource = ContourSource.MASKS

    def __post_init__(self) -> None:
        if self.thin_mm < 0 or self.max_points < 16:
            raise ValueError(f"thin_mm {self.thin_mm} must be >= 0, max_points {self.max_points} at least 16")

    @classmethod
    def of(cls, profile: Profile) -> ContourOptions:
        """Return what a site's profile asks for."""
        return cls(
            holes=profile.holes, thin_mm=profile.thin_mm, max_points=profile.max_points, source=profile.contour_source
        )


DEFAULT_OPTIONS = ContourOptions()


def contour_rois(
    masks: Sequence[RoiMask], volume: Volume, options: ContourOptions = DEFAULT_OPTIONS
) -> tuple[Roi, ...]:
    """Contour every ROI on the slices of the planning volume; an empty mask gives an ROI without contours."""
    return tuple(contour_roi(mask, volume, options) for mask in masks)


def contour_roi(roi_mask: RoiMask, volume: Volume, options: ContourOptions = DEFAULT_OPTIONS) -> Roi:
    """Contour one ROI.

    Args:
        roi_mask: its voxels, and where the network says that its outline crosses the edges between them.
        volume: the planning volume.
        options: holes, thinning, and whether crossings are used where the mask has them. Either way contours enclose
            the same voxel centres.

    Returns:
        The ROI with its contours in LPS mm, each on its own slice's position and orientation, slices ascending, on
        each slice outer rings clockwise as the image is displayed; `volume_cc` counts voxels.
    """
    keyhole = options.holes is Holes.KEYHOLE
    spacing = np.asarray(volume.grid.spacing_zyx_mm)
    masks_only = roi_mask.crossings is None or options.source is ContourSource.MASKS
    stack, slices = roi_mask.mask, np.arange(len(roi_mask.mask))
    rings = trace(stack.view(np.uint8), keyhole=keyhole, corners_only=masks_only)
    while len(bridged := _bridged_too_often(rings, options.max_points)) and len(stack) < MOST_STRIPS * len(
        roi_mask.mask
    ):
        stack, slices = _halved(stack, slices, bridged)
        rings = trace(stack.view(np.uint8), keyhole=keyhole, corners_only=masks_only)
    if roi_mask.crossings is None or masks_only:
        points = rings.points(0.5 - INSET_PX)
    else:
        in_mask = replace(rings, slices=slices[rings.slices].astype(rings.slices.dtype))
        points = rings.points(crossing_reach(in_mask, roi_mask.crossings), bridge_offset=MIN_REACH_PX * 0.4)
        options = replace(options, thin_mm=max(options.thin_mm, CROSSING_THIN_PX * float(spacing[1:].min())))
    keep = _thinned(rings, points, stack, spacing[1:], options)
    lengths = np.diff(rings.offsets)
    if keep is not None:
        lengths = np.add.reduceat(keep, rings.offsets[:-1], dtype=np.int64)
        points = points[keep]
    return placed(roi_mask, volume, points, lengths, slices[rings.slices])


def _bridged_too_often(rings: Rings, max_points: int) -> npt.NDArray[np.int64]:
    """Return the slices with a ring whose bridges to holes, which thinning must keep, are too many for its points."""
    if not len(rings.locked):
        return np.array([], dtype=np.int64)
    locked = np.add.reduceat(rings.locked, rings.offsets[:-1], dtype=np.int64)
    return np.unique(rings.slices[locked > max_points // 2]).astype(np.int64)


def _halved(
    stack: BoolArray, slices: npt.NDArray[np.int64], which: npt.NDArray[np.int64]
) -> tuple[BoolArray, npt.NDArray[np.int64]]:
    """Cut the regions of some slices in two, at the middle of their rows; both parts keep the slice's number."""
    parts, numbers = [], []
    for index, section in enumerate(stack):
        rows = np.flatnonzero(section.any(axis=1))
        cuts = [slice(None)]
        if index in which and len(rows) > 1:
            middle = int(rows[0] + rows[-1] + 1) // 2
            cuts = [slice(0, middle), slice(middle, None)]
        for cut in cuts:
            part = np.zeros_like(section)
            part[cut] = section[cut]
            parts.append(part)
            numbers.append(slices[index])
    return np.stack(parts), np.array(numbers)


def placed(
    roi_mask: RoiMask,
    volume: Volume,
    points: FloatArray,
    lengths: npt.NDArray[np.int64],
    slices: npt.NDArray[np.integer],
) -> Roi:
    """Put rings of a mask's crop into the patient.

    Args:
        roi_mask: whose rings they are.
        volume: the planning volume; each contour lies by its own slice's position.
        points: (n, 2) row and column in pixels of the crop, ring after ring.
        lengths: how many points each ring has.
        slices: of the crop, each ring's.
    """
    on_grid = np.asarray(slices, dtype=np.int64) + roi_mask.offset_zyx[0]
    directions = np.asarray(volume.grid.direction_lps)
    in_plane_mm = (points + roi_mask.offset_zyx[1:]) * np.asarray(volume.grid.spacing_zyx_mm)[1:]
    in_patient = in_plane_mm @ directions[1:] + volume.slice_positions_lps_mm[np.repeat(on_grid, lengths)]
    pieces = np.split(in_patient, np.cumsum(lengths)[:-1]) if len(lengths) else []
    contours = tuple(Contour(int(index), piece) for index, piece in zip(on_grid, pieces, strict=True))
    return Roi(roi_mask.spec, contours, roi_mask.voxels * volume.grid.voxel_cc)


def crossing_reach(rings: Rings, crossings: npt.NDArray[np.uint8]) -> FloatArray:
    """Return how far from its inside pixel's centre each vertex lies, in pixels.

    Kept between `MIN_REACH_PX` and 1 - `MIN_REACH_PX`, so that no pixel centre changes sides; just inside the middle
    where the network says nothing, as at the image's border or where debris was dropped from the mask.

    Args:
        rings: of the mask.
        crossings: (2, z, y + 1, x + 1) uint8, as in `RoiMask`.
    """
    slices = np.repeat(rings.slices, np.diff(rings.offsets))
    # An edge belongs to its upper or left pixel, inside or outside; the crop of crossings begins one pixel earlier.
    backwards = (rings.directions == UP) | (rings.directions == LEFT)
    owner = np.where(backwards[:, np.newaxis], rings.outside_pixels(), rings.pixels) + 1
    along = ((rings.directions == LEFT) | (rings.directions == RIGHT)).astype(np.intp)
    fraction = fractions_of(crossings[along, slices, owner[:, 0], owner[:, 1]])
    reach = np.where(backwards, 1.0 - fraction, fraction)
    clipped: FloatArray = np.clip(np.where(np.isnan(reach), 0.5 - INSET_PX, reach), MIN_REACH_PX, 1 - MIN_REACH_PX)
    return clipped


def _thinned(
    rings: Rings, points: FloatArray, mask: BoolArray, pixel_mm: FloatArray, options: ContourOptions
) -> BoolArray | None:
    """Return which vertices stay; None for all.

    Slices whose voxels change by thinning are thinned with a quarter of the bound, then not at all.
    """
    longest = int(np.diff(rings.offsets).max(initial=0))
    if options.thin_mm == 0 and longest <= options.max_points:
        return None
    in_plane_mm = points * pixel_mm
    keep = np.ones(len(points), dtype=np.bool_)
    if options.thin_mm > 0:
        todo = np.ones(len(mask), dtype=np.bool_)
        for bound_mm in (options.thin_mm, options.thin_mm / 4, 0.0):
            for ring, (start, stop) in enumerate(pairwise(rings.offsets)):
                if todo[rings.slices[ring]]:
                    keep[start:stop] = thin_ring(in_plane_mm[start:stop], rings.locked[start:stop], bound_mm)
            todo = _changed_slices(rings, points, keep, mask)
            if not todo.any():
                break
    for start, stop in pairwise(rings.offsets):
        if np.count_nonzero(keep[start:stop]) > options.max_points:
            ring_mm, locked = in_plane_mm[start:stop], rings.locked[start:stop]
            keep[start:stop] = thin_to(ring_mm, locked, options.max_points, float(pixel_mm.min()))
    return keep


def _changed_slices(rings: Rings, points: FloatArray, keep: BoolArray, mask: BoolArray) -> BoolArray:
    """Return per slice whether the kept vertices enclose other pixel centres than the mask's."""
    starts = np.concatenate(([0], np.cumsum(np.add.reduceat(keep, rings.offsets[:-1], dtype=np.int64))))
    stack = np.zeros(mask.shape, dtype=np.uint8)
    fill_even_odd(stack, np.ascontiguousarray(points[keep]), starts, rings.slices.astype(np.int64))
    changed: BoolArray = (stack.view(np.bool_) != mask).any(axis=(1, 2))
    return changed
