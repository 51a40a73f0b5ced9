"""Which contours to distrust, why and where: masks against what is usual of each structure.

A mask is looked at for its pieces (`core.pieces`), size, density, ends, gaps, its other side, and its place among the
others (`core.places`). What is usual stands in `plausibility.toml`. A finding is a doubt, not a verdict: large tumours
and operated patients are unusual.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from npc_contour.core.labels import RoiMask
from npc_contour.core.pieces import NEVER_CUT, Cleaned
from npc_contour.core.places import ACROSS_MM, look_at_places
from npc_contour.domain.findings import Finding, FindingCode, Severity, StructureRule, worst_first
from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.domain.volumes import Volume

Int16Array = npt.NDArray[np.int16]

FAR_OUT = 3.0
"""A volume so many times beyond its bounds is no contour of that structure."""
PAIR_RATIO = 1.9
"""Left and right beyond this ratio of volumes: one of them lacks a part."""
ARCH_MM = 20.0
"""Aorta and trachea must be in so much of the scan before their sides say anything."""
HU_FAR = 100.0
"""A mean so far beyond its bounds says that the numbers are no Hounsfield units, or the structure is elsewhere."""


def look_at_contours(cleaned: Cleaned, volume: Volume) -> tuple[Finding, ...]:
    """Return every doubt about the masks of one case, worst first.

    Args:
        cleaned: ROIs of the pipeline on the grid of `volume`, and what was found when they were cleaned; those without
            a rule are left alone.
        volume: the planning volume; its values are looked at in CT only.
    """
    known = {mask.spec.name: mask for mask in cleaned.masks if mask.spec.rule is not None and not mask.empty}
    rules = {name: mask.spec.rule for name, mask in known.items() if mask.spec.rule is not None}
    findings = list(cleaned.findings)
    whole = {}
    for name, mask in known.items():
        ends = _ends(mask, volume.grid)
        if rules[name].whole:
            findings += [_cut_off(name, end, _z_mm(at, volume.grid)) for end, at in ends]
        if not ends:
            whole[name] = mask
        findings += _volume(mask, rules[name], volume.grid, is_whole=name in whole)
        findings += _slices_missing(mask, volume.grid)
        if volume.modality == "CT":
            values = _values(mask, volume)
            findings += [*_density(name, rules[name], values), *_noise(name, rules[name], values)]
    findings += [*_pairs(whole, volume.grid), *_arch(known, volume.grid)]
    centres = {name: cleaned.centres_lps_mm[name] for name in whole}
    return worst_first(findings + look_at_places(centres, rules))


def _ends(mask: RoiMask, grid: Grid) -> list[tuple[str, int]]:
    """Which ends of the scan a mask touches, and the slice there."""
    filled = np.flatnonzero(mask.mask.any(axis=(1, 2))) + mask.offset_zyx[0]
    first, last = int(filled[0]), int(filled[-1])
    lowest_is_first = grid.direction_lps[0][2] > 0
    ends = []
    if first == 0:
        ends.append(("lowest" if lowest_is_first else "highest", first))
    if last == grid.shape_zyx[0] - 1:
        ends.append(("highest" if lowest_is_first else "lowest", last))
    return ends


def _cut_off(name: str, end: str, z_mm: float) -> Finding:
    words = f"{name} reaches the {end} slice: cut off by the scan"
    return Finding(FindingCode.CUT_OFF, Severity.CHECK, name, words, z_mm)


def _volume(mask: RoiMask, rule: StructureRule, grid: Grid, *, is_whole: bool) -> list[Finding]:
    if rule.volume_cc is None:
        return []
    volume_cc = mask.voxels * grid.voxel_cc
    least, most = rule.volume_cc if is_whole else (0.0, rule.volume_cc[1])
    if least <= volume_cc <= most:
        return []
    far_out = volume_cc * FAR_OUT < least or volume_cc > most * FAR_OUT
    name = mask.spec.name
    words = f"{name}: {volume_cc:.3g} cc, {least:g} to {most:g} cc are usual"
    severity = Severity.STOP if far_out else Severity.CHECK
    return [Finding(FindingCode.VOLUME, severity, name, words, None, {"volume_cc": volume_cc})]


def _slices_missing(mask: RoiMask, grid: Grid) -> list[Finding]:
    """Slices without the structure between slices with it; told for what is one piece otherwise."""
    rule = mask.spec.rule
    is_gross = mask.spec.interpreted_type in NEVER_CUT
    if rule is None or rule.near_mm is None or rule.place_lps_mm is None or is_gross:
        return []
    filled = np.flatnonzero(mask.mask.any(axis=(1, 2)))
    # What lies further apart is another piece, and told as such.
    most = rule.near_mm / grid.spacing_zyx_mm[0]
    runs = [np.arange(a + 1, b) for a, b in pairwise(filled.tolist()) if 1 < b - a <= most]
    if not runs:
        return []
    missing = np.concatenate(runs)
    name, at = mask.spec.name, int(missing[0]) + mask.offset_zyx[0]
    words = f"{name}: {missing.size} slices within it have no contour (from z {_z_mm(at, grid):.1f} mm)"
    count = {"slices": float(missing.size)}
    return [Finding(FindingCode.SLICES_MISSING, Severity.CHECK, name, words, _z_mm(at, grid), count)]


def _density(name: str, rule: StructureRule, values_hu: Int16Array) -> list[Finding]:
    if rule.hu is None:
        return []
    mean = float(values_hu.mean())
    least, most = rule.hu
    beyond = max(least - mean, mean - most)
    if beyond <= 0:
        return []
    words = (
        f"{name}: {mean:.0f} HU in the mean, {least:.0f} to {most:.0f} HU are usual: does it lie there, and are the"
        " values of the images Hounsfield units?"
    )
    severity = Severity.STOP if beyond > HU_FAR else Severity.CHECK
    return [Finding(FindingCode.DENSITY, severity, name, words, None, {"mean_hu": mean})]


def _noise(name: str, rule: StructureRule, values_hu: Int16Array) -> list[Finding]:
    if rule.noise_hu is None or (spread := float(values_hu.std())) <= rule.noise_hu:
        return []
    words = (
        f"{name}: values vary by {spread:.0f} HU (standard deviation), at most {rule.noise_hu:.0f} HU are usual: noise,"
        " metal, or it does not lie there"
    )
    return [Finding(FindingCode.NOISE, Severity.CHECK, name, words, None, {"spread_hu": spread})]


def _values(mask: RoiMask, volume: Volume) -> Int16Array:
    """Voxels inside, (n,)."""
    return volume.hu[mask.box][mask.mask]


def _pairs(masks: Mapping[str, RoiMask], grid: Grid) -> list[Finding]:
    """Left and right of very different volume."""
    findings = []
    for name, left in masks.items():
        right = masks.get(f"{name.removesuffix('_L')}_R") if name.endswith("_L") else None
        if right is None:
            continue
        ratio = left.voxels / right.voxels
        if 1.0 / PAIR_RATIO <= ratio <= PAIR_RATIO:
            continue
        small, large = (left, right) if ratio < 1 else (right, left)
        words = (
            f"{small.spec.name}: {small.voxels * grid.voxel_cc:.2g} cc, the other side has"
            f" {large.voxels * grid.voxel_cc:.2g} cc"
        )
        findings.append(
            Finding(FindingCode.PAIR_VOLUME, Severity.CHECK, small.spec.name, words, None, {"ratio": ratio})
        )
    return findings


def _arch(masks: Mapping[str, RoiMask], grid: Grid) -> list[Finding]:
    """An aorta that goes down on the right: in a scan of head and neck it alone tells left from right.

    What lies behind the trachea is the arch's end and the descending aorta; the ascending one, before it, is on the
    right in everybody.
    """
    if not {"A_Aorta", "Trachea"} <= masks.keys():
        return []
    aorta, trachea = (_points_lps_mm(masks[name], grid) for name in ("A_Aorta", "Trachea"))
    lefts = []
    for at in sorted(aorta.keys() & trachea.keys()):
        middle = trachea[at].mean(axis=0)
        behind = aorta[at][aorta[at][:, 1] > middle[1]]
        if behind.size:
            lefts.append((float(behind[:, 0].mean() - middle[0]), float(middle[2])))
    if not lefts or len(lefts) * grid.spacing_zyx_mm[0] < ARCH_MM:
        return []
    left_mm = float(np.mean([mm for mm, _ in lefts]))
    if left_mm > -ACROSS_MM:
        return []
    words = (
        f"A_Aorta: goes down {-left_mm:.0f} mm to the right of the trachea: are left and right of the images mirrored,"
        " or is it a right arch (one person in a thousand)?"
    )
    return [Finding(FindingCode.SIDE, Severity.STOP, "A_Aorta", words, lefts[len(lefts) // 2][1], {"left_mm": left_mm})]


def _points_lps_mm(mask: RoiMask, grid: Grid) -> dict[int, FloatArray]:
    """Voxel centres of a mask, (n, 3), by slice."""
    found = {}
    for at in np.flatnonzero(mask.mask.any(axis=(1, 2))).tolist():
        inside = np.argwhere(mask.mask[at : at + 1])
        found[at + mask.offset_zyx[0]] = grid.to_patient_mm(inside + np.add(mask.offset_zyx, (at, 0, 0)))
    return found


def _z_mm(slice_index: int, grid: Grid) -> float:
    return float(grid.to_patient_mm((slice_index, 0, 0))[2])
