"""Does the service find what is wrong with contours? Errors are put into right ones, and what is told is counted.

    python benchmarks/plausibility.py          ten phantoms that no rule has seen, and the real patients if at hand
    python benchmarks/plausibility.py --short  two of them, for a quick look
    python benchmarks/plausibility.py --fit    write service/npc_contour/plausibility.toml anew, from other phantoms

Each kind of error is put into the right contours of each phantom; it is found when its structure (or the case, where
the error is in the whole scan) has a finding of severity check or stop, or the stray piece was left out. Specificity
counts structures without an error that stay without such a finding. What is wrong with images is judged by the images
alone (plausibility_images.py), as before the networks run. The area under the curve is that of the severity. What the
networks themselves do wrong on the same phantoms is counted apart (plausibility_networks.py). Prints a row for each
kind and ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from plausibility_images import Images, judge_images
from plausibility_networks import RIGHT_MM, Networks, Own
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.components import components_of
from npc_contour.core.labels import RoiMask, mask_of_array, roi_masks
from npc_contour.core.pieces import far_pieces, without_far_pieces
from npc_contour.core.places import robust_fit
from npc_contour.core.plausibility import look_at_contours
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid
from npc_contour.domain.volumes import LabelMap, Volume
from npc_contour.plausibility import RULES
from npc_phantom import PhantomOptions, draw, render

FIT_SEEDS, JUDGED_SEEDS = range(3000, 3024), range(4000, 4010)
PIPELINES = ("npc_oar_gtv", "ln_ctv", "han_oar")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LONG = {"SpinalCord", "Trachea", "Esophagus", "A_Aorta", "BronchialTree", "BrachialPlex_L", "BrachialPlex_R"}
"""Go on beyond a head and neck scan: neither volume nor centre says anything."""
LOOSE = {"GTVp": 40.0, "GTVn": None, "Esophagus": 25.0, "Trachea": 15.0, "BrachialPlex_L": 20.0, "BrachialPlex_R": 20.0}
"""How far apart the pieces of these may lie; several nodes are no error."""
WIDE = {"GTVp": (0.3, 250.0), "GTVn": (0.2, 300.0)}
"""Bounds in cc where phantoms cannot say what tumours may be."""
UNSEEN = {"GTVp_MR": ("volume_cc = [0.3, 250]", "near_mm = 20", "whole = false")}
"""Structures of which the phantoms for rules hold nothing: their rules are written as they stand."""
NO_HU = (
    "Ear_",
    "IAC_",
    "Tympanic_",
    "VestibulSemi_",
    "Cochlea_",
    "ETbone_",
    "Cavity",
    "Glottis",
    "Larynx",
    "OpticNrv_",
)
"""Bone, air and teeth in a few voxels, or in what is partly either: their mean says little."""
SOFT_HU, SOFT_ROOM_HU = 110.0, 30.0
"""What is not always denser, nor as light as air, is soft tissue; its mean may be so far beyond what was seen."""
ROUGHER, MORE_HU = 1.25, 10.0
"""Values inside soft tissue may vary by so many times the most that was seen, and by this more."""
LEAST_SPREAD_MM = 2.5
LEAST_NEAR_MM = 12.0
"""An answer that lacks one slice of 5 mm is not cut in two."""
HEAD = """\
# What is usual of each structure. Written by benchmarks/plausibility.py --fit, read by plausibility.py.
# Source: {count} phantoms (seeds {first} to {last}), and the volumes of one real NPC patient's clinical contours
# (SegRap2023's example). Volumes may be 0.6 of the smallest and 1.6 of the largest seen, mean HU 30 (soft tissue),
# 150 (fat, air) or 300 (bone) beyond what was seen; the deviation inside soft tissue 1.25 times the most seen and
# 10 HU. Places are millimetres in a common frame: x to the left from the middle of the head, y to the back, z to the
# head.
"""

Masks = tuple[RoiMask, ...]


@dataclass(frozen=True)
class Case:
    """Right contours on their images."""

    name: str
    masks: Mapping[str, Masks]
    volume: Volume
    contrast: Volume | None = None


def phantom_case(seed: int) -> Case:
    """Render a phantom with every pipeline's true masks."""
    patient = draw(seed, PhantomOptions(matrix=256, slice_spacing_mm=3.0))
    phantom = render(patient, patient.grid())
    arrays = {
        "npc_oar": phantom.oar_labels,
        "npc_gtv": phantom.gtv_labels,
        "ln_ctv": phantom.ln_labels,
        "han_oar": phantom.han_labels,
    }
    maps = {name: LabelMap(labels, phantom.grid, name) for name, labels in arrays.items()}
    masks = {name: roi_masks(maps, read_pipeline(PIPELINES_DIR / f"{name}.toml").rois) for name in PIPELINES}
    plain, contrast = (volume_of(hu, phantom.grid) for hu in (phantom.noncontrast_hu, phantom.contrast_hu))
    return Case(f"phantom {seed}", masks, plain, contrast)


