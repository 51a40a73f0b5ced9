"""Phantoms on grids of a test's choice, and the table of reference volumes in docs/phantom.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from npc_contour.catalog import read_pipeline
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3
from npc_phantom import Patient, Phantom

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "service" / "npc_contour" / "pipelines"
HEAD_AND_NECK = ((-88.0, -115.0, -225.0), (88.0, 105.0, 160.0))
"""Canonical box, mm, around every labelled structure."""


def grid_around(patient: Patient, spacing_zyx_mm: Vec3, box_mm: tuple[Vec3, Vec3] = HEAD_AND_NECK) -> Grid:
    """An axial grid that covers a canonical box of a patient (lower and upper corner, LPS mm), within the scan."""
    lower, upper = (np.array(corner) for corner in box_mm)
    corners = lower + (upper - lower) * np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
    placed = patient.pose.to_patient_mm(corners)
    scan = patient.grid()
    ends = scan.to_patient_mm(np.stack([np.zeros(3), np.array(scan.shape_zyx) - 1.0]))
    first = np.maximum(placed.min(axis=0), ends.min(axis=0))
    last = np.minimum(placed.max(axis=0), ends.max(axis=0))
    shape = np.floor((last - first)[::-1] / np.asarray(spacing_zyx_mm)).astype(int) + 1
    return Grid(
        shape_zyx=(int(shape[0]), int(shape[1]), int(shape[2])),
        spacing_zyx_mm=spacing_zyx_mm,
        origin_lps_mm=(float(first[0]), float(first[1]), float(first[2])),
        direction_lps=HEAD_FIRST_SUPINE,
        frame_of_reference_uid=scan.frame_of_reference_uid,
    )


def roi_volumes_cc(phantom: Phantom) -> dict[str, float]:
    """Volume of every ROI of the product that the phantom has a truth for, by ROI name."""
    maps = {"npc_oar": phantom.oar_labels, "npc_gtv": phantom.gtv_labels, "ln_ctv": phantom.ln_labels}
    counts = {network: np.bincount(labels.ravel(), minlength=64) for network, labels in maps.items()}
    rois = [roi for path in sorted(PIPELINES.glob("*.toml")) for roi in read_pipeline(path).rois]
    return {
        roi.name: float(counts[roi.network][sorted(roi.labels)].sum()) * phantom.grid.voxel_cc
        for roi in rois
        if roi.network in counts
    }


def reference_volumes_cc() -> dict[str, float]:
    """The reference column of the table in docs/phantom.md, by ROI name."""
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| ([\d.]+) \|", (ROOT / "docs" / "phantom.md").read_text(), re.M)
    return {name: float(volume) for name, volume in rows}
