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
SPECK_CC = 0.02
"""Pieces below are not told one by one."""
_TOUCHING = np.ones((3, 3, 3), dtype=np.bool_)
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece that is not the largest.

    Attributes:
        number: its label among the components.
        gap_mm: from it to the largest piece, between voxel centres.
        towards_lps_mm: from the centre of the largest to its own.
        z_mm: patient z of its centre.
    """

    number: int
    volume_cc: float
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
    """Take from organs what lies apart from them, and tell it; targets stay as they are, and it is told.

    Args:
        masks: ROIs; those whose rule says no distance are left alone.
        grid: where their voxels lie.

    Returns:
        The masks in their order, and a finding for each piece that lies further from the largest than the rule allows.
    """
    kept, findings = [], []
    for mask in masks:
        near_mm = None if mask.spec.rule is None else mask.spec.rule.near_mm
        if near_mm is None or mask.empty:
            kept.append(mask)
            continue
        components, far = far_pieces(mask, grid, near_mm)
        is_organ = mask.spec.interpreted_type is InterpretedType.ORGAN
        findings += [_told(mask, piece, is_organ=is_organ) for piece in far if piece.volume_cc >= SPECK_CC]
        if far and is_organ:
            gone = np.isin(components, [piece.number for piece in far])
            kept.append(replace(mask, mask=mask.mask & ~gone))
        else:
            kept.append(mask)
    return tuple(kept), findings


def far_pieces(mask: RoiMask, grid: Grid, near_mm: float) -> tuple[Int32Array, list[Piece]]:
    """Return the components of a mask (26 neighbours), and the pieces further than `near_mm` from the largest."""
    components, count = _labelled(mask)
    if count < 2:
        return components, []
    sizes = np.bincount(components.ravel())[1:]
    largest = int(sizes.argmax()) + 1
    tree = cKDTree(_surface_mm(components, largest, mask, grid))
    middle = _centre_mm(components, largest, mask, grid)
    far = []
    for number in range(1, count + 1):
        if number == largest:
            continue
        gap_mm = float(np.min(tree.query(_surface_mm(components, number, mask, grid))[0]))
        if gap_mm > near_mm:
            centre = _centre_mm(components, number, mask, grid)
            volume_cc = float(sizes[number - 1]) * grid.voxel_cc
            far.append(Piece(number, volume_cc, gap_mm, centre - middle, float(centre[2])))
    return components, sorted(far, key=lambda piece: -piece.volume_cc)


def _labelled(mask: RoiMask) -> tuple[Int32Array, int]:
    components = np.zeros(mask.mask.shape, dtype=np.int32)
    return components, int(ndimage.label(mask.mask, structure=_TOUCHING, output=components))


def centre_mm(mask: RoiMask, grid: Grid) -> FloatArray:
    """Return the centre of the largest piece of a mask that is not empty, (3,) LPS in mm."""
    components, count = _labelled(mask)
    largest = int(np.bincount(components.ravel())[1:].argmax()) + 1 if count > 1 else 1
    return _centre_mm(components, largest, mask, grid)


def _surface_mm(components: Int32Array, number: int, mask: RoiMask, grid: Grid) -> FloatArray:
    """Voxels of a piece that touch what is not it, (n, 3) LPS in mm."""
    box = ndimage.find_objects(components, max_label=number)[number - 1]
    inside = components[box] == number
    at = np.argwhere(inside & ~ndimage.binary_erosion(inside, _FACES))
    return grid.to_patient_mm(at + [part.start for part in box] + np.asarray(mask.offset_zyx))


def _centre_mm(components: Int32Array, number: int, mask: RoiMask, grid: Grid) -> FloatArray:
    centre = ndimage.center_of_mass(components == number)
    return grid.to_patient_mm(np.asarray(centre) + np.asarray(mask.offset_zyx))


def _told(mask: RoiMask, piece: Piece, *, is_organ: bool) -> Finding:
    size, gap = f"{piece.volume_cc:.2g} cc", f"{piece.gap_mm:.0f} mm {piece.direction} the rest"
    what = f"{mask.spec.name}: a second piece of {size}, {gap}"
    numbers = {"volume_cc": piece.volume_cc, "gap_mm": piece.gap_mm}
    if not is_organ:
        words = f"{what} (slice at z {piece.z_mm:.1f} mm); targets are not cut"
        return Finding(FindingCode.PIECE_APART, Severity.CHECK, mask.spec.name, words, piece.z_mm, numbers)
    severity = Severity.CHECK if piece.volume_cc >= LARGE_CC else Severity.NOTE
    words = f"{what} (slice at z {piece.z_mm:.1f} mm), was left out"
    return Finding(FindingCode.PIECE_LEFT_OUT, severity, mask.spec.name, words, piece.z_mm, numbers)
