"""Where two networks that see the same structure draw it apart: one of them is wrong, whoever the patient is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npc_contour.core.agreement import border_distances
from npc_contour.core.labels import RoiMask
from npc_contour.core.pieces import without_far_pieces
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import Grid

APART_MM = 3.0
"""Mean distance of two surfaces: of 42 structures of five phantoms the demo networks of OAR and HaN lie 2.8 mm apart at
most (Lens_L), as a rule half a millimetre."""
ALIKE = 0.85
"""Above this Dice no distance is measured: it is below the bound even of a brain."""


def look_at_second_opinions(own: Sequence[RoiMask], others: Sequence[RoiMask], grid: Grid) -> tuple[Finding, ...]:
    """Compare the ROIs of a pipeline with those that other networks draw under the same names.

    Args:
        own: ROIs that are written.
        others: ROIs of other networks; those with a name that none of `own` has are left alone.
        grid: of both.

    Returns:
        A finding for each structure drawn apart; nothing is said of one that only one network found.
    """
    of_others = {(mask.spec.name.casefold(), mask.spec.network): mask for mask in others if not mask.empty}
    known = {mask.spec.name.casefold(): mask for mask in own if not mask.empty}
    pairs = [(known[name], other) for (name, network), other in of_others.items() if _is_other(known, name, network)]
    cleaned = without_far_pieces([mask for pair in pairs for mask in pair], grid).masks
    findings = [_compared(one, other, grid) for one, other in zip(cleaned[::2], cleaned[1::2], strict=True)]
    return tuple(finding for finding in findings if finding is not None)


def _is_other(known: dict[str, RoiMask], name: str, network: str) -> bool:
    return name in known and known[name].spec.network != network


def _compared(one: RoiMask, other: RoiMask, grid: Grid) -> Finding | None:
    low = np.minimum(one.offset_zyx, other.offset_zyx)
    high = np.maximum(*(np.add(mask.offset_zyx, mask.mask.shape) for mask in (one, other)))
    if not (one.spec.rule is None or one.spec.rule.whole):
        # What goes on beyond the scan ends where each network likes; compared is where both see it.
        low[0] = max(one.offset_zyx[0], other.offset_zyx[0])
        high[0] = min(mask.offset_zyx[0] + mask.mask.shape[0] for mask in (one, other))
    if low[0] >= high[0]:
        return None
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    first, second = (_within(mask, box) for mask in (one, other))
    total = np.count_nonzero(first) + np.count_nonzero(second)
    dice = 2.0 * np.count_nonzero(first & second) / total if total else 1.0
    if dice > ALIKE or not (first.any() and second.any()):
        return None
    distances = border_distances(first, second, grid.spacing_zyx_mm)
    if distances.assd_mm <= APART_MM:
        return None
    name, networks = one.spec.name, f"{one.spec.network} and {other.spec.network}"
    z_index = int(np.abs(first ^ second).sum(axis=(1, 2)).argmax()) + box[0].start
    z_mm = float(grid.to_patient_mm((z_index, 0, 0))[2])
    words = (
        f"{name}: {networks} draw it {distances.assd_mm:.1f} mm apart in the mean (Dice {dice:.2f}), at most"
        f" {APART_MM:.0f} mm are usual: one of them is wrong (most of it on the slice at z {z_mm:.1f} mm)"
    )
    numbers = {"apart_mm": distances.assd_mm, "dice": dice}
    return Finding(FindingCode.DISAGREEMENT, Severity.CHECK, name, words, z_mm, numbers)


def _within(mask: RoiMask, box: tuple[slice, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return a mask in a box of the planning grid that may reach beyond its own, or cut it along z."""
    found = np.zeros([one.stop - one.start for one in box], dtype=np.bool_)
    z, y, x = mask.box
    first, last = max(z.start, box[0].start), min(z.stop, box[0].stop)
    target = found[
        first - box[0].start : last - box[0].start,
        y.start - box[1].start : y.stop - box[1].start,
        x.start - box[2].start : x.stop - box[2].start,
    ]
    target[...] = mask.mask[first - z.start : last - z.start]
    return found
