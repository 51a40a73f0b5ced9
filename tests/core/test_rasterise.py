"""A voxel is inside when its centre is: even-odd, by the slices' own planes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from npc_contour.core.rasterise import rasterise_roi
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid
from npc_contour.domain.volumes import Volume
from npc_testkit.rtstructs import on_grid

GRID = Grid((4, 30, 40), (2.5, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")


def volume() -> Volume:
    positions = GRID.to_patient_mm(np.array([[z, 0, 0] for z in range(4)]))
    return Volume(np.zeros(GRID.shape_zyx, np.int16), GRID, ("1.1", "1.2", "1.3", "1.4"), positions)


def polygon(corners_xy: FloatArray, *, z_mm: float = 2.5) -> FloatArray:
    return np.column_stack([corners_xy, np.full(len(corners_xy), z_mm)])


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 12), st.integers(0, 10_000))
def test_a_star_shape_is_filled_like_matplotlib_fills_it(corners: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(corners)) * 2 * np.pi
    radii = 3 + 15 * rng.random(corners)
    outline = np.column_stack([20 + radii * np.cos(angles), 15 + radii * np.sin(angles)])

    mask = on_grid(rasterise_roi([polygon(outline)], volume()), GRID)

    y, x = np.indices((30, 40))
    inside = Outline(np.vstack([outline, outline[:1]]), closed=True).contains_points(
        np.column_stack([x.ravel(), y.ravel()])
    )
    # Star shapes of random angles may wind outside in: matplotlib counts windings, we count crossings.
    if np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() < np.pi:
        np.testing.assert_array_equal(mask[1], inside.reshape(30, 40))


def test_a_box_between_centres_is_exact() -> None:
    box = np.array([[3.5, 2.5], [9.5, 2.5], [9.5, 7.5], [3.5, 7.5]])

    mask = on_grid(rasterise_roi([polygon(box)], volume()), GRID)

    expected = np.zeros(GRID.shape_zyx, dtype=np.bool_)
    expected[1, 3:8, 4:10] = True
    np.testing.assert_array_equal(mask, expected)


def test_an_inner_contour_is_a_hole() -> None:
    outer = np.array([[3.5, 2.5], [12.5, 2.5], [12.5, 12.5], [3.5, 12.5]])
    inner = np.array([[5.5, 5.5], [8.5, 5.5], [8.5, 8.5], [5.5, 8.5]])

    mask = on_grid(rasterise_roi([polygon(outer), polygon(inner)], volume()), GRID)

    assert mask.sum() == 90 - 9


def test_what_reaches_over_the_border_is_cut() -> None:
    outside = np.array([[-20.0, -20.0], [80.0, -20.0], [80.0, 80.0], [-20.0, 80.0]])

    mask = on_grid(rasterise_roi([polygon(outside)], volume()), GRID)

    assert mask[1].all()
    assert mask.sum() == mask[1].sum()


def test_a_contour_beyond_the_stack_is_on_no_slice() -> None:
    box = np.array([[3.5, 2.5], [9.5, 2.5], [9.5, 7.5]])

    raster = rasterise_roi([polygon(box, z_mm=60.0), polygon(box, z_mm=-1.3)], volume())

    np.testing.assert_array_equal(raster.slice_indices, [-1, -1])
    assert not raster.mask.any()


def test_distance_from_the_plane_is_measured() -> None:
    tilted = np.array([[3.5, 2.5, 2.5], [9.5, 2.5, 2.5], [9.5, 7.5, 3.0]])

    assert rasterise_roi([tilted], volume()).off_plane_mm == pytest.approx(0.5)


def test_planes_need_not_be_even() -> None:
    positions = np.array([[0, 0, 0.0], [0, 0, 2.0], [0, 0, 5.0], [0, 0, 7.5]])
    uneven = replace(volume(), slice_positions_lps_mm=positions)
    box = np.array([[3.5, 2.5], [9.5, 2.5], [9.5, 7.5]])

    raster = rasterise_roi([polygon(box, z_mm=z) for z in (0.0, 2.0, 5.0, 7.5)], uneven)

    np.testing.assert_array_equal(raster.slice_indices, [0, 1, 2, 3])
    assert raster.off_plane_mm == 0


def test_contours_on_planes_between_slices_do_not_cancel_each_other() -> None:
    box = np.array([[3.5, 2.5], [9.5, 2.5], [9.5, 7.5], [3.5, 7.5]])
    hole = np.array([[5.5, 3.5], [6.5, 3.5], [6.5, 4.5], [5.5, 4.5]])
    planes = [polygon(box, z_mm=z) for z in (1.5, 2.0, 2.6, 3.2)] + [polygon(hole, z_mm=2.6)]

    raster = rasterise_roi(planes, volume())

    np.testing.assert_array_equal(raster.slice_indices, [-1, -1, 1, -1, 1])
    assert raster.mask.sum() == 30 - 1
