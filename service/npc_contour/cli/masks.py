"""`npc-contour masks`: anybody's RTSTRUCT as masks on its images, and what of it is not in them."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npc_contour.adapters.dicom.read.planning_folder import PlanningFolder, read_planning_folder
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.masks.files import MASK_ENDINGS, write_named_masks
from npc_contour.cli.arguments import RAW, Verbs, existing_file, existing_folder, named
from npc_contour.cli.progress import bar
from npc_contour.core.drawing import BoolArray, DrawnRoi, draw_roi
from npc_contour.core.origin import foreign_reasons, is_elsewhere
from npc_contour.domain.structures import ReadRoi, ReadStructureSet
from npc_contour.errors import CaseRefused

OFF_PLANE_MM = 0.1
"""More than writers round."""

_EXAMPLES = """\
examples:
  npc-contour masks rt.dcm ct --out masks.nii.gz       4-D, one volume an ROI; names in masks.names.txt
  npc-contour masks export/rs.dcm export --out m.nii   of a planning system's export, the series that it was drawn on"""


@dataclass(frozen=True, slots=True)
class RoiReport:
    """How one ROI came out.

    Attributes:
        notes: what of it was left out, how much, and why; and what is odd about it.
    """

    number: int
    name: str
    voxels: int
    volume_cc: float
    contours: int
    drawn: int
    notes: tuple[str, ...]


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser("masks", help="make masks of an RTSTRUCT", epilog=_EXAMPLES, formatter_class=RAW)
    parser.add_argument("rtstruct", type=existing_file, metavar="RTSTRUCT")
    parser.add_argument("ct", type=existing_folder, metavar="CT_DIR", help="the series it was drawn on, as DICOM")
    parser.add_argument("--out", type=named(*MASK_ENDINGS), required=True, metavar="FILE.nii.gz")
    parser.add_argument(
        "--series", default="", metavar="UID", help="which series of CT_DIR (default: the one it was drawn on)"
    )
    parser.add_argument(
        "--other-images",
        action="store_true",
        help="take it although it was drawn on another series, study or frame of reference",
    )
    parser.add_argument(
        "--fill-between-slices",
        action="store_true",
        help="give slices without a contour between two that have one the shape between theirs",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=read)


def read(args: argparse.Namespace) -> int:
    """Draw an RTSTRUCT on its images and say what of it is in the masks."""
    reports: list[RoiReport] = []
    with bar("RTSTRUCT to masks") as progress:
        content = read_rtstruct(args.rtstruct)
        if not content.rois:
            raise CaseRefused(f"{args.rtstruct} names no ROI: there is nothing to draw")
        folder = read_planning_folder(args.ct, series_instance_uid=args.series, referenced=content.series_instance_uids)
        progress(0.2)
        if not args.other_images:
            check_origin(content, folder)
        masks = _drawn(content, folder, args, reports)
        names = write_named_masks(args.out, masks, [roi.name for roi in content.rois], folder.volume.grid)
    called = Counter(roi.name for roi in content.rois if roi.name)
    twice = (
        f"{count} ROIs are called {name!r}: each has its mask; give them names of their own in {names} before"
        " `npc-contour rtstruct` reads it"
        for name, count in called.items()
        if count > 1
    )
    notes = (*content.notes, *folder.notes, *twice)
    if args.json:
        print(json.dumps(_as_json(args.out, names, content, reports, notes), ensure_ascii=False))
        return 0
    print(f"{args.out}: {len(content.rois)} masks of {content.label!r}; their names are in {names}")
    for line in _table(reports):
        print(line)
    for note in notes:
        print(f"  {note}")
    return 0


def check_origin(content: ReadStructureSet, folder: PlanningFolder) -> None:
    """Return when the structure set was drawn on these images.

    Raises:
        CaseRefused: with what differs.
    """
    header = folder.header
    reasons = foreign_reasons(
        content, header.frame_of_reference_uid, header.study_instance_uid, header.series_instance_uid
    )
    if reasons:
        raise CaseRefused(
            f"the structure set was drawn on other images: {'; '.join(reasons)}. If it belongs to these all the same,"
            " --other-images takes it"
        )


def _drawn(
    content: ReadStructureSet, folder: PlanningFolder, args: argparse.Namespace, reports: list[RoiReport]
) -> Iterator[BoolArray]:
    frame = folder.header.frame_of_reference_uid
    for roi in content.rois:
        elsewhere = not args.other_images and bool(roi.contours) and is_elsewhere(roi, content, frame)
        taken = ReadRoi(roi.number, roi.name, "", roi.colour_rgb, "", frame, None, ()) if elsewhere else roi
        drawn = draw_roi(taken, folder.volume, fill_between=args.fill_between_slices)
        reports.append(_report(roi, drawn, folder, elsewhere=elsewhere))
        yield drawn.mask


def _report(roi: ReadRoi, drawn: DrawnRoi, folder: PlanningFolder, *, elsewhere: bool) -> RoiReport:
    voxels = int(drawn.mask.sum())
    notes = [f"left out: {count} contours {reason}" for reason, count in drawn.left_out.items()]
    if elsewhere:
        notes.append(f"left out: {len(roi.contours)} contours in another frame of reference than the images")
    interpolated = sum(contour.geometric_type == "INTERPOLATED_PLANAR" for contour in roi.contours)
    if interpolated and not elsewhere:
        notes.append(f"{interpolated} contours INTERPOLATED_PLANAR, drawn as closed ones")
    if drawn.off_plane_mm > OFF_PLANE_MM:
        notes.append(f"its contours lie up to {drawn.off_plane_mm:.1f} mm off the slices on which they are drawn")
    if drawn.gaps:
        notes.append(f"{drawn.gaps} slices between its contours have none (--fill-between-slices fills them)")
    if drawn.filled:
        notes.append(f"{drawn.filled} slices without a contour were filled by the shape of their neighbours")
    notes += roi.notes
    if not voxels:
        notes.append("the mask is empty")
    volume_cc = voxels * folder.volume.grid.voxel_cc
    return RoiReport(roi.number, roi.name, voxels, volume_cc, len(roi.contours), drawn.drawn, tuple(notes))


def _table(reports: list[RoiReport]) -> Iterator[str]:
    width = min(max([4, *(len(report.name) for report in reports)]), 40)
    yield f"  {'no.':>4}  {'name':<{width}}  {'voxels':>9}  {'cc':>9}  contours"
    for report in reports:
        drawn = str(report.drawn) if report.drawn == report.contours else f"{report.drawn} of {report.contours}"
        yield f"  {report.number:>4}  {report.name:<{width}}  {report.voxels:>9}  {report.volume_cc:>9.2f}  {drawn}"
        yield from (f"  {'':>4}  - {note}" for note in report.notes)


def _as_json(
    out: Path, names: Path, content: ReadStructureSet, reports: list[RoiReport], notes: tuple[str, ...]
) -> dict[str, Any]:
    rois = [
        {
            "number": report.number,
            "name": report.name,
            "voxels": report.voxels,
            "volume_cc": round(report.volume_cc, 3),
            "contours": report.contours,
            "drawn": report.drawn,
            "notes": list(report.notes),
        }
        for report in reports
    ]
    return {"masks": str(out), "names": str(names), "label": content.label, "rois": rois, "notes": list(notes)}
