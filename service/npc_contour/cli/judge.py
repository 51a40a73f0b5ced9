"""`npc-contour judge`: anybody's RTSTRUCT against what is usual of each structure, as a list and as a page."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace

from npc_contour.adapters.dicom.read.planning_folder import read_planning_folder, with_pixels
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.findings_page import render_findings
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.cli.arguments import RAW, Verbs, existing_file, existing_folder, named
from npc_contour.cli.masks import check_origin
from npc_contour.cli.progress import bar
from npc_contour.core.drawing import draw_roi
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.origin import is_elsewhere
from npc_contour.core.pieces import without_far_pieces
from npc_contour.core.plausibility import look_at_contours
from npc_contour.domain.findings import Finding
from npc_contour.domain.structures import ReadRoi
from npc_contour.domain.volumes import Volume

_EXAMPLES = """\
examples:
  npc-contour judge rt.dcm ct                    what is unusual about its contours, worst first
  npc-contour judge rt.dcm ct --out doubts.pdf   and a page with pictures of the slices concerned
Rules are those of docs/plausibility.md; ROIs are matched by their TG-263 names, in any case of letters. Exit status 0
whatever is found: a finding is a doubt, not a verdict."""
WIDTH = 100


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "judge", help="say what is unusual about the contours of an RTSTRUCT", epilog=_EXAMPLES, formatter_class=RAW
    )
    parser.add_argument("rtstruct", type=existing_file, metavar="RTSTRUCT")
    parser.add_argument("ct", type=existing_folder, metavar="CT_DIR", help="the series it was drawn on, as DICOM")
    parser.add_argument("--out", type=named(".pdf"), metavar="FILE.pdf", help="also write a page with pictures")
    parser.add_argument(
        "--series", default="", metavar="UID", help="which series of CT_DIR (default: the one it was drawn on)"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=judge)


def judge(args: argparse.Namespace) -> int:
    """Print what is unusual, and write the page where one is asked for."""
    with bar("judging the contours") as progress:
        content = read_rtstruct(args.rtstruct)
        folder = read_planning_folder(args.ct, series_instance_uid=args.series, referenced=content.series_instance_uids)
        check_origin(content, folder)
        frame = folder.header.frame_of_reference_uid
        here = replace(content, rois=tuple(roi for roi in content.rois if not is_elsewhere(roi, content, frame)))
        volume = with_pixels(args.ct, folder)
        progress(0.4)
        masks = list(_masks(here.rois, volume))
        judged = look_at_contours(without_far_pieces(masks, volume.grid, cut=False), volume)
        progress(0.7)
        if args.out is not None:
            title = f"Findings about {content.label!r}"
            args.out.write_bytes(render_findings(title, content.approval_status, judged, here, volume))
    judged_names = {mask.spec.name for mask in masks}
    unknown = [roi.name for roi in here.rois if roi.name not in judged_names]
    if args.json:
        document = {"findings": [finding.as_json() for finding in judged], "without_a_rule": unknown}
        print(json.dumps(document, ensure_ascii=False))
        return 0
    for line in _lines(judged):
        print(line)
    print(f"{len(masks)} ROIs of {content.label!r} were judged: {len(judged)} findings")
    if unknown:
        print(f"  without a rule, not judged: {', '.join(map(repr, unknown))}")
    if args.out is not None:
        print(f"{args.out}: the findings with pictures")
    return 0


def _masks(rois: tuple[ReadRoi, ...], volume: Volume) -> Iterator[RoiMask]:
    """Draw each ROI for whose name a pipeline has a rule."""
    pipelines = [read_pipeline(path) for path in sorted(PIPELINES_DIR.glob("*.toml"))]
    known = {spec.name.casefold(): spec for pipeline in pipelines for spec in pipeline.rois if spec.rule}
    for roi in rois:
        spec = known.get(roi.name.casefold())
        if spec is not None:
            yield mask_of_array(replace(spec, name=roi.name), draw_roi(roi, volume).mask)


def _lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    for finding in findings:
        yield from textwrap.wrap(finding.text, WIDTH, subsequent_indent="    ")
