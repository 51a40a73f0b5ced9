"""The separate pieces of a mask: which is the organ, which lies apart from it, and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from npc_contour.core.labels import RoiMask
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.domain.structures import InterpretedType

Int32Array = npt.NDArray[np.int32]

LARGE_CC = 1.0
"""A piece of an organ that is at least so large was no speck: why it was drawn is worth a look."""
LARGE_SHARE, HALVES_MM = 1.0 / 3.0, 40.0
"""A piece that is so much of the largest and no further from it may be the other half: it is told and stays."""
LEAST_GAP_MM = 4.0
NEVER_CUT = frozenset({InterpretedType.GTV})
SPECK_CC = 0.02
"""Smaller pieces are not worth a word."""
_TOUCHING = np.ones((3, 3, 3), dtype=np.bool_)
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A piece that is not the largest.

    Attributes:
        number: its label among the components.
        share: of the volume of the largest piece.
        gap_mm: from it to the largest piece, between voxel centres.
        towards_lps_mm: from the centre of the largest to its own.
        z_mm: patient z of its centre.
    """

    number: int
    volume_cc: float
    share: float
    gap_mm: float
    towards_lps_mm: FloatArray
    z_mm: float

    @property
    def direction(self) -> str:
        """Where it lies from the largest piece, along the patient's axis that dominates."""
        axis = int(np.abs(self.towards_lps_mm).argmax())
        words = (("left of", "right of"), ("behind", "in front of"), ("above", "below"))[axis]
        return words[0] if self.towards_lps_mm[axis] > 0 else words[1]


def without_far_pieces(masks: Sequence[RoiMask], grid: Grid) -> tuple[tuple[RoiMask, ...], list[Finding]]:
    """Take away what lies far from a structure, and tell it; what lies near, and gross tumour, stays and is told.

    Args:
        masks: ROIs; those whose rule says no distance are left alone.
        grid: where their voxels lie.

    Returns:
        The masks in their order; what was taken away of each, and what was not and lies apart.
    """
    kept, findings = [], []
    for mask in masks:
        if mask.spec.rule is None or mask.spec.rule.near_mm is None or mask.empty:
            kept.append(mask)
            continue
        near_mm = mask.spec.rule.near_mm
        is_gross = mask.spec.interpreted_type in NEVER_CUT
        apart_mm = near_mm if is_gross or not mask.spec.rule.whole else _told_beyond_mm(near_mm, grid)
        components, pieces = far_pieces(mask, grid, apart_mm)
        far = [] if is_gross else [piece for piece in pieces if _is_stray(piece, near_mm)]
        gone = [piece.number for piece in far]
        kept.append(replace(mask, mask=mask.mask & ~np.isin(components, gone)) if far else mask)
        findings += _told(mask, far, is_cut=True)
        findings += _told(mask, [piece for piece in pieces if piece not in far], is_cut=False)
    return tuple(kept), findings


def _is_stray(piece: Piece, near_mm: float) -> bool:
    """Whether it is no part of the structure; of a thyroid without isthmus the smaller lobe is."""
    return piece.gap_mm > near_mm and (piece.share < LARGE_SHARE or piece.gap_mm > HALVES_MM)


def _told_beyond_mm(near_mm: float, grid: Grid) -> float:
    """Gap from which on a piece is told, and stays: voxels that do not touch, slices that follow each other do."""
    return min(near_mm, max(LEAST_GAP_MM, 1.5 * grid.spacing_zyx_mm[0]))


def far_pieces(mask: RoiMask, grid: Grid, near_mm: float) -> tuple[Int32Array, list[Piece]]:
    """Return the components of a mask (26 neighbours), and the pieces further than `near_mm` from the largest."""
    components, sizes = _labelled(mask)
    if len(sizes) < 2:
        return components, []
    boxes = ndimage.find_objects(components)
    largest = int(sizes.argmax()) + 1
    surface_mm, middle = _lie(components, largest, boxes, mask, grid)
    tree = cKDTree(surface_mm)
    far = []
    for number in range(1, len(sizes) + 1):
        if number == largest:
            continue
        surface_mm, centre = _lie(components, number, boxes, mask, grid)
        gap_mm = float(np.min(tree.query(surface_mm)[0]))
        if gap_mm > near_mm:
            volume_cc = float(sizes[number - 1]) * grid.voxel_cc
            share = float(sizes[number - 1] / sizes[largest - 1])
            far.append(Piece(number, volume_cc, share, gap_mm, centre - middle, float(centre[2])))
    return components, sorted(far, key=lambda piece: -piece.volume_cc)


def centre_mm(mask: RoiMask, grid: Grid) -> FloatArray:
    """Return the centre of the largest piece of a mask that is not empty, (3,) LPS in mm."""
    components, sizes = _labelled(mask)
    return _lie(components, int(sizes.argmax()) + 1, ndimage.find_objects(components), mask, grid)[1]


def _labelled(mask: RoiMask) -> tuple[Int32Array, npt.NDArray[np.intp]]:
    """Components of a mask, numbered from 1, and the voxels of each."""
    components = np.zeros(mask.mask.shape, dtype=np.int32)
    ndimage.label(mask.mask, structure=_TOUCHING, output=components)
    return components, np.bincount(components.ravel())[1:]


def _lie(
    components: Int32Array, number: int, boxes: Sequence[tuple[slice, ...]], mask: RoiMask, grid: Grid
) -> tuple[FloatArray, FloatArray]:
    """Where a piece lies, LPS in mm: its voxels that touch what is not it, (n, 3), and its centre, (3,)."""
    box = boxes[number - 1]
    inside = components[box] == number
    first = np.asarray([part.start for part in box]) + np.asarray(mask.offset_zyx)
    surface = np.argwhere(inside & ~ndimage.binary_erosion(inside, _FACES))
    return grid.to_patient_mm(surface + first), grid.to_patient_mm(np.argwhere(inside).mean(axis=0) + first)


def _told(mask: RoiMask, pieces: Sequence[Piece], *, is_cut: bool) -> list[Finding]:
    """One finding for all pieces of a structure; where to look is the largest."""
    pieces = [piece for piece in pieces if piece.volume_cc >= SPECK_CC]
    if not pieces:
        return []
    name, largest, volume_cc = mask.spec.name, pieces[0], sum(piece.volume_cc for piece in pieces)
    where = f"{largest.gap_mm:.0f} mm {largest.direction} the rest (slice at z {largest.z_mm:.1f} mm)"
    if len(pieces) == 1:
        what = f"{name}: a second piece of {volume_cc:.2g} cc, {where}"
    else:
        what = f"{name}: {len(pieces)} more pieces of {volume_cc:.2g} cc in all, the largest {where}"
    numbers = {"volume_cc": volume_cc, "pieces": float(len(pieces)), "gap_mm": largest.gap_mm}
    if not is_cut:
        words = f"{what}{'; gross tumour is never cut' if mask.spec.interpreted_type in NEVER_CUT else ''}"
        return [Finding(FindingCode.PIECE_APART, Severity.CHECK, name, words, largest.z_mm, numbers)]
    is_speck = volume_cc < LARGE_CC and mask.spec.interpreted_type is InterpretedType.ORGAN
    severity = Severity.NOTE if is_speck else Severity.CHECK
    words = f"{what}, {'was' if len(pieces) == 1 else 'were'} left out"
    return [Finding(FindingCode.PIECE_LEFT_OUT, severity, name, words, largest.z_mm, numbers)]
