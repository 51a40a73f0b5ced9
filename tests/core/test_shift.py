"""Phases that lie apart are found by their bones, to a millimetre, whatever contrast and grids do; turned heads too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from npc_contour.core.shift import find_shift
from npc_contour.domain.geometry import Grid, Vec3
from npc_contour.domain.volumes import Volume
from npc_phantom import Phantom, PhantomOptions, draw, render

SHIFT_MM = 9.0


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    patient = draw(4, PhantomOptions(matrix=192, slice_spacing_mm=4.0, phase_shift_mm=SHIFT_MM))
    return render(patient, patient.grid())


@pytest.fixture(scope="module")
def still() -> Phantom:
    """A patient who did not move between the phases."""
    patient = draw(4, PhantomOptions(matrix=192, slice_spacing_mm=4.0, phase_shift_mm=0.0))
    return render(patient, patient.grid())


def volume(hu: np.ndarray, grid: Grid) -> Volume:
    slices = hu.shape[0]
    positions = grid.to_patient_mm([(i, 0, 0) for i in range(slices)])
    return Volume(hu, replace(grid, shape_zyx=hu.shape), tuple(f"1.{i}" for i in range(slices)), positions)


def test_the_shift_of_the_contrast_phase_is_found(phantom: Phantom) -> None:
    found = find_shift(volume(phantom.noncontrast_hu, phantom.grid), volume(phantom.contrast_hu, phantom.grid))

    assert found.largest_mm == pytest.approx(SHIFT_MM, abs=1.0)
    assert "contrast_ct lies up to" in found.text("contrast_ct", "planning_ct")


def test_a_series_that_lies_in_place_is_in_place_on_any_grid(phantom: Phantom) -> None:
    planning = volume(phantom.noncontrast_hu, phantom.grid)
    z, y, x = phantom.grid.spacing_zyx_mm
    thinned = replace(phantom.grid, spacing_zyx_mm=(2 * z, y, x))
    other = volume(np.ascontiguousarray(phantom.noncontrast_hu[::2]), thinned)

    assert find_shift(planning, planning).largest_mm < 0.1
    assert find_shift(planning, other).largest_mm < 1.5


def test_a_grid_that_says_where_it_lies_takes_the_shift_back(phantom: Phantom) -> None:
    planning = volume(phantom.noncontrast_hu, phantom.grid)
    x, y, z = phantom.grid.origin_lps_mm
    moved = volume(phantom.noncontrast_hu, replace(phantom.grid, origin_lps_mm=(x + 6.0, y - 3.0, z + 8.0)))

    found = find_shift(planning, moved)

    assert found.upper is not None
    assert found.upper.shift_lps_mm == pytest.approx((6.0, -3.0, 8.0), abs=0.8)
    assert found.upper.turn_deg < 0.5


def test_a_head_that_moved_alone_shows_in_the_upper_half_only(phantom: Phantom) -> None:
    hu = phantom.noncontrast_hu.copy()
    half = len(hu) // 2
    hu[half:] = np.roll(hu[half:], 4, axis=1)

    found = find_shift(volume(phantom.noncontrast_hu, phantom.grid), volume(hu, phantom.grid))

    assert found.upper is not None
    assert found.lower is not None
    assert found.upper.shift_lps_mm[1] == pytest.approx(4 * phantom.grid.spacing_zyx_mm[1], abs=1.0)
    assert found.lower.largest_mm < 1.0


@pytest.mark.parametrize(
    ("turn_deg", "shift_lps_mm"),
    [((4.0, 0.0, 0.0), (0, 0, 0)), ((0.0, 0.0, -8.0), (0, 0, 0)), ((2.0, -3.0, 5.0), (6.0, -10.0, 4.0))],
    ids=["nodded", "turned in place", "turned and moved"],
)
def test_a_patient_who_turned_is_found_with_the_angle(still: Phantom, turn_deg: Vec3, shift_lps_mm: Vec3) -> None:
    move = Rotation.from_euler("xyz", turn_deg, degrees=True)
    turned = resampled(still, move, shift_lps_mm)

    found = find_shift(volume(still.noncontrast_hu, still.grid), volume(turned, still.grid))

    angle = float(np.rad2deg(move.magnitude()))
    assert found.upper is not None
    assert found.lower is not None
    assert [found.upper.turn_deg, found.lower.turn_deg] == pytest.approx([angle, angle], abs=0.6)
    assert found.largest_mm > 3.0
    assert f"turned by {found.upper.turn_deg:.1f} degrees" in found.text("contrast_ct", "planning_ct")


def test_the_turn_alone_is_said_where_no_shift_is(still: Phantom) -> None:
    """A head that turned about the middle of its bones has no shift at all, and yet ears that lie elsewhere."""
    turned = resampled(still, Rotation.from_euler("z", 5.0, degrees=True), (0, 0, 0))

    found = find_shift(volume(still.noncontrast_hu, still.grid), volume(turned, still.grid))

    assert found.upper is not None
    assert np.linalg.norm(found.upper.shift_lps_mm) < 0.6 * found.upper.largest_mm


def resampled(phantom: Phantom, turn: Rotation, shift_lps_mm: Vec3) -> npt.NDArray[np.int16]:
    """The contrast phase turned about the middle of the grid and shifted."""
    hu = phantom.contrast_hu
    to_xyz = np.eye(3)[::-1] * np.sign(np.diag(np.asarray(phantom.grid.direction_lps)[::-1]))
    back = turn.inv().as_matrix()
    scale = np.diag(np.asarray(phantom.grid.spacing_zyx_mm))
    matrix = np.linalg.inv(scale) @ to_xyz.T @ back @ to_xyz @ scale
    middle = (np.asarray(hu.shape) - 1) / 2
    shift = np.linalg.inv(scale) @ to_xyz.T @ np.asarray(shift_lps_mm, dtype=float)
    moved = ndimage.affine_transform(hu, matrix, middle - matrix @ (middle + shift), order=1, cval=-1000)
    return np.asarray(moved, dtype=np.int16)


def test_without_bone_nothing_is_said(phantom: Phantom) -> None:
    soft = np.minimum(phantom.noncontrast_hu, 100).astype(np.int16)

    found = find_shift(volume(soft, phantom.grid), volume(soft, phantom.grid))

    assert (found.upper, found.lower, found.largest_mm) == (None, None, 0.0)
