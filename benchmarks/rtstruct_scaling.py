"""How our RTSTRUCT writer's cost grows: ellipsoids on 512 to 1024 matrices, 1 to 50 ROIs."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np

from npc_contour.adapters.dicom.read.planning_header import PlanningHeader
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.core.contouring import contour_rois
from npc_contour.core.labels import RoiMask
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec, StructureSet
from npc_contour.domain.volumes import Volume

FIELD_MM, SLICES, SLICE_MM = 500.0, 120, 3.0


def show() -> None:
    """Print CPU time against the number of points; the last column stays about the same where cost is linear."""
    header = PlanningHeader({}, ("ascii",), "1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.4", "1.2.5")
    print(f"\n{'matrix':>8}{'ROIs':>6}{'points':>10}{'file MB':>9}{'CPU ms':>9}{'us/point':>10}")
    for side in (512, 768, 1024):
        volume = empty_volume(side)
        masks = ellipsoids(volume.grid, 50)
        for count in (1, 10, 25, 50):
            taken, points, size = measure(masks[:count], volume, header)
            print(f"{side:>8}{count:>6}{points:>10}{size / 1e6:>9.2f}{1e3 * taken:>9.1f}{1e6 * taken / points:>10.2f}")


def empty_volume(side: int) -> Volume:
    """Return a volume of a matrix without pixels."""
    step = FIELD_MM / side
    origin = (-FIELD_MM / 2, -FIELD_MM / 2, 0.0)
    grid = Grid((SLICES, side, side), (SLICE_MM, step, step), origin, HEAD_FIRST_SUPINE, "1.2.5")
    positions = grid.to_patient_mm(np.array([[z, 0, 0] for z in range(SLICES)]))
    uids = tuple(f"1.2.6.{z}" for z in range(SLICES))
    return Volume(np.broadcast_to(np.int16(0), grid.shape_zyx), grid, uids, positions)


def ellipsoids(grid: Grid, count: int) -> tuple[RoiMask, ...]:
    """Return ellipsoids of 10 to 40 mm, the same in mm on every grid, cropped."""
    rng = np.random.default_rng(7)
    masks = []
    for number in range(count):
        radii = rng.uniform(10, 40, 3) / np.asarray(grid.spacing_zyx_mm)
        size = np.ceil(radii).astype(int)
        axes = np.ogrid[tuple(slice(-extent, extent + 1) for extent in size)]
        crop = sum((axis / radius) ** 2 for axis, radius in zip(axes, radii, strict=True)) <= 1
        room = np.subtract(grid.shape_zyx, crop.shape)
        offset = tuple(int(value) for value in (rng.random(3) * room).astype(int))
        spec = RoiSpec(f"E{number:02d}", InterpretedType.ORGAN, "masks", frozenset({1}), (200, 80, 40))
        masks.append(RoiMask(spec, crop, (offset[0], offset[1], offset[2])))
    return tuple(masks)


def measure(masks: tuple[RoiMask, ...], volume: Volume, header: PlanningHeader) -> tuple[float, int, int]:
    """Return the best of three runs in CPU seconds, the number of points and the file's bytes."""
    best, points, size = float("inf"), 0, 0
    for _ in range(3):
        started = time.process_time()
        rois = contour_rois(masks, volume)
        content = StructureSet("Scaling", "", "scaling", rois, {})
        size = len(encode_rtstruct(content, volume, header, made_at=datetime(2026, 1, 2)))  # noqa: DTZ001
        best = min(best, time.process_time() - started)
        points = sum(len(contour.points_lps_mm) for roi in rois for contour in roi.contours)
    return best, points, size
