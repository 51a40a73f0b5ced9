"""Shapes with closed-form areas and volumes: contours enclose them within stated bounds, on fine and coarse grids."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.core.contouring import ContourOptions, contour_roi, crossing_reach
from npc_contour.core.labels import mask_of_array
from npc_contour.core.tracing import Rings, trace
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import Contour, Roi
from npc_contour.domain.volumes import Volume
from npc_testkit.crossings import crossings_of
from npc_testkit.rtstructs import spec

Coordinates = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]
HALF_FIELD_MM = 40.0


def sphere(point: Coordinates) -> npt.NDArray[np.bool_]:
    z, y, x = point
    return np.asarray(z**2 + y**2 + x**2 < 25.3**2)


def shell(point: Coordinates) -> npt.NDArray[np.bool_]:
    z, y, x = point
    square = z**2 + y**2 + x**2
    return np.asarray((square < 28.2**2) & (square > 15.7**2))


def torus(point: Coordinates) -> npt.NDArray[np.bool_]:
    z, y, x = point
    return np.asarray((np.hypot(y, x) - 22.1) ** 2 + z**2 < 8.4**2)


def tilted_cylinder(point: Coordinates) -> npt.NDArray[np.bool_]:
    """A rod of radius 9.3 mm along (0.5, 0, 1) through all slices."""
    z, y, x = point
    return np.asarray(y**2 + ((x - 0.5 * z) * 2 / np.sqrt(5)) ** 2 < 9.3**2)


def nested_rings(point: Coordinates) -> npt.NDArray[np.bool_]:
    _, y, x = point
    radius = np.hypot(y, x)
    return np.asarray((radius < 30.2) & (radius > 22.4) | (radius < 14.1) & (radius > 6.7))


VOLUMES_CC: dict[Callable[[Coordinates], npt.NDArray[np.bool_]], float] = {
    sphere: 4 / 3 * np.pi * 25.3**3 / 1000,
    shell: 4 / 3 * np.pi * (28.2**3 - 15.7**3) / 1000,
    torus: 2 * np.pi**2 * 22.1 * 8.4**2 / 1000,
    tilted_cylinder: np.pi * 9.3**2 * np.sqrt(5) / 2 * 2 * HALF_FIELD_MM / 1000,
    nested_rings: np.pi * (30.2**2 - 22.4**2 + 14.1**2 - 6.7**2) * 2 * HALF_FIELD_MM / 1000,
}


def contoured(inside: Callable[[Coordinates], npt.NDArray[np.bool_]], pixel_mm: float, slice_mm: float) -> Roi:
    slices, side = round(2 * HALF_FIELD_MM / slice_mm), round(2 * HALF_FIELD_MM / pixel_mm)
    origin = tuple(-HALF_FIELD_MM + step / 2 for step in (pixel_mm, pixel_mm, slice_mm))
    grid = Grid(
        (slices, side, side), (slice_mm, pixel_mm, pixel_mm), (origin[0], origin[1], origin[2]), HEAD_FIRST_SUPINE, "1"
    )
    points = grid.to_patient_mm(np.moveaxis(np.indices(grid.shape_zyx), 0, -1))
    mask = inside((points[..., 2], points[..., 1], points[..., 0]))
    uids = tuple(f"1.{index}" for index in range(slices))
    positions = grid.to_patient_mm(np.array([[index, 0, 0] for index in range(slices)]))
    volume = Volume(np.zeros(grid.shape_zyx, np.int16), grid, uids, positions)
    return contour_roi(mask_of_array(spec("Shape"), mask), volume, ContourOptions())


def area_mm2(contour: Contour) -> float:
    x, y = contour.points_lps_mm[:, 0], contour.points_lps_mm[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def volume_cc(roi: Roi, slice_mm: float) -> float:
    return sum(area_mm2(contour) for contour in roi.contours) * slice_mm / 1000


@pytest.mark.parametrize(("pixel_mm", "slice_mm", "bound"), [(0.5, 1.0, 0.012), (1.0, 2.0, 0.025), (1.6, 2.5, 0.05)])
@pytest.mark.parametrize("shape", VOLUMES_CC, ids=lambda shape: shape.__name__)
def test_contours_enclose_the_volume(
    shape: Callable[[Coordinates], npt.NDArray[np.bool_]], pixel_mm: float, slice_mm: float, bound: float
) -> None:
    roi = contoured(shape, pixel_mm, slice_mm)

    truth = VOLUMES_CC[shape]
    assert volume_cc(roi, slice_mm) == pytest.approx(truth, rel=bound)
    assert roi.volume_cc == pytest.approx(truth, rel=bound)


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0, 1.6])
def test_a_sphere_is_nowhere_further_than_most_of_a_pixel(pixel_mm: float) -> None:
    roi = contoured(sphere, pixel_mm, 2.0)

    points = np.concatenate([contour.points_lps_mm for contour in roi.contours])
    height = points[:, 2]
    middle = np.abs(height) < 20
    off = np.abs(np.hypot(points[:, 0], points[:, 1]) - np.sqrt(25.3**2 - height**2, where=middle, out=height * 0))
    assert off[middle].max() < 0.75 * pixel_mm
    assert off[middle].mean() < 0.35 * pixel_mm


def test_rings_and_their_holes_are_two_contours_a_slice() -> None:
    roi = contoured(nested_rings, 1.0, 2.0)

    assert len(roi.contours) == 2 * 40


def distances_mm(points_px: npt.NDArray[np.float64], rings: Rings, radius_mm: float, pixel_mm: float) -> float:
    """Mean distance of outlines, sampled along their edges, from a circle."""
    offsets = []
    for start, stop in pairwise(rings.offsets):
        ring = (points_px[start:stop] - CENTRE_PX) * pixel_mm
        share = np.linspace(0, 1, 8, endpoint=False)[:, np.newaxis, np.newaxis]
        along = ring * (1 - share) + np.roll(ring, -1, axis=0) * share
        offsets.append(np.abs(np.hypot(along[..., 0], along[..., 1]) - radius_mm).ravel())
    return float(np.concatenate(offsets).mean())


CENTRE_PX = np.array([40.23, 39.61])


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("radius_mm", [4.0, 9.7, 16.3])
def test_margins_lie_several_times_nearer_the_true_outline(radius_mm: float, pixel_mm: float) -> None:
    """A third of what contours through pixel centres (rt-utils) miss by, half of the best that a mask allows."""
    y, x = np.indices((81, 81))
    inside_mm = radius_mm - np.hypot(y - CENTRE_PX[0], x - CENTRE_PX[1]) * pixel_mm
    margins = np.tanh(inside_mm / 2.0)[np.newaxis]
    rings = trace((margins > 0).view(np.uint8), keyhole=True, corners_only=False)

    reach = crossing_reach(rings, np.pad(crossings_of(margins), ((0, 0), (0, 0), (1, 0), (1, 0))))
    ours, mask_based, centres = (
        distances_mm(rings.points(value), rings, radius_mm, pixel_mm) for value in (reach, 0.495, 0.0)
    )

    assert ours < centres / 3
    assert ours < mask_based / 2