def volume_of(hu: npt.NDArray[np.int16], grid: Grid, modality: str = "CT") -> Volume:
    slices = grid.shape_zyx[0]
    places = grid.to_patient_mm(np.stack([np.arange(slices), np.zeros(slices), np.zeros(slices)], axis=1))
    return Volume(hu.copy(), grid, tuple(f"1.2.{at}" for at in range(slices)), places, modality)


def real_case() -> Case | None:
    """Return the real NPC case: masks drawn by clinicians, without images; None where it is not at hand."""
    if not (DATA / "segrap_oars_example.mha").exists():
        return None
    import SimpleITK  # noqa: PLC0415 (not needed elsewhere)

    rois = read_pipeline(PIPELINES_DIR / "npc_oar_gtv.toml").rois
    masks: list[RoiMask] = []
    for file, network in (("segrap_oars_example.mha", "npc_oar"), ("segrap_gtvs_example.mha", "npc_gtv")):
        image = SimpleITK.ReadImage(str(DATA / file))
        array = SimpleITK.GetArrayFromImage(image)
        x_mm, y_mm, z_mm, _ = image.GetSpacing()
        masks += [mask_of_array(roi, array[at]) for at, roi in enumerate(roi for roi in rois if roi.network == network)]
    grid = Grid(array.shape[1:], (z_mm, y_mm, x_mm), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
    # Its images are not at hand: of an MR no densities are asked.
    return Case(
        "real NPC case", {"npc_oar_gtv": tuple(masks)}, volume_of(np.zeros(grid.shape_zyx, np.int16), grid, "MR")
    )


# Rules from phantoms.


def fit() -> None:
    """Measure volumes, densities, gaps and places on the phantoms for rules, and write the rules."""
    seen: dict[str, list[tuple[float, float, float, float]]] = {}
    centres: list[dict[str, FloatArray]] = []
    for seed in FIT_SEEDS:
        case = phantom_case(seed)
        centres.append({})
        for mask in (mask for masks in case.masks.values() for mask in masks if not mask.empty):
            name, grid = mask.spec.name, case.volume.grid
            pieces = far_pieces(mask, components_of(mask.mask), grid, 0.0)
            gap_mm = max((piece.gap_mm for piece in pieces), default=0.0)
            for volume in filter(None, (case.volume, case.contrast)):
                values = volume.hu[mask.box][mask.mask]
                row = (mask.voxels * grid.voxel_cc, float(values.mean()), gap_mm, float(values.std()))
                seen.setdefault(name, []).append(row)
            if mask.offset_zyx[0] and mask.offset_zyx[0] + mask.mask.shape[0] < grid.shape_zyx[0]:
                centres[-1][name] = centre_of(mask, grid)
        print(f"phantom {seed} measured", file=sys.stderr)
    real = real_case()
    for mask in real.masks["npc_oar_gtv"] if real else ():
        seen[mask.spec.name].append((mask.voxels * real.volume.grid.voxel_cc, np.nan, 0.0, np.nan))  # type: ignore[union-attr]
    places = usual_places(centres)
    RULES.write_text(rules_text(seen, places), encoding="utf-8")


def centre_of(mask: RoiMask, grid: Grid) -> FloatArray:
    return grid.to_patient_mm(np.asarray(ndimage.center_of_mass(mask.mask)) + np.asarray(mask.offset_zyx))


def other_side(name: str) -> str:
    """The name of the same structure on the other side; of one in the middle its own."""
    return f"{name[:-1]}{'R' if name.endswith('_L') else 'L'}" if name.endswith(("_L", "_R")) else name


def usual_places(centres: Sequence[Mapping[str, FloatArray]]) -> dict[str, tuple[FloatArray, float]]:
    """Return the mean place of each structure over all patients laid over each other, and how far it strays."""
    everywhere_found = set.intersection(*(set(one) for one in centres)) - LONG - {"GTVn"}
    names = sorted(name for name in everywhere_found if other_side(name) in everywhere_found)
    found = np.array([[one[name] for name in names] for one in centres])
    head = np.array([name.startswith(("Brain", "Eye", "Cochlea", "Lobe", "Hippo", "Optic", "IAC")) for name in names])
    other = [names.index(other_side(name)) for name in names]
    usual = found[0] - found[0][head].mean(axis=0)
    for _ in range(10):
        laid = np.array([robust_fit(p[head], usual[head], np.full(head.sum(), 4.0)).of(p) for p in found])
        usual = laid.mean(axis=0)
        usual = 0.5 * (usual + usual[other] * (-1.0, 1.0, 1.0))
    strays = np.sqrt(((laid - usual) ** 2).sum(axis=2).mean(axis=0))
    return {name: (usual[at], float(strays[at])) for at, name in enumerate(names)}


def rules_text(
    seen: Mapping[str, Sequence[tuple[float, float, float, float]]],
    places: Mapping[str, tuple[FloatArray, float]],
) -> str:
    lines = [*HEAD.format(count=len(FIT_SEEDS), first=FIT_SEEDS[0], last=FIT_SEEDS[-1]).splitlines(), ""]
    for name in sorted({*seen, *UNSEEN}):
        lines.append(f"[structures.{name}]")
        if name in UNSEEN:
            lines += [*UNSEEN[name], ""]
            continue
        rows = np.array(seen[name])
        if name not in LONG:
            least, most = WIDE.get(name, (0.6 * rows[:, 0].min(), 1.6 * rows[:, 0].max()))
            if name == "Brain":
                least, most = 0.7 * rows[:, 0].min(), 1.3 * rows[:, 0].max()
            lines.append(f"volume_cc = [{least:.3g}, {most:.4g}]")
        hu = rows[:, 1][np.isfinite(rows[:, 1])]
        if not name.startswith(NO_HU):
            room = 300.0 if hu.min() > SOFT_HU else 150.0 if hu.mean() < -SOFT_HU else SOFT_ROOM_HU
            lines.append(f"hu = [{hu.min() - room:.0f}, {hu.max() + room:.0f}]")
            if room == SOFT_ROOM_HU and name not in LONG | {"GTVp", "GTVn"}:
                lines.append(f"noise_hu = {ROUGHER * np.nanmax(rows[:, 3]) + MORE_HU:.0f}")
        if name in places:
            at, stray = places[name]
            lines.append("place_lps_mm = [" + ", ".join(f"{value:.1f}" for value in at) + "]")
            lines.append(f"spread_mm = {max(stray, LEAST_SPREAD_MM):.1f}")
        near = LOOSE.get(name, max(LEAST_NEAR_MM, 1.5 * rows[:, 2].max()))
        if near is not None:
            lines.append(f"near_mm = {near:.0f}")
        if name in LONG or name in {"GTVn", "GTVp"} or name.startswith("CTVn_IV"):
            lines.append("whole = false")
        lines.append("")
    return "\n".join(lines)


# Errors.

Error = Callable[[Case, np.random.Generator], tuple[Case, set[str]]]
"""Returns a case with the error, and the structures that have it; empty where it is in the whole scan."""


def with_masks(case: Case, change: Mapping[str, npt.NDArray[np.bool_]]) -> Case:
    """Replace ROIs of a case by whole-grid masks, by name."""
    masks = {
        pipeline: tuple(
            mask_of_array(one.spec, change[one.spec.name]) if one.spec.name in change else one for one in found
        )
        for pipeline, found in case.masks.items()
    }
    return replace(case, masks=masks)


def full(case: Case, name: str) -> npt.NDArray[np.bool_]:
    return named(case)[name].on_grid(case.volume.grid.shape_zyx)


def named(case: Case) -> dict[str, RoiMask]:
    return {mask.spec.name: mask for masks in case.masks.values() for mask in masks if not mask.empty}


VICTIMS = (
    "Parotid_L",
    "Parotid_R",
    "Glnd_Submand_R",
    "Eye_L",
    "Brainstem",
    "Bone_Mandible_R",
    "Glnd_Thyroid",
    "CTVn_II_III_Va_L",
)


def victim(case: Case, rng: np.random.Generator) -> str:
    """One of the structures that errors are put into."""
    return str(rng.choice([name for name in VICTIMS if name in named(case)]))


def island(gap_mm: float) -> Error:
    """A ball of 1 cc, so far below the structure."""

    def put(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
        name, grid = victim(case, rng), case.volume.grid
        mask = full(case, name)
        lowest = np.argwhere(mask)[np.argwhere(mask)[:, 0].argmin()]
        radius_mm = 6.2
        z = lowest[0] - (gap_mm + radius_mm) / grid.spacing_zyx_mm[0]
        z = (
            z
            if z > radius_mm / grid.spacing_zyx_mm[0]
            else np.argwhere(mask)[:, 0].max() + (gap_mm + radius_mm) / grid.spacing_zyx_mm[0]
        )
        away = (np.indices(grid.shape_zyx).T - (z, lowest[1], lowest[2])).T * np.asarray(grid.spacing_zyx_mm).reshape(
            3, 1, 1, 1
        )
        return with_masks(case, {name: mask | ((away**2).sum(axis=0) < radius_mm**2)}), {name}

    return put


def shifted(axis: int, mm: float) -> Error:
    """One structure moved along an axis (z, y, x)."""

    def put(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
        name = victim(case, rng)
        steps = [0.0, 0.0, 0.0]
        steps[axis] = mm / case.volume.grid.spacing_zyx_mm[axis]
        moved = ndimage.shift(full(case, name).astype(np.float32), steps, order=1) > 0.5
        return with_masks(case, {name: moved}), {name}

    return put


def resized(mm: float) -> Error:
    """One structure grown, or shrunk, in all directions."""

    def put(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
        name, spacing = victim(case, rng), case.volume.grid.spacing_zyx_mm
        mask = full(case, name)
        if mm > 0:
            return with_masks(case, {name: ndimage.distance_transform_edt(~mask, sampling=spacing) <= mm}), {name}
        return with_masks(case, {name: ndimage.distance_transform_edt(mask, sampling=spacing) > -mm}), {name}

    return put


def swapped(first: str, second: str) -> Error:
    """Two structures under each other's names."""

    def put(case: Case, _: np.random.Generator) -> tuple[Case, set[str]]:
        return with_masks(case, {first: full(case, second), second: full(case, first)}), {first, second}

    return put


def slices_lost(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
    name = victim(case, rng)
    mask = full(case, name)
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    mask[filled[len(filled) // 2] : filled[len(filled) // 2] + 2] = False
    return with_masks(case, {name: mask}), {name}


def end_lost(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
    name = victim(case, rng)
    mask = full(case, name)
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    mask[filled[2 * len(filled) // 5] :] = False
    return with_masks(case, {name: mask}), {name}


def scan_ends(case: Case, _: np.random.Generator) -> tuple[Case, set[str]]:
    """The scan begins in the middle of the mandible."""
    mask = named(case)["Bone_Mandible_L"]
    return cropped(case, mask.offset_zyx[0] + mask.mask.shape[0] // 2), {"Bone_Mandible_L", "Bone_Mandible_R"}


def cropped(case: Case, first: int) -> Case:
    grid = case.volume.grid
    origin = grid.to_patient_mm((first, 0, 0))
    less = replace(
        grid, shape_zyx=(grid.shape_zyx[0] - first, *grid.shape_zyx[1:]), origin_lps_mm=tuple(origin.tolist())
    )
    masks = {
        pipeline: tuple(mask_of_array(one.spec, one.on_grid(grid.shape_zyx)[first:]) for one in found)
        for pipeline, found in case.masks.items()
    }
    return replace(case, masks=masks, volume=volume_of(case.volume.hu[first:], less))


def everywhere(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
    name = victim(case, rng)
    return with_masks(case, {name: case.volume.hu > -300}), {name}


def turned_over(*axes: int) -> Error:
    """The whole scan the other way round along these axes, said to lie as before."""

    def put(case: Case, _: np.random.Generator) -> tuple[Case, set[str]]:
        grid = case.volume.grid
        masks = {
            pipeline: tuple(mask_of_array(one.spec, np.flip(one.on_grid(grid.shape_zyx), axes)) for one in found)
            for pipeline, found in case.masks.items()
        }
        return replace(case, masks=masks, volume=volume_of(np.flip(case.volume.hu, axes), grid)), set()

    return put


def turned(case: Case, _: np.random.Generator) -> tuple[Case, set[str]]:
    """The whole scan a quarter round the long axis."""
    grid = case.volume.grid
    masks = {
        pipeline: tuple(mask_of_array(one.spec, np.rot90(one.on_grid(grid.shape_zyx), axes=(1, 2))) for one in found)
        for pipeline, found in case.masks.items()
    }
    return replace(case, masks=masks, volume=volume_of(np.rot90(case.volume.hu, axes=(1, 2)), grid)), set()


def spaced(factor: float, *axes: int) -> Error:
    """Wrong spacing along these axes."""

    def put(case: Case, _: np.random.Generator) -> tuple[Case, set[str]]:
        grid = case.volume.grid
        spacing = tuple(mm * factor if axis in axes else mm for axis, mm in enumerate(grid.spacing_zyx_mm))
        return replace(case, volume=volume_of(case.volume.hu, replace(grid, spacing_zyx_mm=spacing))), set()

    return put


def valued(change: Callable[[FloatArray, np.random.Generator], FloatArray]) -> Error:
    """Wrong values of all voxels."""

    def put(case: Case, rng: np.random.Generator) -> tuple[Case, set[str]]:
        hu = np.clip(np.rint(change(case.volume.hu.astype(np.float64), rng)), -1024, 3071).astype(np.int16)
        return replace(case, volume=volume_of(hu, case.volume.grid)), set()

    return put


KINDS: dict[str, Error] = {
    "island at 5 mm": island(5.0),
    "island at 20 mm": island(20.0),
    "island at 60 mm": island(60.0),
    "sides swapped: parotids": swapped("Parotid_L", "Parotid_R"),
    "sides swapped: eyes": swapped("Eye_L", "Eye_R"),
    "neighbours swapped: parotid, submandibular gland": swapped("Parotid_L", "Glnd_Submand_L"),
    "neighbours swapped: chiasm, pituitary": swapped("OpticChiasm", "Pituitary"),
    "neighbours swapped: eye, lens": swapped("Eye_L", "Lens_L"),
    **{
        f"moved {mm} mm {word}": shifted(axis, mm)
        for mm in (5, 10, 20)
        for axis, word in enumerate(("up", "back", "left"))
    },
    "outside the body": shifted(1, -130.0),
    "grown by 6 mm": resized(6.0),
    "shrunk by 4 mm": resized(-4.0),
    "two slices lost": slices_lost,
    "upper part lost": end_lost,
    "scan ends in the mandible": scan_ends,
    "label everywhere": everywhere,
    "upside down": turned_over(0),
    "face down": turned_over(1),
    "mirrored": turned_over(2),
    "a quarter turned": turned,
    "spacing x 0.6": spaced(0.6, 0, 1, 2),
    "spacing x 1.35": spaced(1.35, 0, 1, 2),
    "slice spacing x 0.6": spaced(0.6, 0),
    "slice spacing x 1.35": spaced(1.35, 0),
    "HU + 100": valued(lambda hu, _: hu + 100.0),
    "HU + 300": valued(lambda hu, _: hu + 300.0),
    "HU x 0.5": valued(lambda hu, _: hu * 0.5),
    "noise 60 HU": valued(lambda hu, rng: hu + rng.normal(0.0, 60.0, hu.shape)),
    "noise 200 HU": valued(lambda hu, rng: hu + rng.normal(0.0, 200.0, hu.shape)),
}


def judged(case: Case) -> dict[str, Severity]:
    """What is told of each structure, worst first; "" is the case."""
    worst: dict[str, Severity] = {}
    for masks in case.masks.values():
        for finding in look_at_contours(without_far_pieces(masks, case.volume.grid), case.volume):
            tell(worst, finding)
    return worst


def tell(worst: dict[str, Severity], finding: Finding) -> None:
    if finding.severity is not Severity.NOTE or finding.code is FindingCode.PIECE_LEFT_OUT:
        worst[finding.structure] = max(
            finding.severity, worst.get(finding.structure, Severity.NOTE), key=lambda one: one.rank
        )


@dataclass
class Contours:
    """What was counted of contours.

    Attributes:
        found: of each kind, how much what has the error matters: -1 where nothing is told.
        clean: of each structure without an error, likewise.
        seconds: to judge one case.
        real: what is told of the real NPC case; None where it is not at hand.
    """

    found: dict[str, list[int]]
    clean: list[int]
    seconds: list[float]
    real: dict[str, Severity] | None = None


def judge_contours(seeds: Sequence[int], networks: Networks, own: Own) -> Contours:
    """Put every kind of error into right contours, and let the networks contour the same phantoms."""
    counted = Contours({kind: [] for kind in KINDS}, [], [])
    for seed in seeds:
        case = phantom_case(seed)
        assert case.contrast is not None
        begun = time.process_time()
        plain = judged(case)
        counted.seconds.append(time.process_time() - begun)
        enhanced = judged(replace(case, volume=case.contrast))
        counted.clean += [matters(one, {name}) for one in (plain, enhanced) for name in named(case)]
        for at, (kind, error) in enumerate(KINDS.items()):
            wrong, structures = error(case, np.random.default_rng((seed, at)))
            told = judged(wrong)
            counted.found[kind].append(matters(told, structures or set(told)))
        networks.judge(own, case.masks, case.volume, case.contrast)
        print(f"phantom {seed} judged; without error it is told of: {plain}; {enhanced}", file=sys.stderr)
    real = real_case()
    if real is not None:
        counted.real = judged(real)
        print(f"{real.name}: {counted.real}", file=sys.stderr)
    return counted


def matters(told: Mapping[str, Severity], structures: set[str]) -> int:
    """Rank of the worst that is told of some structures, or of the case; -1 where nothing is."""
    return max((severity.rank for name, severity in told.items() if name in structures | {""}), default=-1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="write the rules anew")
    parser.add_argument("--short", action="store_true", help="two phantoms instead of ten: a quick look")
    asked = parser.parse_args()
    if asked.fit:
        fit()
        return 0
    seeds = JUDGED_SEEDS[:2] if asked.short else JUDGED_SEEDS
    networks, own = Networks(PIPELINES), Own()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    images = judge_images(seeds)
    images_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    contours = judge_contours(seeds, networks, own)
    show(images.found, "what is wrong with the images")
    show({kind: [rank >= 0 for rank in ranks] for kind, ranks in contours.found.items()}, "what is wrong with contours")
    figures = united(images, contours) | of_networks(own)
    figures["rss_growth_mb"] = round((images_peak - before) / 1024)
    print(json.dumps(figures))
    return 0


def show(found: Mapping[str, Sequence[bool]], title: str) -> None:
    table = Table(title, "found", "of")
    for kind, hits in found.items():
        table.add_row(kind, str(sum(hits)), str(len(hits)))
    Console().print(table)


def united(images: Images, contours: Contours) -> dict[str, object]:
    """Figures of images and contours together."""
    found = {f"images: {kind}": hits for kind, hits in images.found.items()}
    found |= {kind: [rank >= 0 for rank in ranks] for kind, ranks in contours.found.items()}
    hits = [hit for kind in found.values() for hit in kind]
    quiet = [*images.quiet, *(rank < 0 for rank in contours.clean)]
    wrong = [*images.ranks, *(rank for ranks in contours.found.values() for rank in ranks)]
    right = [*(-1 if is_quiet else Severity.CHECK.rank for is_quiet in images.quiet), *contours.clean]
    real = [*(images.real or ())], contours.real or {}
    severities = [*(one.severity for one in real[0]), *real[1].values()]
    has_real = images.real is not None or contours.real is not None
    return {
        "kinds": len(found),
        "sensitivity": round(float(np.mean(hits)), 3),
        "specificity": round(float(np.mean(quiet)), 4),
        "auc": area_under_curve(wrong, right),
        "missed_kinds": sorted(kind for kind, hits in found.items() if not any(hits)),
        "false_stop_real_patient": severities.count(Severity.STOP) if has_real else None,
        "checks_real_patient": severities.count(Severity.CHECK) if has_real else None,
        "seconds_per_case": round(float(np.mean(images.seconds) + np.mean(contours.seconds)), 2),
        "of_contours": {
            "sensitivity": round(float(np.mean([rank >= 0 for ranks in contours.found.values() for rank in ranks])), 3),
            "specificity": round(float(np.mean([rank < 0 for rank in contours.clean])), 4),
        },
        "of_images": {
            "sensitivity": round(float(np.mean([hit for kind in images.found.values() for hit in kind])), 3),
            "specificity": round(float(np.mean(images.quiet)), 4),
        },
    }


def of_networks(own: Own) -> dict[str, object]:
    """Figures of what the networks did themselves."""
    off = np.array(own.off_mm) > RIGHT_MM
    expected = np.array(own.expected_mm)
    failed, told = np.array(own.failed), np.array(own.told)
    return {
        "auc_uncertainty_msd2mm": area_under_curve(expected[off].tolist(), expected[~off].tolist()),
        "stray_islands_plain": own.strays,
        "own_failures": int(failed.sum()),
        "own_failures_told": round(float(told[failed].mean()), 3) if failed.any() else None,
        "own_successes_quiet": round(float((~told[~failed]).mean()), 3),
    }


def area_under_curve(wrong: Sequence[float], right: Sequence[float]) -> float | None:
    """Return how often what is wrong ranks above what is right; a tie is half."""
    if not wrong or not right:
        return None
    order = np.sort(np.asarray(right, dtype=float))
    below, up_to = (np.searchsorted(order, np.asarray(wrong, dtype=float), side=side) for side in ("left", "right"))
    return round(float(np.mean((below + up_to) / 2.0) / order.size), 3)


if __name__ == "__main__":
    sys.exit(main())
