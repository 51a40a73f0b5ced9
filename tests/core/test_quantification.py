"""Nodes and tumours of known shape are measured as the closed form says, on any grid."""

import math
from dataclasses import replace

import numpy as np
import pytest
from skimage.measure import regionprops

from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.quantification import component, measure, nodes_of, shape_of
from npc_contour.domain.geometry import Grid
from npc_contour.domain.measurements import MeasurementKind, MeasurementRule
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_testkit.bodies import BODIES, Body

GRID = Grid((40, 100, 120), (2.0, 0.5, 0.8), (10.0, -20.0, 5.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)), "1.2.3")
SPEC = RoiSpec("GTVn_Mediastinum", InterpretedType.GTV, "n", frozenset({1}), (255, 0, 0))
NODES = MeasurementRule(MeasurementKind.NODES, "GTVn_Mediastinum", ignore_below_mm=5.0)


def positions(grid: Grid = GRID) -> list[np.ndarray]:
    """Return z, y and x of every voxel in mm from the first one."""
    axes = [np.arange(n) * s for n, s in zip(grid.shape_zyx, grid.spacing_zyx_mm, strict=True)]
    return list(np.meshgrid(*axes, indexing="ij"))


def ellipsoid(centre_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(sum(((p - c) / r) ** 2 for p, c, r in zip(positions(), centre_mm, radii_mm, strict=True)) <= 1.0)


def test_box_is_measured_to_its_rounded_corners() -> None:
    mask = np.zeros(GRID.shape_zyx, dtype=bool)
    mask[10:15, 20:60, 30:45] = True  # 10 mm high, 20 x 12 mm in the slice

    ((node,), ignored) = nodes_of(mask_of_array(SPEC, mask), GRID, ignore_below_mm=0.0)

    assert ignored == 0
    assert node.volume_cc == pytest.approx(10 * 20 * 12 / 1000)
    assert node.long_axis.length_mm == pytest.approx(math.hypot(20.0, 12.0), abs=1.0)
    assert node.centre_lps_mm == pytest.approx((10.0 + 36.5 * 0.8 + 0.4, -20.0 + 39.5 * 0.5, 5.0 + 24.0), abs=0.5)


@pytest.mark.parametrize(("ry", "rx"), [(12.0, 7.0), (6.0, 11.0), (9.0, 9.0)])
def test_axes_of_an_ellipsoid_are_its_diameters(ry: float, rx: float) -> None:
    mask = ellipsoid((40.0, 25.0, 48.0), (16.0, ry, rx))

    ((node,), _) = nodes_of(mask_of_array(SPEC, mask), GRID, ignore_below_mm=0.0)

    assert node.volume_cc == pytest.approx(4 / 3 * math.pi * 16 * ry * rx / 1000, rel=0.01)
    assert node.long_axis.length_mm == pytest.approx(2 * max(rx, ry), abs=0.8)
    assert node.short_axis.length_mm == pytest.approx(2 * min(rx, ry), abs=0.8)
    assert node.slice_index == 20
    long_ends, short_ends = (np.asarray(axis.ends_lps_mm) for axis in (node.long_axis, node.short_axis))
    assert np.linalg.norm(long_ends[1] - long_ends[0]) == pytest.approx(node.long_axis.length_mm)
    assert np.linalg.norm(short_ends[1] - short_ends[0]) == pytest.approx(node.short_axis.length_mm)
    assert (long_ends[1] - long_ends[0]) @ (short_ends[1] - short_ends[0]) == pytest.approx(0.0, abs=1e-6)
    assert long_ends[:, 2] == pytest.approx(5.0 + 40.0)


def test_axes_of_a_turned_ellipse_agree_with_scikit_image() -> None:
    fine = replace(GRID, shape_zyx=(3, 200, 200), spacing_zyx_mm=(1.0, 0.25, 0.25))
    _, y, x = positions(fine)
    angle = math.radians(33)
    u = (x - 25) * math.cos(angle) + (y - 25) * math.sin(angle)
    v = -(x - 25) * math.sin(angle) + (y - 25) * math.cos(angle)
    mask = (u / 15) ** 2 + (v / 6) ** 2 <= 1

    ((node,), _) = nodes_of(mask_of_array(SPEC, mask), fine, ignore_below_mm=0.0)

    region = regionprops(mask[1].astype(np.uint8))[0]
    assert node.long_axis.length_mm == pytest.approx(30.0, abs=0.3)
    assert node.short_axis.length_mm == pytest.approx(12.0, abs=0.3)
    assert node.long_axis.length_mm == pytest.approx(region.axis_major_length * 0.25, rel=0.01)
    assert node.short_axis.length_mm == pytest.approx(region.axis_minor_length * 0.25, rel=0.02)
    assert node.long_axis.length_mm == pytest.approx(region.feret_diameter_max * 0.25 - 0.25, abs=0.1)


def test_nodes_are_told_apart_ordered_and_small_ones_counted_only() -> None:
    low, high = ellipsoid((20.0, 25.0, 30.0), (8.0, 8.0, 8.0)), ellipsoid((60.0, 25.0, 60.0), (9.0, 4.0, 6.0))
    small = ellipsoid((40.0, 10.0, 80.0), (3.0, 2.0, 2.0))
    roi = mask_of_array(SPEC, low | high | small)

    found = measure(NODES, [roi], GRID)

    assert [node.number for node in found.nodes] == [1, 2]
    assert [node.enlarged for node in found.nodes] == [False, True]
    assert found.nodes[0].centre_lps_mm[2] == pytest.approx(65.0, abs=0.1)
    assert found.ignored_nodes == 1
    np.testing.assert_array_equal(component(roi, found.nodes[0], GRID).on_grid(GRID.shape_zyx), high)
    np.testing.assert_array_equal(component(roi, found.nodes[1], GRID).on_grid(GRID.shape_zyx), low)


def test_a_spur_hides_no_node() -> None:
    ball = ellipsoid((40.0, 25.0, 40.0), (10.0, 10.0, 10.0))
    spur = np.zeros(GRID.shape_zyx, dtype=bool)
    spur[20:22, 88:92, 50:110] = True  # 2 mm x 48 mm, through the middle and above it

    ((node,), _) = nodes_of(mask_of_array(SPEC, ball | spur), GRID, ignore_below_mm=5.0)

    assert node.short_axis.length_mm == pytest.approx(20.0, abs=0.8)
    assert node.enlarged


def test_nodes_that_a_bridge_joins_are_two() -> None:
    _, y, x = positions()
    plates = np.zeros(GRID.shape_zyx, dtype=bool)
    for left_mm in (30.0, 46.0):
        plates[10:20] |= ((abs(x - left_mm) <= 4.0) & (abs(y - 25.0) <= 7.0))[10:20]
    plates[14] |= ((x >= 30.0) & (x <= 46.0) & (abs(y - 25.0) <= 1.0))[14]

    nodes, ignored = nodes_of(mask_of_array(SPEC, plates), GRID, ignore_below_mm=5.0)

    assert ignored == 0
    assert [node.short_axis.length_mm for node in nodes] == pytest.approx([10.3, 10.3], abs=0.6)
    assert sum(node.volume_cc for node in nodes) == pytest.approx(plates.sum() * GRID.voxel_cc)


@pytest.mark.parametrize("pixel_mm", [0.5, 0.875, 1.0])
@pytest.mark.parametrize("body", [body for body in BODIES if body.name in {"ball", "dumbbell", "ellipsoid"}])
def test_bodies_are_measured_as_they_are(body: Body, pixel_mm: float) -> None:
    mask, grid = body.on_grid((1.0, pixel_mm, pixel_mm), turn_rad=0.4, shift=np.array([0.2, -0.3, 0.1]))

    nodes, _ = nodes_of(RoiMask(body.spec, mask, (0, 0, 0)), grid, ignore_below_mm=0.0)

    assert len(nodes) == body.nodes
    stub_mm = 0.8 if body.name == "dumbbell" else 0.0
    for node in nodes:
        assert node.long_axis.length_mm == pytest.approx(body.long_mm, abs=0.7 + stub_mm)
        assert node.short_axis.length_mm == pytest.approx(body.short_mm, abs=0.7)


def test_axes_stay_inside_a_bent_node() -> None:
    _, y, x = positions()
    radius, angle = np.hypot(x - 48.0, y - 25.0), np.degrees(np.arctan2(y - 25.0, x - 48.0))
    mask = (abs(radius - 14.0) <= 3.0) & (angle > 15.0) & (angle < 165.0)
    mask[:8] = mask[16:] = False

    ((node,), _) = nodes_of(mask_of_array(SPEC, mask), GRID, ignore_below_mm=5.0)

    assert node.long_axis.length_mm == pytest.approx(2 * math.sqrt(17.0**2 - 11.0**2), abs=1.0)
    for axis in (node.long_axis, node.short_axis):
        ends = GRID.to_index_zyx(np.asarray(axis.ends_lps_mm))
        inner = np.round(ends[0] + np.linspace(0.05, 0.95, 50)[:, None] * (ends[1] - ends[0])).astype(int)
        assert mask[tuple(inner.T)].mean() >= 0.9


def test_the_diameter_is_of_the_largest_piece() -> None:
    ball = ellipsoid((40.0, 25.0, 40.0), (9.0, 9.0, 9.0))
    far = ball.copy()
    far[2, 95, 115] = True

    alone, both = (shape_of(mask, GRID.spacing_zyx_mm) for mask in (ball, far))

    assert (alone.pieces, both.pieces) == (1, 2)
    assert both.diameter_mm == alone.diameter_mm
    assert both.volume_cc > alone.volume_cc


def test_parts_that_touch_at_a_corner_are_one_node() -> None:
    mask = np.zeros(GRID.shape_zyx, dtype=bool)
    mask[5:8, 20:40, 20:40] = mask[8:11, 40:60, 40:60] = True

    nodes, _ = nodes_of(mask_of_array(SPEC, mask), GRID, ignore_below_mm=0.0)

    assert len(nodes) == 1


def test_one_voxel_has_its_own_size() -> None:
    mask = np.zeros(GRID.shape_zyx, dtype=bool)
    mask[4, 5, 6] = True

    ((node,), _) = nodes_of(mask_of_array(SPEC, mask), GRID, ignore_below_mm=0.0)

    assert node.long_axis.length_mm == pytest.approx(0.8)
    assert node.short_axis.length_mm == pytest.approx(0.5)
    assert node.volume_cc == pytest.approx(2.0 * 0.5 * 0.8 / 1000)


@pytest.mark.parametrize(
    ("slice_mm", "pixel_mm", "volume_share", "diameter_mm"),
    [(1.0, 0.5, 0.01, 0.4), (2.0, 0.7, 0.015, 0.5), (3.0, 1.0, 0.03, 0.6), (6.0, 0.8, 0.05, 1.0)],
)
def test_a_ball_of_20_mm_measures_20_mm_on_any_grid(
    slice_mm: float, pixel_mm: float, volume_share: float, diameter_mm: float
) -> None:
    mask, _ = BODIES[0].on_grid((slice_mm, pixel_mm, pixel_mm), turn_rad=0.3, shift=np.array([0.3, -0.2, 0.45]))

    found = shape_of(mask, (slice_mm, pixel_mm, pixel_mm))

    assert found.volume_cc == pytest.approx(4 / 3 * math.pi, rel=volume_share)
    assert found.surface_cm2 == pytest.approx(4 * math.pi, rel=0.03)
    assert found.diameter_mm == pytest.approx(20.0, abs=diameter_mm)
    assert 0.96 < found.regularity <= 1.0


def test_flat_ends_lie_half_way_to_the_empty_slice() -> None:
    box = np.zeros((14, 40, 40), dtype=np.bool_)
    box[2:12, 10:30, 10:30] = True

    found = shape_of(box, (2.0, 0.5, 0.8))

    assert found.volume_cc == pytest.approx(20 * 10 * 16 / 1000, rel=0.03)


@pytest.mark.parametrize("voxels", [(1, 1, 1), (1, 3, 1), (2, 1, 1), (1, 12, 12)])
def test_pieces_of_a_few_voxels_have_a_shape(voxels: tuple[int, int, int]) -> None:
    found = shape_of(np.ones(voxels, dtype=np.bool_), (2.0, 0.5, 0.8))

    assert 0.15 < found.volume_cc / (math.prod(voxels) * 2.0 * 0.5 * 0.8 / 1000) < 1.01
    assert found.diameter_mm == pytest.approx(
        math.hypot(*(n * mm for n, mm in zip(voxels, (2.0, 0.5, 0.8), strict=True))), rel=0.3
    )


def test_an_empty_roi_has_no_measures_and_an_unknown_one_is_named() -> None:
    empty = mask_of_array(SPEC, np.zeros(GRID.shape_zyx, dtype=bool))

    assert measure(NODES, [empty], GRID).nodes == ()
    assert measure(MeasurementRule(MeasurementKind.SHAPE, SPEC.name), [empty], GRID).shape is None
    with pytest.raises(KeyError, match="GTVx"):
        measure(MeasurementRule(MeasurementKind.SHAPE, "GTVx"), [empty], GRID)
