"""What the demo ends with: ROIs, volumes and Dice from the RTSTRUCTs that arrived, seconds, paths and pictures.

Everything is read back from the files at the node that stands for the planning system; nothing is taken from the
service's memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from rich.console import Console
from rich.table import Table

from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.preview import render_preview
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.core.rasterise import RasterisedRoi, rasterise_roi
from npc_contour.domain.series import Series
from npc_contour.domain.structures import ReadStructureSet, RoiSpec
from npc_contour.domain.volumes import Volume
from npc_contour.errors import AutocontourError

TRUTH = {"npc_oar": "oar", "npc_gtv": "gtv", "ln_ctv": "ln_ctv"}
"""Network → name of the phantom's label map."""

WIDE = 104
"""A terminal of this many columns takes two ROIs a row."""

LabelArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RoiResult:
    """One ROI as it arrived; `dice` is None where the phantom has no truth for it."""

    name: str
    volume_cc: float
    truth_cc: float
    dice: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """One RTSTRUCT as it arrived, on its planning CT."""

    path: Path
    content: ReadStructureSet
    volume: Volume
    rois: tuple[RoiResult, ...]


def show(
    console: Console,
    *,
    case_details: Sequence[Mapping[str, Any]],
    steps_s: Mapping[str, float],
    received: Sequence[Path],
    patient: Path,
    out: Path,
) -> int:
    """Print the report and write the pictures.

    Args:
        console: where to.
        case_details: each case as REST shows it.
        steps_s: seconds of each step of the demo.
        received: the RTSTRUCT files that arrived.
        patient: the phantom's folder: DICOM and ground truth.
        out: folder for the pictures.

    Returns:
        0 when each case was sent and as many RTSTRUCTs arrived as there are cases, else 1.
    """
    arrived = [read_received(path, patient) for path in received]
    for item in arrived:
        console.print(_roi_table(item, 2 if console.width >= WIDE else 1))
        for note in _not_found(item, case_details):
            console.print(note, soft_wrap=True, highlight=False)
    console.print(_step_table(steps_s, case_details))
    for item in arrived:
        picture = out / f"{item.content.label.replace(' ', '_')}.png"
        picture.write_bytes(render_preview(item.content, item.volume, caption="synthetic patient (phantom)"))
        console.print(f"RTSTRUCT  {_from_here(item.path)}", soft_wrap=True, highlight=False)
        console.print(f"picture   {_from_here(picture)}", soft_wrap=True, highlight=False)
    failed = [job for job in (details["job"] for details in case_details) if job["state"] not in {"sent", "verified"}]
    for job in failed:
        why = ("held", job["held"]) if job["held"] else (job["state"], job["reason"])
        console.print(f"[red]{job['pipeline']} {why[0]}[/]: {why[1]}", soft_wrap=True, highlight=False)
    return 0 if not failed and len(arrived) == len(case_details) else 1


def _from_here(path: Path) -> Path:
    """As it is typed in the folder where the command was given."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def read_received(path: Path, patient: Path) -> Received:
    """Read an RTSTRUCT back onto its planning CT and measure it against the phantom's truth.

    Raises:
        AutocontourError: its series is not the phantom's.
    """
    content = read_rtstruct(path)
    headers = [
        header
        for header in read_headers(patient).headers
        if header.series_instance_uid in content.series_instance_uids and header.modality == "CT"
    ]
    if not headers:
        raise AutocontourError(f"{path} references series {content.series_instance_uids}, not in {patient}")
    volume = read_volume(Series(tuple(headers)))
    specs = {roi.name: roi for file in PIPELINES_DIR.glob("*.toml") for roi in read_pipeline(file).rois}
    truths: dict[str, LabelArray] = {}
    rois = []
    for roi in content.rois:
        back = rasterise_roi(roi.closed_lps_mm, volume)
        spec = specs.get(roi.name)
        rois.append(_measure(roi.name, back, spec, _truth(spec, patient, truths), volume))
    return Received(path, content, volume, tuple(rois))


def _truth(spec: RoiSpec | None, patient: Path, truths: dict[str, LabelArray]) -> LabelArray | None:
    """Return the phantom's label map for an ROI's network, read once."""
    if spec is None or spec.network not in TRUTH:
        return None
    if spec.network not in truths:
        image = SimpleITK.ReadImage(str(patient / f"{TRUTH[spec.network]}.nii.gz"))
        truths[spec.network] = SimpleITK.GetArrayFromImage(image).astype(np.uint8)
    return truths[spec.network]


def _measure(
    name: str, back: RasterisedRoi, spec: RoiSpec | None, truth: LabelArray | None, volume: Volume
) -> RoiResult:
    voxel_cc = volume.grid.voxel_cc
    voxels = int(np.count_nonzero(back.mask))
    if spec is None or truth is None:
        return RoiResult(name, voxels * voxel_cc, 0.0, None)
    wanted = np.zeros(256, dtype=np.bool_)
    wanted[list(spec.labels)] = True
    box = tuple(slice(start, start + size) for start, size in zip(back.offset_zyx, back.mask.shape, strict=True))
    common = int(np.count_nonzero(wanted[truth[box]] & back.mask))
    counts = np.bincount(truth.ravel(), minlength=256)
    expected = int(counts[list(spec.labels)].sum())
    return RoiResult(name, voxels * voxel_cc, expected * voxel_cc, 2 * common / max(voxels + expected, 1))


def _roi_table(item: Received, across: int) -> Table:
    content = item.content
    measured = [roi.dice for roi in item.rois if roi.dice is not None]
    table = Table(
        title=f"{content.label}: {len(item.rois)} ROIs, {content.approval_status}, mean Dice {np.mean(measured):.3f}",
        title_justify="left",
    )
    for _ in range(across):
        table.add_column("ROI", no_wrap=True)
        for head in ("cc", "truth cc", "Dice"):
            table.add_column(head, justify="right", no_wrap=True)
    rows = -(-len(item.rois) // across)
    for row in range(rows):
        cells: list[str] = []
        for roi in item.rois[row::rows]:
            dice = "-" if roi.dice is None else f"{roi.dice:.3f}"
            cells += [roi.name, f"{roi.volume_cc:.2f}", f"{roi.truth_cc:.2f}", dice]
        table.add_row(*cells)
    return table


def _not_found(item: Received, case_details: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the service says it did not find, for the structure set at hand."""
    return [
        note
        for details in case_details
        if any(row["sop_instance_uid"] == item.content.sop_instance_uid for row in details["deliveries"])
        for note in details["notes"]
        if note.startswith("not found")
    ]


def _step_table(steps_s: Mapping[str, float], case_details: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="time of each step", title_justify="left")
    table.add_column("step")
    table.add_column("s", justify="right")
    for step, seconds in steps_s.items():
        table.add_row(step, f"{seconds:.1f}")
    for details in case_details:
        for event in details["timeline"]:
            if event["seconds"] is not None:
                step = event["detail"] or event["event"]
                table.add_row(f"  {details['job']['pipeline']}: {step}", f"{event['seconds']:.1f}")
    return table
