"""`npc-contour picture`: anybody's RTSTRUCT over its images, in three planes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from npc_contour.adapters.dicom.read.planning_folder import read_planning_folder, with_pixels
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.preview import AXIAL_SLICES, render_preview
from npc_contour.cli.arguments import RAW, Verbs, existing_file, existing_folder, named
from npc_contour.cli.masks import check_origin
from npc_contour.cli.progress import bar
from npc_contour.core.origin import is_elsewhere
from npc_contour.domain.structures import ReadRoi, ReadStructureSet
from npc_contour.errors import CaseRefused

_EXAMPLES = """\
examples:
  npc-contour picture rt.dcm ct --out p.png                         all ROIs, on the slices that show most of them
  npc-contour picture rt.dcm ct --out p.png --roi GTVp "PTV 70 Gy"  some ROIs only
  npc-contour picture rt.dcm ct --out p.png --slices 40 44 48       these axial slices, at most six; 1 is the first"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser("picture", help="draw an RTSTRUCT over its images", epilog=_EXAMPLES, formatter_class=RAW)
    parser.add_argument("rtstruct", type=existing_file, metavar="RTSTRUCT")
    parser.add_argument("ct", type=existing_folder, metavar="CT_DIR", help="the series it was drawn on, as DICOM")
    parser.add_argument("--out", type=named(".png"), required=True, metavar="FILE.png")
    parser.add_argument("--roi", nargs="+", default=[], metavar="NAME", help="only these (default: all)")
    parser.add_argument(
        "--slices", nargs="+", type=int, default=[], metavar="N", help="axial slices, counted from 1 (default: chosen)"
    )
    parser.add_argument(
        "--series", default="", metavar="UID", help="which series of CT_DIR (default: the one it was drawn on)"
    )
    parser.add_argument(
        "--other-images",
        action="store_true",
        help="draw it although it was drawn on another series, study or frame of reference",
    )
    parser.set_defaults(run=draw)


def draw(args: argparse.Namespace) -> int:
    """Draw the picture and say what of the structure set is not in it."""
    with bar("RTSTRUCT to picture") as progress:
        content = read_rtstruct(args.rtstruct)
        folder = read_planning_folder(args.ct, series_instance_uid=args.series, referenced=content.series_instance_uids)
        if not args.other_images:
            check_origin(content, folder)
        indices = _indices(args.slices, folder.volume.grid.shape_zyx[0])
        rois = _chosen(content, args.roi)
        frame = folder.header.frame_of_reference_uid
        here = tuple(roi for roi in rois if args.other_images or not is_elsewhere(roi, content, frame))
        progress(0.2)
        volume = with_pixels(args.ct, folder)
        progress(0.6)
        args.out.write_bytes(render_preview(replace(content, rois=here), volume, slices=indices))
    print(f"{args.out}: {len(here)} ROIs of {content.label!r}")
    if elsewhere := [roi.name for roi in rois if roi not in here]:
        print(f"  left out, in another frame of reference than the images: {', '.join(map(repr, elsewhere))}")
    if empty := [roi.name for roi in here if not roi.closed_lps_mm]:
        print(f"  without a closed contour: {', '.join(map(repr, empty))}")
    for note in (*content.notes, *folder.notes):
        print(f"  {note}")
    return 0


def _indices(numbers: Sequence[int], depth: int) -> tuple[int, ...]:
    if len(numbers) > AXIAL_SLICES or any(not 1 <= number <= depth for number in numbers):
        raise CaseRefused(
            f"--slices {' '.join(map(str, numbers))}: expected {AXIAL_SLICES} numbers at most, from 1 to {depth}"
        )
    return tuple(number - 1 for number in numbers)


def _chosen(content: ReadStructureSet, names: Sequence[str]) -> tuple[ReadRoi, ...]:
    there = {roi.name for roi in content.rois}
    if missing := [name for name in names if name not in there]:
        has = ", ".join(map(repr, sorted(there)))
        raise CaseRefused(f"the structure set has no ROI {', '.join(map(repr, missing))}; it has {has}")
    return tuple(roi for roi in content.rois if not names or roi.name in names)
