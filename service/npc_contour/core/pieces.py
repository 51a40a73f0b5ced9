"""The separate pieces of a mask: which is the organ, which lies apart from it, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from npc_contour.core.components import Components, components_of
from npc_contour.core.labels import RoiMask, cropped
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.domain.structures import InterpretedType

LARGE_CC = 1.0
"""A piece of an organ that is at least so large was no speck: why it was drawn is worth a look."""
LARGE_SHARE, HALVES_MM = 1.0 / 3.0, 40.0
"""A piece that is so much of the largest and no further from it may be the other half: it is told and stays."""
LEAST_GAP_MM = 4.0
NEVER_CUT = frozenset({InterpretedType.GTV})
SPECK_CC = 0.02
"""Smaller pieces are not worth a word."""
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A piece that is not the largest.

    Attributes:
        number: which of the components it is.
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


@dataclass(frozen=True, slots=True, eq=False)
class Cleaned:
    """Masks without what lies far from each.

    Attributes:
        masks: in the order given.
        findings: what was taken away of each, and what was not and lies apart.
        centres_lps_mm: (3,) of the largest piece of each mask that is not empty, by name.
    """

    masks: tuple[RoiMask, ...]
    findings: tuple[Finding, ...]
    centres_lps_mm: Mapping[str, FloatArray]


def without_far_pieces(masks: Sequence[RoiMask], grid: Grid, *, cut: bool = True) -> Cleaned:
    """Take away what lies far from a structure, and tell it; what lies near, and gross tumour, stays and is told.

    Args:
        masks: ROIs; those whose rule says no distance are left whole.
        grid: where their voxels lie.
        cut: False takes nothing away, and tells it all.
    """
    kept, findings, centres = [], [], {}
    for mask in masks:
        if mask.empty:
            kept.append(mask)
            continue
        components = components_of(mask.mask)
        centres[mask.spec.name] = _lps_mm(components.centre_zyx(components.largest), mask, grid)
        far, near = _apart(mask, components, grid)
        if not cut:
            far, near = [], sorted([*far, *near], key=lambda piece: -piece.volume_cc)
        kept.append(_without(mask, components, far))
        findings += [*_told(mask, far, is_cut=True), *_told(mask, near, is_cut=False)]
    return Cleaned(tuple(kept), tuple(findings), centres)


def _apart(mask: RoiMask, components: Components, grid: Grid) -> tuple[list[Piece], list[Piece]]:
    """Pieces that are no part of a structure, and pieces that are worth a word."""
    if mask.spec.rule is None or mask.spec.rule.near_mm is None:
        return [], []
    near_mm = mask.spec.rule.near_mm
    is_gross = mask.spec.interpreted_type in NEVER_CUT
    apart_mm = near_mm if is_gross or not mask.spec.rule.whole else _told_beyond_mm(near_mm, grid)
    pieces = far_pieces(mask, components, grid, apart_mm)
    far = [] if is_gross else [piece for piece in pieces if _is_stray(piece, near_mm)]
    return far, [piece for piece in pieces if piece not in far]


def _without(mask: RoiMask, components: Components, pieces: Sequence[Piece]) -> RoiMask:
    """The mask without some pieces, in the box of what stays."""
    if not pieces:
        return mask
    gone = {piece.number for piece in pieces}
    left, first = components.box([number for number in range(components.sizes.size) if number not in gone])
    return cropped(mask, left, first)


def _is_stray(piece: Piece, near_mm: float) -> bool:
    """Whether it is no part of the structure; of a thyroid without isthmus the smaller lobe is."""
    return piece.gap_mm > near_mm and (piece.share < LARGE_SHARE or piece.gap_mm > HALVES_MM)


def _told_beyond_mm(near_mm: float, grid: Grid) -> float:
    """Gap from which on a piece is told, and stays: voxels that do not touch, slices that follow each other do."""
    return min(near_mm, max(LEAST_GAP_MM, 1.5 * grid.spacing_zyx_mm[0]))


def far_pieces(mask: RoiMask, components: Components, grid: Grid, near_mm: float) -> list[Piece]:
    """Return the pieces of a mask further than `near_mm` from the largest, largest first."""
    if components.sizes.size < 2:
        return []
    largest = components.largest
    middle = _lps_mm(components.centre_zyx(largest), mask, grid)
    tree = cKDTree(_surface_lps_mm(components, largest, mask, grid))
    far = []
    for number, size in enumerate(components.sizes.tolist()):
        if number == largest:
            continue
        gap_mm = float(np.min(tree.query(_surface_lps_mm(components, number, mask, grid))[0]))
        if gap_mm > near_mm:
            centre = _lps_mm(components.centre_zyx(number), mask, grid)
            share = float(size / components.sizes[largest])
            far.append(Piece(number, size * grid.voxel_cc, share, gap_mm, centre - middle, float(centre[2])))
    return sorted(far, key=lambda piece: -piece.volume_cc)


def _surface_lps_mm(components: Components, number: int, mask: RoiMask, grid: Grid) -> FloatArray:
    """Where the voxels of a piece lie that touch what is not it, (n, 3) LPS in mm."""
    inside, first = components.box([number])
    return _lps_mm(np.argwhere(inside & ~ndimage.binary_erosion(inside, _FACES)) + first, mask, grid)


def _lps_mm(index_zyx: npt.ArrayLike, mask: RoiMask, grid: Grid) -> FloatArray:
    return grid.to_patient_mm(np.asarray(index_zyx) + np.asarray(mask.offset_zyx))


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
