"""Margins of derived ROIs against closed forms: balls and boxes on slices 1 to 5 mm apart, and the skin above a couch.

    python benchmarks/margins.py

prints a line a shape and ends with {"worst_volume_error_pct", "worst_distance_error_mm", "shapes",
"voxels_outside_skin"}. Volumes are compared with those of the closed form on the same grid; the distance is how far the
voxel that is wrong by most lies from the true surface.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.core.profiles import body_mask, inside_by, with_margin
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid
from npc_contour.domain.profiles import Margin
from npc_contour.domain.volumes import Volume

STEPS_MM = (1.0, 2.0, 3.0, 5.0)
MARGINS_MM = (3.0, 5.0, 10.0, -2.0)
RADII_MM = (8.0, 12.0, 20.0)
HALF_BOXES_MM = ((8.5, 6.5), (15.5, 10.5))
ROOM_MM = 36.0
DEPTH_MM = 3.0
TIE_MM = 1e-6


@dataclass(frozen=True, slots=True)
class Found:
    """How a margin came out."""

    shape: str
    volume_error_pct: float
    distance_error_mm: float


def grid_of(step_mm: float, room_mm: tuple[float, float, float]) -> Grid:
    """Return a grid of pixels of 1 mm whose middle is at 0."""
    steps = (step_mm, 1.0, 1.0)
    z, y, x = (2 * int(room / step) + 1 for room, step in zip(room_mm, steps, strict=True))
    origin = (-(x // 2) * 1.0, -(y // 2) * 1.0, -(z // 2) * step_mm)
    return Grid((z, y, x), steps, origin, HEAD_FIRST_SUPINE, "2.25.1")


def places_mm(grid: Grid) -> list[FloatArray]:
    """Return where voxel centres lie, z, y, x."""
    axes = [
        (np.arange(size) - size // 2) * step for size, step in zip(grid.shape_zyx, grid.spacing_zyx_mm, strict=True)
    ]
    return list(np.meshgrid(*axes, indexing="ij"))


def shapes(grid: Grid) -> Iterator[tuple[str, FloatArray]]:
    """Yield (name, signed distance in mm: negative inside)."""
    z, y, x = places_mm(grid)
    step_mm = grid.spacing_zyx_mm[0]
    for radius in RADII_MM:
        yield f"ball of {radius:g} mm", np.sqrt((z - 0.3 * step_mm) ** 2 + (y - 0.2) ** 2 + (x + 0.3) ** 2) - radius
    for half_y, half_x in HALF_BOXES_MM:
        half_z = (round(10 / step_mm) + 0.5) * step_mm
        beyond = [np.abs(z) - half_z, np.abs(y) - half_y, np.abs(x) - half_x]
        outside = np.sqrt(sum(np.maximum(part, 0) ** 2 for part in beyond))
        yield f"box of {2 * half_y:g} x {2 * half_x:g} mm", np.where(outside > 0, outside, np.maximum.reduce(beyond))


def measured(step_mm: float, margin_mm: float) -> Iterator[Found]:
    """Yield how each shape came out."""
    grid = grid_of(step_mm, (ROOM_MM, ROOM_MM, ROOM_MM))
    for name, signed_mm in shapes(grid):
        made = with_margin(signed_mm <= 0, Margin.same(margin_mm), grid)
        # A voxel whose centre lies on the true surface is on neither side of it.
        true = np.where(np.abs(signed_mm - margin_mm) < TIE_MM, made, signed_mm <= margin_mm)
        wrong = np.abs(signed_mm[made != true] - margin_mm)
        volume = 100 * abs(int(made.sum()) - int(true.sum())) / int(true.sum())
        yield Found(f"{name}, slices {step_mm:g} mm, margin {margin_mm:g} mm", volume, float(wrong.max(initial=0.0)))


def outside_skin(step_mm: float) -> int:
    """Return how many voxels of an ROI cut 3 mm inside the skin lie beyond the true skin, which a couch touches."""
    grid = grid_of(step_mm, (20.0, 70.0, 90.0))
    _, y, x = places_mm(grid)
    body: npt.NDArray[np.bool_] = (y / 50) ** 2 + (x / 70) ** 2 <= 1
    couch = (y > 50) & (y < 55)
    hu = np.where(body, 20, np.where(couch, -100, -1000)).astype(np.int16)
    depth = grid.shape_zyx[0]
    corners = grid.to_patient_mm(np.array([(slice_, 0, 0) for slice_ in range(depth)]))
    volume = Volume(hu, grid, tuple(f"2.25.{number}" for number in range(depth)), corners)
    cut = inside_by(np.ones(grid.shape_zyx, dtype=np.bool_), body_mask(volume), DEPTH_MM, grid)
    return int(np.count_nonzero(cut & ~body))


def main() -> int:
    found = [one for step, margin in itertools.product(STEPS_MM, MARGINS_MM) for one in measured(step, margin)]
    for one in found:
        print(f"{one.volume_error_pct:5.2f} %  {one.distance_error_mm:4.2f} mm  {one.shape}")
    print(
        json.dumps(
            {
                "worst_volume_error_pct": round(max(one.volume_error_pct for one in found), 2),
                "worst_distance_error_mm": round(max(one.distance_error_mm for one in found), 2),
                "shapes": len(found),
                "voxels_outside_skin": sum(map(outside_skin, STEPS_MM)),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
