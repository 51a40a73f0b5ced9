"""A mask's contours enclose exactly the mask's pixel centres, holes included, and lie on the slices' own planes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from npc_contour.core.contouring import ContourOptions, contour_roi
from npc_contour.core.labels import mask_of_array
from npc_contour.core.rasterise import rasterise_roi
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3
from npc_contour.domain.profiles import ContourSource, Holes
from npc_contour.domain.structures import InterpretedType, Roi, RoiSpec
from npc_contour.domain.volumes import Volume
from npc_testkit.crossings import mask_with_crossings
from npc_testkit.rtstructs import on_grid, spec

Mask = npt.NDArray[np.bool_]
masks = arrays(np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))

TARGET = RoiSpec("Target", InterpretedType.GTV, "tiny", frozenset({1}), (255, 0, 0))

OBLIQUE: tuple[Vec3, Vec3, Vec3] = ((0.6, 0.0, 0.8), (0.0, 1.0, 0.0), (0.8, 0.0, -0.6))


def volume_of(shape: tuple[int, int, int], *, directions: tuple[Vec3, Vec3, Vec3] = HEAD_FIRST_SUPINE) -> Volume:
    grid = Grid(shape, (3.0, 0.9, 0.7), (-31.4, 12.3, -405.0), directions, "1.2.3")
    positions = grid.to_patient_mm(np.array([[z, 0, 0] for z in range(shape[0])]))
    return Volume(np.zeros(shape, np.int16), grid, tuple(f"1.2.3.{z}" for z in range(shape[0])), positions)


def contoured(mask: Mask, volume: Volume, options: ContourOptions | None = None) -> Roi:
    return contour_roi(mask_of_array(spec("Roi"), mask), volume, options or ContourOptions())


def read_back(roi: Roi, volume: Volume) -> Mask:
    polygons = [contour.points_lps_mm.round(3) for contour in roi.contours]
    return on_grid(rasterise_roi(polygons, volume), volume.grid)


def area_mm2(points: npt.NDArray[np.float64]) -> float:
    """Signed, positive where a ring runs clockwise on the displayed image (x right, y down)."""
    x, y = points[:, 0], points[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


@settings(deadline=None, max_examples=150)
@given(masks, st.sampled_from(list(Holes)))
def test_any_mask_comes_back_exactly(mask: Mask, holes: Holes) -> None:
    volume = volume_of(mask.shape)

    roi = contoured(mask, volume, ContourOptions(holes=holes))

    np.testing.assert_array_equal(read_back(roi, volume), mask)


@settings(deadline=None, max_examples=60)
@given(masks)
def test_thinning_within_a_third_of_a_pixel_changes_no_voxel(mask: Mask) -> None:
    volume = volume_of(mask.shape)

    roi = contoured(mask, volume, ContourOptions(thin_mm=0.33 * 0.7))

    np.testing.assert_array_equal(read_back(roi, volume), mask)


@settings(deadline=None, max_examples=60)
@given(masks)
def test_every_contour_has_an_area_and_no_repeated_neighbours(mask: Mask) -> None:
    volume = volume_of(mask.shape)

    for contour in contoured(mask, volume).contours:
        points = contour.points_lps_mm
        assert len(points) >= 3
        assert area_mm2(points) > 0
        assert (np.abs(points - np.roll(points, 1, axis=0)).max(axis=1) > 1e-6).all()


def test_one_voxel_is_a_diamond_inside_its_pixel() -> None:
    mask = np.zeros((1, 5, 5), dtype=np.bool_)
    mask[0, 2, 3] = True
    volume = volume_of(mask.shape)

    (contour,) = contoured(mask, volume).contours

    centre = volume.grid.to_patient_mm((0, 2, 3))
    reach = 0.495 * np.array([[0, -0.9], [0.7, 0], [0, 0.9], [-0.7, 0]])
    np.testing.assert_allclose(contour.points_lps_mm[:, :2], centre[:2] + reach, atol=1e-9)


def test_a_hole_is_part_of_the_ring_around_it() -> None:
    mask = np.zeros((1, 9, 11), dtype=np.bool_)
    mask[0, 1:8, 1:10] = True
    mask[0, 3:5, 4:6] = mask[0, 6, 7] = False
    volume = volume_of(mask.shape)

    keyhole = contoured(mask, volume).contours
    parity = contoured(mask, volume, ContourOptions(holes=Holes.PARITY)).contours

    assert len(keyhole) == 1
    assert len(parity) == 3
    assert sorted(area_mm2(contour.points_lps_mm) > 0 for contour in parity) == [False, False, True]
    assert area_mm2(keyhole[0].points_lps_mm) == pytest.approx(sum(area_mm2(c.points_lps_mm) for c in parity))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hole_is_joined_to_the_nearer_side(*, mirrored: bool) -> None:
    mask = np.zeros((1, 9, 40), dtype=np.bool_)
    mask[0, 1:8, 2:38] = True
    mask[0, 4, 34:36] = False
    volume = volume_of(mask.shape)

    (contour,) = contoured(mask[:, :, ::-1] if mirrored else mask, volume).contours

    points = [tuple(point) for point in contour.points_lps_mm.round(6)[:, :2]]
    edges = set(zip(points, [*points[1:], points[0]], strict=True))
    there_and_back = [np.subtract(a, b) for a, b in edges if (b, a) in edges]
    assert there_and_back, "a keyhole goes one way twice"
    assert max(np.abs(way).max() for way in there_and_back) < 4


@pytest.mark.parametrize("seed", range(6))
def test_many_holes_all_end_in_an_outer_ring(seed: int) -> None:
    mask = np.random.default_rng(seed).random((1, 40, 50)) < 0.75
    volume = volume_of(mask.shape)

    roi = contoured(mask, volume)

    assert len(roi.contours) == label(mask[0])[1], "one a piece, islands in holes included"
    np.testing.assert_array_equal(read_back(roi, volume), mask)


def test_a_region_with_more_holes_than_a_contour_has_points_for_is_cut_in_strips() -> None:
    mask = np.zeros((3, 64, 64), dtype=np.bool_)
    mask[1:, 2:62, 2:62] = True
    mask[1, 4:60:3, 4:60:3] = False  # 361 pin holes, of about ten points each
    volume = volume_of(mask.shape)

    roi = contoured(mask, volume, ContourOptions(max_points=1000))

    np.testing.assert_array_equal(read_back(roi, volume), mask)
    assert max(len(contour.points_lps_mm) for contour in roi.contours) <= 1000
    slices = [contour.slice_index for contour in roi.contours]
    assert slices.count(1) == 8
    assert slices.count(2) == 1


def test_nested_rings_keep_their_holes() -> None:
    y, x = np.indices((41, 41)) - 20
    radius = np.hypot(y, x)
    mask = ((radius < 19) & (radius > 14) | (radius < 9) & (radius > 4))[np.newaxis]
    volume = volume_of(mask.shape)

    roi = contoured(mask, volume)

    assert len(roi.contours) == 2
    np.testing.assert_array_equal(read_back(roi, volume), mask)


def test_a_disc_has_the_area_of_its_circle() -> None:
    y, x = np.indices((201, 201)) - 100
    mask = (np.hypot(y, x) < 80.3)[np.newaxis]
    volume = volume_of(mask.shape)

    (contour,) = contoured(mask, volume).contours

    assert area_mm2(contour.points_lps_mm) == pytest.approx(np.pi * 80.3**2 * 0.9 * 0.7, rel=0.002)


def test_touching_corners_give_two_contours() -> None:
    mask = np.zeros((1, 4, 4), dtype=np.bool_)
    mask[0, 1, 1] = mask[0, 2, 2] = True

    assert len(contoured(mask, volume_of(mask.shape)).contours) == 2


def test_volume_counts_voxels_and_empty_masks_have_no_contour() -> None:
    mask = np.zeros((2, 4, 4), dtype=np.bool_)
    volume = volume_of(mask.shape)
    empty = contoured(mask, volume)
    mask[1, 1:3, 1:4] = True

    full = contoured(mask, volume)

    assert empty.contours == ()
    assert empty.volume_cc == 0
    assert full.volume_cc == pytest.approx(6 * 3.0 * 0.9 * 0.7 / 1000)


def test_contours_lie_on_the_planes_of_an_oblique_stack() -> None:
    mask = np.ones((3, 4, 5), dtype=np.bool_)
    volume = volume_of(mask.shape, directions=OBLIQUE)

    roi = contoured(mask, volume)

    for contour in roi.contours:
        offset = contour.points_lps_mm - volume.slice_positions_lps_mm[contour.slice_index]
        assert np.abs(offset @ np.asarray(OBLIQUE[0])).max() < 1e-9
    np.testing.assert_array_equal(read_back(roi, volume), mask)


def test_each_slice_has_its_own_position() -> None:
    mask = np.ones((3, 4, 5), dtype=np.bool_)
    even = volume_of(mask.shape)
    positions = even.slice_positions_lps_mm + np.array([[0, 0, 0], [0.02, -0.03, 0.4], [0, 0, 0]])
    uneven = replace(even, slice_positions_lps_mm=positions)

    roi = contoured(mask, uneven)

    lowest = [contour.points_lps_mm.min(axis=0) for contour in roi.contours]
    np.testing.assert_allclose(lowest[1] - lowest[0], positions[1] - positions[0], atol=1e-9)
    np.testing.assert_array_equal(read_back(roi, uneven), mask)


def test_a_contour_with_too_many_points_is_thinned_as_little_as_needed() -> None:
    rng = np.random.default_rng(1)
    y, x = np.indices((300, 300)) - 150
    mask = (np.hypot(y, x) < 130 + 1.5 * rng.random((300, 300)))[np.newaxis]
    volume = volume_of(mask.shape)
    whole = contoured(mask, volume)

    thin = contoured(mask, volume, ContourOptions(max_points=400))

    assert max(len(contour.points_lps_mm) for contour in whole.contours) > 600
    assert max(len(contour.points_lps_mm) for contour in thin.contours) <= 400
    assert np.count_nonzero(read_back(thin, volume) != mask) < 0.01 * np.count_nonzero(mask)


@pytest.mark.parametrize("wrong", [{"thin_mm": -0.1}, {"max_points": 3}])
def test_senseless_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ContourOptions(**wrong)  # type: ignore[arg-type]


MARGINS = ContourOptions(source=ContourSource.MARGINS)


@settings(deadline=None, max_examples=80)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)),
        elements=st.floats(-1, 1, width=32).filter(lambda value: value != 0),
    ),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from(list(Holes)),
)
def test_contours_from_margins_enclose_the_same_voxels(
    field: npt.NDArray[np.float64], thin_mm: float, holes: Holes
) -> None:
    volume = volume_of(field.shape)
    roi_mask = mask_with_crossings(TARGET, field, volume.grid)

    roi = contour_roi(roi_mask, volume, replace(MARGINS, thin_mm=thin_mm, holes=holes))

    np.testing.assert_array_equal(read_back(roi, volume), field > 0)


def test_contours_from_margins_run_where_the_field_changes_sign() -> None:
    field = np.full((1, 3, 3), -1.0)
    field[0, 1, 1] = 0.25  # a fifth of the way to each neighbour
    volume = volume_of(field.shape)

    (contour,) = contour_roi(mask_with_crossings(TARGET, field, volume.grid), volume, MARGINS).contours

    reach = 0.2 * np.array([[0, -0.9], [0.7, 0], [0, 0.9], [-0.7, 0]])
    centre = volume.grid.to_patient_mm((0, 1, 1))
    np.testing.assert_allclose(contour.points_lps_mm[:, :2], centre[:2] + reach, atol=0.9 / 254)


def test_a_site_that_wants_masks_gets_them() -> None:
    field = np.full((1, 3, 3), -1.0)
    field[0, 1, 1] = 0.25
    volume = volume_of(field.shape)
    roi_mask = mask_with_crossings(TARGET, field, volume.grid)

    from_masks = contour_roi(roi_mask, volume, ContourOptions())

    expected = contoured(field > 0, volume)
    np.testing.assert_array_equal(from_masks.contours[0].points_lps_mm, expected.contours[0].points_lps_mm)


def test_where_the_network_says_nothing_the_middle_is_taken() -> None:
    mask = np.zeros((1, 5, 5), dtype=np.bool_)
    mask[0, 1:4, 1:4] = True
    volume = volume_of(mask.shape)
    silent = replace(mask_of_array(TARGET, mask), crossings=np.zeros((2, 1, 4, 4), dtype=np.uint8))

    from_margins = contour_roi(silent, volume, MARGINS)

    expected = contoured(mask, volume).contours[0].points_lps_mm
    np.testing.assert_allclose(
        sorted(map(tuple, from_margins.contours[0].points_lps_mm)), sorted(map(tuple, expected)), atol=1e-9
    )


def test_crossings_of_another_shape_are_refused() -> None:
    mask = mask_of_array(spec("Roi"), np.ones((1, 4, 5), dtype=np.bool_))

    with pytest.raises(ValueError, match=r"crossings \(2, 1, 4, 5\), expected \(2, 1, 5, 6\)"):
        replace(mask, crossings=np.zeros((2, 1, 4, 5), np.uint8))
