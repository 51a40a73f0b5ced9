"""Print the table of docs/phantom.md: median volume of every ROI over many phantoms beside the reference patient's."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.domain.structures import RoiSpec
from npc_phantom import PhantomOptions, draw, render

DOCUMENT = Path(__file__).parents[1] / "docs" / "phantom.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=12, help="seeds 0, 1, ... (default 12)")
    count = parser.parse_args().phantoms
    rois = [roi for path in sorted(PIPELINES_DIR.glob("*.toml"), reverse=True) for roi in read_pipeline(path).rois]
    volumes = [measure(seed, rois) for seed in range(count)]
    reference = dict(re.findall(r"^\| (\w+) \| [\d.]+ \| ([\d.]+) \|", DOCUMENT.read_text(), re.M))
    print(f"| ROI | phantom, median of {count} (cc) | reference patient (cc) | ratio | smallest to largest (cc) |")
    print("|---|---|---|---|---|")
    for name in (roi.name for roi in rois):
        drawn = np.array([v[name] for v in volumes])
        median, real = float(np.median(drawn)), reference.get(name)
        ratio = f"{median / float(real):.2f}" if real else "-"
        print(f"| {name} | {short(median)} | {real or '-'} | {ratio} | {short(drawn.min())} to {short(drawn.max())} |")


def short(volume_cc: float) -> str:
    """Return three digits, never an exponent."""
    return f"{volume_cc:.0f}" if volume_cc >= 100.0 else f"{volume_cc:.3g}"


def measure(seed: int, rois: list[RoiSpec]) -> dict[str, float]:
    """Return the volume of every ROI of one phantom, cc, on a grid of about 1.5 x 1 x 1 mm."""
    patient = draw(seed, PhantomOptions(slice_spacing_mm=1.5, field_of_view_mm=448.0, matrix=448))
    phantom = render(patient, patient.grid(), contrast=())
    maps = {"npc_oar": phantom.oar_labels, "npc_gtv": phantom.gtv_labels, "ln_ctv": phantom.ln_labels}
    counts = {network: np.bincount(labels.ravel(), minlength=64) for network, labels in maps.items()}
    voxel_cc = phantom.grid.voxel_cc
    return {roi.name: float(counts[roi.network][sorted(roi.labels)].sum()) * voxel_cc for roi in rois}


if __name__ == "__main__":
    main()
