"""`npc-contour compare`: two structure sets of the same images, ROI by ROI."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from npc_contour.adapters.dicom.read.planning_folder import PlanningFolder, read_planning_folder
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.cli.arguments import RAW, Verbs, existing_file, existing_folder, number_in
from npc_contour.cli.masks import check_origin
from npc_contour.cli.progress import bar
from npc_contour.core.agreement import (
    Mask,
    added_path_mm,
    border_distances,
    dice,
    slices_changed,
    surface_dice,
)
from npc_contour.core.drawing import draw_roi
from npc_contour.core.pairing import paired
from npc_contour.domain.geometry import FloatArray, Grid
from npc_contour.domain.structures import ReadStructureSet
from npc_contour.structure_names import meaning

_EXAMPLES = """\
examples:
  npc-contour compare auto.dcm edited.dcm ct                    what was changed, worst first
  npc-contour compare auto.dcm edited.dcm ct --csv changes.csv  and as a table
ROIs are paired by name, then by what the name means (TG-263 and the names of public data: BrainStem is Brainstem).
Distances are between border voxels, as medpy and MONAI define them; surface Dice is DeepMind's surface-distance; the
added path is the length of contour pixels of the second set that the first does not have."""


@dataclass(frozen=True, slots=True)
class Change:
    """How one ROI differs; what needs both contours is None where one of them is empty.

    Attributes:
        name: in the first set; `name_b` in the second.
        surface_dice: share of both surfaces within the tolerance of the other.
        added_path_mm: contour that the second set has and the first has not.
        shift_mm: between the centres of mass.
    """

    name: str
    name_b: str
    dice: float | None
    surface_dice: float | None
    hd95_mm: float | None
    mean_distance_mm: float | None
    added_path_mm: float
    volume_cc: float
    volume_b_cc: float
    shift_mm: float | None
    slices_changed: int


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser("compare", help="compare two RTSTRUCTs", epilog=_EXAMPLES, formatter_class=RAW)
    parser.add_argument("first", type=existing_file, metavar="A.dcm")
    parser.add_argument("second", type=existing_file, metavar="B.dcm")
    parser.add_argument("ct", type=existing_folder, metavar="CT_DIR", help="the series both were drawn on, as DICOM")
    parser.add_argument(
        "--tolerance-mm", type=number_in(0, 20, whole=False), default=2.0, help="of the surface Dice (default 2)"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.set_defaults(run=compare)


def compare(args: argparse.Namespace) -> int:
    """Compare two structure sets and say what is only in one of them."""
    with bar("comparing") as progress:
        first, second = read_rtstruct(args.first), read_rtstruct(args.second)
        folder = read_planning_folder(args.ct, referenced=first.series_instance_uids)
        for content in (first, second):
            check_origin(content, folder)
        names = [[roi.name for roi in content.rois] for content in (first, second)]
        pairs = paired(names[0], names[1], meaning)
        changes = []
        for done, (one, other) in enumerate(pairs, start=1):
            changes.append(_change(first, second, one, other, folder, args.tolerance_mm))
            progress(done / len(pairs))
    changes.sort(key=lambda change: -1.0 if change.dice is None else change.dice)
    only = [
        [name for place, name in enumerate(names[side]) if place not in {pair[side] for pair in pairs}]
        for side in (0, 1)
    ]
    if args.csv is not None:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Change)])
            writer.writeheader()
            writer.writerows(asdict(change) for change in changes)
    if args.json:
        document = {"rois": [asdict(change) for change in changes], "only_in_a": only[0], "only_in_b": only[1]}
        print(json.dumps(document, ensure_ascii=False))
        return 0
    Console().print(_table(changes, args.tolerance_mm))
    for which, left in zip((args.first, args.second), only, strict=True):
        if left:
            print(f"only in {which}: {', '.join(map(repr, left))}")
    return 0


def _change(
    first: ReadStructureSet, second: ReadStructureSet, one: int, other: int, folder: PlanningFolder, tolerance_mm: float
) -> Change:
    grid, spacing_mm = folder.volume.grid, folder.volume.grid.spacing_zyx_mm
    a, b = (draw_roi(roi, folder.volume).mask for roi in (first.rois[one], second.rois[other]))
    both = bool(a.any() and b.any())
    distances = border_distances(a, b, spacing_mm) if both else None
    return Change(
        name=first.rois[one].name,
        name_b=second.rois[other].name,
        dice=dice(a, b),
        surface_dice=surface_dice(a, b, spacing_mm, tolerance_mm) if both else None,
        hd95_mm=distances.hd95_mm if distances else None,
        mean_distance_mm=distances.assd_mm if distances else None,
        added_path_mm=added_path_mm(b, a, spacing_mm),
        volume_cc=float(a.sum()) * grid.voxel_cc,
        volume_b_cc=float(b.sum()) * grid.voxel_cc,
        shift_mm=float(np.linalg.norm(_centre_mm(b, grid) - _centre_mm(a, grid))) if both else None,
        slices_changed=slices_changed(b, a),
    )


def _centre_mm(mask: Mask, grid: Grid) -> FloatArray:
    return grid.to_patient_mm(np.argwhere(mask).mean(axis=0))


def _table(changes: list[Change], tolerance_mm: float) -> Table:
    table = Table("ROI", "Dice", "NSD", "HD95", "mean", "APL", "cc A", "cc B", "shift", "slices", box=SIMPLE)
    table.caption = f"NSD: surface Dice within {tolerance_mm:g} mm; distances, added path and shift in mm"
    for column in table.columns[1:]:
        column.justify = "right"
    for change in changes:
        name = change.name if change.name == change.name_b else f"{change.name} = {change.name_b}"
        table.add_row(name, *_cells(change), str(change.slices_changed))
    return table


def _cells(change: Change) -> Iterator[str]:
    for value, digits in (
        (change.dice, 3),
        (change.surface_dice, 3),
        (change.hd95_mm, 1),
        (change.mean_distance_mm, 2),
        (change.added_path_mm, 0),
        (change.volume_cc, 2),
        (change.volume_b_cc, 2),
        (change.shift_mm, 1),
    ):
        yield "-" if value is None else f"{value:.{digits}f}"
