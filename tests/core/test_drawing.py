"""Contours of anybody's structure set become the voxels they enclose; what encloses none is counted with its reason."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.drawing import draw_roi
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, FloatArray, Grid
from npc_contour.domain.structures import ReadContour, ReadRoi
from npc_contour.domain.volumes import Volume

GRID = Grid((8, 40, 40), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")
POSITIONS = GRID.to_patient_mm(np.array([[index, 0, 0] for index in range(8)]))
VOLUME = Volume(np.zeros(GRID.shape_zyx, dtype=np.int16), GRID, tuple(f"1.{n}" for n in range(8)), POSITIONS)


def box(low: float, high: float, z_mm: float = 9.0, kind: str = "CLOSED_PLANAR", *, turn: int = 0) -> ReadContour:
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    points = np.roll(np.column_stack([corners, np.full(4, z_mm)]), turn, axis=0)
    return ReadContour(kind, points, ())


def roi(*contours: ReadContour) -> ReadRoi:
    return ReadRoi(1, "A", "", (255, 0, 0), "", "1.2.3", None, contours)


def area(*contours: ReadContour) -> int:
    mask = draw_roi(roi(*contours), VOLUME).mask
    assert not np.delete(mask, 3, axis=0).any()
    return int(mask[3].sum())


def test_contours_of_a_slice_unite_unless_one_lies_in_another() -> None:
    assert area(box(4.5, 14.5)) == 100
    assert area(box(4.5, 14.5), box(4.5, 14.5)) == 100
    assert area(box(4.5, 14.5), box(4.5, 14.5, turn=2)) == 100
    assert area(box(4.5, 14.5), box(9.5, 19.5)) == 175
    assert area(box(4.5, 14.5), box(6.5, 12.5)) == 64
    assert area(box(6.5, 12.5), box(4.5, 14.5), box(8.5, 10.5)) == 68
    assert area(box(4.5, 14.5), box(20.5, 25.5)) == 125


def test_a_hole_that_touches_its_ring_stays_a_hole() -> None:
    assert area(box(4.5, 14.5), box(4.501, 9.5)) == 75


def test_xor_contours_combine_by_exclusive_or() -> None:
    kind = "CLOSEDPLANAR_XOR"
    assert area(box(4.5, 14.5, kind=kind), box(9.5, 19.5, kind=kind)) == 150


def test_what_encloses_nothing_is_counted_with_its_reason() -> None:
    upright = ReadContour("CLOSED_PLANAR", np.array([[5.0, 5, 3], [15, 5, 3], [15, 5, 15], [5, 5, 15]]), ())
    line = ReadContour("CLOSED_PLANAR", np.array([[5.0, 5, 9], [15, 5, 9]]), ())
    point = ReadContour("POINT", np.array([[5.0, 5, 9]]), ())
    contours = [box(4.5, 14.5), upright, line, point, box(1.5, 3.5, kind="OPEN_PLANAR"), box(1.5, 3.5, kind="")]

    drawn = draw_roi(roi(*contours, box(4.5, 9.5, z_mm=50.0), box(-9.5, -4.5), box(1.5, 3.5, z_mm=10.0)), VOLUME)

    assert drawn.drawn == 1
    assert drawn.mask.sum() == 100
    assert drawn.left_out == {
        "across the slices": 1,
        "of fewer than 3 points": 1,
        "points": 1,
        "OPEN_PLANAR": 1,
        "without a type": 1,
        "outside the images": 1,
        "beside the images": 1,
        "between slices, with others nearer to them": 1,
    }


def test_a_contour_beside_its_slice_is_drawn_on_it_and_the_distance_is_told() -> None:
    drawn = draw_roi(roi(box(4.5, 14.5, z_mm=10.0), box(4.5, 14.5, z_mm=12.0)), VOLUME)

    assert (drawn.drawn, drawn.left_out) == (2, {})
    assert drawn.off_plane_mm == pytest.approx(1.0)


def disk(radius: float, z_mm: float) -> ReadContour:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    points: FloatArray = np.column_stack([20 + radius * np.cos(angle), 20 + radius * np.sin(angle), np.full(90, z_mm)])
    return ReadContour("CLOSED_PLANAR", points, ())


def test_every_second_slice_is_filled_where_it_is_asked_for() -> None:
    every_second = roi(disk(6, 3.0), disk(10, 9.0), disk(14, 15.0))

    plain, filled = draw_roi(every_second, VOLUME), draw_roi(every_second, VOLUME, fill_between=True)

    assert (plain.gaps, plain.filled) == (2, 0)
    assert (filled.gaps, filled.filled) == (0, 2)
    for index, radius in ((2, 8.0), (4, 12.0)):
        assert np.sqrt(filled.mask[index].sum() / np.pi) == pytest.approx(radius, abs=0.5)
    np.testing.assert_array_equal(filled.mask[3], plain.mask[3])
