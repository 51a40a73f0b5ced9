"""`npc-contour segment`: contour a folder of DICOM without any network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from npc_contour.app.folder import FolderResult, segment_folder
from npc_contour.cli.arguments import RAW, Verbs, add_config, existing_folder, role_and_series
from npc_contour.cli.progress import bars, steps
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour segment patient --out rt.dcm                     every pipeline that the images suit
  npc-contour segment patient --out rt.dcm --pipeline ln_ctv   just this one
  npc-contour segment patient --out rt.dcm --assign planning_ct=.17   where headers do not tell which series is which
  npc-contour segment patient --out rt.dcm --seg --nifti       also as voxels: rt.seg.dcm, rt.nii.gz
  npc-contour segment patient --out rt.dcm --findings         what is doubtful: rt-findings.pdf with pictures, .dcm (SR)
  npc-contour segment chest --out ln.dcm --pipeline mediastinal_ln   with ln-measurements.dcm (SR) and .csv"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "segment", help="contour a folder of DICOM, no network needed", epilog=EXAMPLES, formatter_class=RAW
    )
    parser.add_argument("folder", type=existing_folder, help="searched with its subfolders")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.dcm",
        help="the RTSTRUCT; of several, each name gets its pipeline",
    )
    parser.add_argument("--pipeline", help="just this one (default: all of the settings)")
    parser.add_argument(
        "--assign",
        type=role_and_series,
        action="append",
        default=[],
        metavar="ROLE=SERIES",
        help="say which series fills a role, by its Series Instance UID or the end of it; repeatable",
    )
    parser.add_argument("--seg", action="store_true", help="also write each as DICOM SEG (FILE.seg.dcm)")
    parser.add_argument("--nifti", action="store_true", help="also write the masks (FILE.nii.gz, FILE.names.txt)")
    parser.add_argument(
        "--findings",
        action="store_true",
        help="also write what is doubtful: FILE-findings.pdf with pictures, and .dcm (SR)",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Contour; exit code 1 when nothing could be (by the error raised)."""
    settings = read_settings(args.config)
    if args.seg:
        rtstruct = settings.rtstruct.model_copy(update={"segmentation": True})
        settings = settings.model_copy(update={"rtstruct": rtstruct})
    with bars() as progress:
        results = segment_folder(
            settings,
            args.folder,
            args.out,
            pipeline=args.pipeline,
            beside=[*(["nifti"] if args.nifti else ()), *(["findings"] if args.findings else ())],
            assign=dict(args.assign),
            progress=steps(progress),
        )
    console = Console()
    for result in results:
        _print(console, result)
    return 0


def _print(console: Console, result: FolderResult) -> None:
    if result.path is None:
        console.print(f"{result.pipeline}: not for these images", style="yellow", highlight=False)
    else:
        rois = result.report["rois"]
        found = [roi for roi in rois if roi["found"]]
        seconds = sum(result.report["timings_s"].values())
        console.print(
            f"{result.pipeline}: {result.path}: {len(found)} of {len(rois)} ROIs in {seconds:.1f} s, UNAPPROVED",
            soft_wrap=True,
            highlight=False,
        )
        for note in (*result.report["notes"], *_measured(result.report)):
            console.print(f"  {note}", soft_wrap=True, highlight=False)
        return
    for reason in result.reasons:
        console.print(f"  {reason}", soft_wrap=True, highlight=False)


def _measured(report: Mapping[str, Any]) -> list[str]:
    """Say in lines what was measured."""
    found = report.get("measurements")
    if found is None:
        return []
    if found["shape"] is not None:
        shape = found["shape"]
        return [
            f"{found['roi']}: {shape['volume_cc']:.1f} cc, surface {shape['surface_cm2']:.1f} cm2, diameter"
            f" {shape['diameter_mm']:.1f} mm, regularity {shape['regularity']:.2f}"
            + (f", of the largest of {shape['pieces']} pieces" if shape["pieces"] > 1 else "")
        ]
    lines = [
        f"node {node['node']}: {node['long_axis_mm']:.1f} x {node['short_axis_mm']:.1f} mm, {node['volume_cc']:.2f} cc"
        + (f", {found['enlarged_from_mm']:g} mm or more" if node["enlarged"] else "")
        for node in found["nodes"]
    ]
    if found["ignored_nodes"]:
        lines.append(f"{found['ignored_nodes']} nodes below {found['ignore_below_mm']:g} mm are not listed")
    return lines
