"""An RTSTRUCT's points come to lie where they belong on a grid: slice, pixel, volume, and the place to look at."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.overlay import overlay_on
from npc_contour.domain.geometry import Grid
from npc_contour.domain.structures import ReadContour, ReadRoi, ReadStructureSet

GRID = Grid(
    shape_zyx=(10, 40, 50),
    spacing_zyx_mm=(2.5, 1.0, 0.5),
    origin_lps_mm=(-10.0, 20.0, 100.0),
    direction_lps=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    frame_of_reference_uid="1.2",
)


def square(level: float, first: int, size: int) -> ReadContour:
    """A square of `size` pixels in rows and columns from pixel `first`, on a slice."""
    corners = [(level, first + dy, first + dx) for dy, dx in ((0, 0), (0, size), (size, size), (size, 0))]
    return ReadContour("CLOSED_PLANAR", GRID.to_patient_mm(corners), ())


def set_of(*contours: ReadContour, volume_cc: float | None = None) -> ReadStructureSet:
    roi = ReadRoi(1, "Parotid_L", "ORGAN", (1, 2, 3), "", "1.2", volume_cc, contours)
    return ReadStructureSet("SET", "", "", "UNAPPROVED", "1.9", "1.1", ("1.2",), ("1.3",), (), (roi,))


def test_points_lie_on_their_slice_as_columns_and_rows() -> None:
    overlay = overlay_on(set_of(square(3, 5, 10), square(4, 6, 8)), GRID)

    (roi,) = overlay.rois
    assert [(ring.slice_index, ring.start, ring.count) for ring in roi.rings] == [(3, 0, 4), (4, 4, 4)]
    np.testing.assert_allclose(overlay.points_xy[:4], [(5, 5), (15, 5), (15, 15), (5, 15)], atol=1e-4)
    assert roi.off_plane == 0


def test_volume_is_the_files_or_else_that_of_the_rings() -> None:
    contours = (square(3, 5, 10), square(4, 6, 8))

    assert overlay_on(set_of(*contours), GRID).rois[0].volume_cc == pytest.approx((100 + 64) * GRID.voxel_cc)
    assert overlay_on(set_of(*contours, volume_cc=7.5), GRID).rois[0].volume_cc == 7.5


def test_the_place_to_look_at_is_the_largest_contour_whatever_strays_lie_elsewhere() -> None:
    (roi,) = overlay_on(set_of(square(0, 30, 2), square(4, 10, 8), square(5, 10, 6)), GRID).rois

    assert roi.centre_zyx == pytest.approx((4, 14, 14))


def test_contours_between_slices_are_counted_and_those_beyond_left_out() -> None:
    (roi,) = overlay_on(set_of(square(3.4, 5, 10), square(12, 5, 10)), GRID).rois

    assert [ring.slice_index for ring in roi.rings] == [3]
    assert roi.off_plane == 1


def test_an_roi_without_contours_has_no_place() -> None:
    (roi,) = overlay_on(set_of(), GRID).rois

    assert (roi.rings, roi.centre_zyx, roi.volume_cc) == ((), None, 0.0)
