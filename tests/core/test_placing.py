"""Masks in any axis order come to the same place in the patient; another place is refused with both named."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from npc_contour.core.placing import described, placement
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.errors import CaseRefused

GRID = Grid((4, 5, 6), (3.0, 1.0, 1.5), (-10.0, -20.0, 30.0), HEAD_FIRST_SUPINE, "1.2")
CUBE = Grid((5, 5, 5), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2")


def stored(grid: Grid, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Grid:
    """The same voxels with axes in another order, some of them running the other way."""
    start = [size - 1 if flip else 0 for size, flip in zip(grid.shape_zyx, flips, strict=True)]
    direction = np.asarray(grid.direction_lps) * np.where(flips, -1.0, 1.0)[:, np.newaxis]
    return Grid(
        tuple(grid.shape_zyx[axis] for axis in axes),  # type: ignore[arg-type]
        tuple(grid.spacing_zyx_mm[axis] for axis in axes),  # type: ignore[arg-type]
        tuple(grid.to_patient_mm(start)),
        tuple(tuple(direction[axis]) for axis in axes),  # type: ignore[arg-type]
        "",
    )


@pytest.mark.parametrize("grid", [GRID, CUBE])
def test_every_storage_order_comes_to_its_place(grid: Grid) -> None:
    array = np.arange(np.prod(grid.shape_zyx)).reshape(grid.shape_zyx)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            kept = np.flip(array, tuple(axis for axis in range(3) if flips[axis])).transpose(axes)

            place = placement(stored(grid, axes, flips), grid)

            np.testing.assert_array_equal(place.apply(kept, grid.shape_zyx), array)


@pytest.mark.parametrize(
    "other",
    [
        replace(GRID, origin_lps_mm=(-10.0, -20.0, 33.0)),
        replace(GRID, spacing_zyx_mm=(3.0, 1.0, 1.6)),
        replace(GRID, shape_zyx=(4, 5, 7)),
        replace(GRID, direction_lps=((0.0, 0.0, 1.0), (-0.2, 0.9798, 0.0), (0.9798, 0.2, 0.0))),
    ],
)  # fmt: skip
def test_another_place_is_refused_with_both_named(other: Grid) -> None:
    with pytest.raises(CaseRefused, match=r"the grids differ: \d x 5 x 4 voxels .*; the CT has 6 x 5 x 4 voxels of"):
        placement(other, GRID)


def test_a_cube_rotated_about_its_centre_is_refused() -> None:
    angle = np.radians(45.0)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    turned = replace(CUBE, direction_lps=((0.0, 0.0, 1.0), (-sin, cos, 0.0), (cos, sin, 0.0)))
    centre = CUBE.to_patient_mm([2, 2, 2]) - (turned.to_patient_mm([2, 2, 2]) - np.asarray(turned.origin_lps_mm))

    with pytest.raises(CaseRefused, match="the grids differ"):
        placement(replace(turned, origin_lps_mm=tuple(centre)), CUBE)


def test_a_part_is_padded_where_it_is_asked_for() -> None:
    part = replace(GRID, shape_zyx=(2, 5, 8), origin_lps_mm=tuple(GRID.to_patient_mm([1, 0, -1])))
    array = np.ones(part.shape_zyx, dtype=np.uint8)

    whole = placement(part, GRID, part=True).apply(array, GRID.shape_zyx)

    assert whole.shape == GRID.shape_zyx
    np.testing.assert_array_equal(whole.any(axis=(1, 2)), [False, True, True, False])
    with pytest.raises(CaseRefused):
        placement(part, GRID)


def test_a_grid_in_words() -> None:
    assert described(GRID) == "6 x 5 x 4 voxels of 1.5 x 1 x 3 mm from (-10.00, -20.00, 30.00) mm, axes L P S"
