"""Measure bodies of known size as lymph nodes and tumours are measured, on 30 grids, and compare.

    python benchmarks/measures.py

Balls, ellipsoids, bananas, dumbbells, balls with a spur, plates and rings, turned in plane and shifted against the
grid, with pixels of 0.5 to 1 mm and slices of 1 to 6 mm. What is true is found without the product: axes by pairs of
points of the body's own outline, volumes by counting points of a fine grid. Ends with one JSON line.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from npc_contour.core.labels import RoiMask
from npc_contour.core.quantification import nodes_of, shape_of
from npc_contour.domain.measurements import ENLARGED_MM
from npc_testkit.bodies import BODIES, Body

PIXELS_MM = (0.5, 0.625, 0.75, 0.875, 1.0)
SLICES_MM = (1.0, 1.5, 2.0, 3.0, 5.0, 6.0)
THIN_SLICES_MM = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far one body on one grid is measured from what it is."""

    body: str
    spacing_zyx_mm: tuple[float, float, float]
    axes_mm: float
    volume_pct: float
    enlarged_wrong: bool
    regularity: float


def main() -> int:
    console = Console(width=120, highlight=False)
    rng = np.random.default_rng(11)
    found = [
        measured(body, (slice_mm, pixel_mm, pixel_mm), rng)
        for body in BODIES
        for pixel_mm, slice_mm in itertools.product(PIXELS_MM, SLICES_MM)
    ]
    for body in BODIES:
        console.print(line(body, [one for one in found if one.body == body.name]))
    thin = [one for one in found if one.spacing_zyx_mm[0] <= THIN_SLICES_MM]
    print(
        json.dumps(
            {
                "shapes": len(found),
                "worst_axis_error_mm": round(max(one.axes_mm for one in thin), 2),
                "worst_volume_error_pct": round(max(one.volume_pct for one in thin), 2),
                "enlarged_wrong": sum(one.enlarged_wrong for one in found),
                "regularity_ball_min": round(min(one.regularity for one in found if one.body == "ball"), 3),
                "worst_axis_error_mm_thick": round(max(one.axes_mm for one in found), 2),
                "worst_volume_error_pct_thick": round(max(one.volume_pct for one in found), 2),
            }
        )
    )
    return 0


def measured(body: Body, spacing_zyx_mm: tuple[float, float, float], rng: np.random.Generator) -> Outcome:
    """Measure a body, turned and shifted by chance, on one grid."""
    mask, grid = body.on_grid(spacing_zyx_mm, turn_rad=rng.uniform(0, math.pi), shift=rng.uniform(-0.5, 0.5, 3))
    nodes, _ = nodes_of(RoiMask(body.spec, mask, (0, 0, 0)), grid, ignore_below_mm=0.0)
    shape = shape_of(mask, spacing_zyx_mm)
    errors = [
        max(abs(node.long_axis.length_mm - body.long_mm), abs(node.short_axis.length_mm - body.short_mm))
        for node in nodes
    ]
    wrong = any(node.enlarged != (body.short_mm >= ENLARGED_MM) for node in nodes) or len(nodes) != body.nodes
    volume_pct = 100 * abs(shape.volume_cc * 1000 / body.volume_mm3 - 1)
    return Outcome(body.name, spacing_zyx_mm, max(errors, default=math.inf), volume_pct, wrong, shape.regularity)


def line(body: Body, found: list[Outcome]) -> str:
    """What became of one body on all grids, in words."""
    thin = [one for one in found if one.spacing_zyx_mm[0] <= THIN_SLICES_MM]
    axes, volume = (max(map(worst, thin)) for worst in (_axes, _volume))
    thick_axes, thick_volume = (max(map(worst, found)) for worst in (_axes, _volume))
    return (
        f"{body.name:<17}{body.long_mm:5.1f} x {body.short_mm:4.1f} mm  axes {axes:5.2f} mm ({thick_axes:5.2f} on thick"
        f" slices), volume {volume:5.2f} % ({thick_volume:5.2f})"
    )


def _axes(one: Outcome) -> float:
    return one.axes_mm


def _volume(one: Outcome) -> float:
    return one.volume_pct


if __name__ == "__main__":
    sys.exit(main())
