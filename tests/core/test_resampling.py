"""Resampling equals scipy's (nnU-Net's, scikit-image's); a second series is found where it lies in the patient."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from npc_contour.core.resampling import axis_band, resample, resample_onto, resampled_shape, same_voxels
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid, Vec3
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused

sizes = st.tuples(*[st.integers(1, 14)] * 3)


@settings(max_examples=40, deadline=None)
@given(source=sizes, target=sizes, order=st.sampled_from([1, 3]), seed=st.integers(0, 2**16))
def test_equals_scipy_zoom(
    source: tuple[int, int, int], target: tuple[int, int, int], order: Literal[1, 3], seed: int
) -> None:
    volume = np.random.default_rng(seed).normal(size=source).astype(np.float32)

    found = resample(volume, target, order=order)

    zoom = [wanted / size for wanted, size in zip(target, source, strict=True)]
    expected = ndimage.zoom(volume.astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    assert found.shape == target
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.clip(expected, volume.min(), volume.max()), atol=2e-5)


@pytest.mark.parametrize("order", [1, 3])
def test_long_axes_equal_scipy_zoom_within_a_thousandth_of_a_hounsfield_unit(order: Literal[1, 3]) -> None:
    volume = np.random.default_rng(1).integers(-1000, 3000, (40, 90, 130)).astype(np.int16)

    found = resample(volume, (61, 43, 57), order=order)

    zoom = [61 / 40, 43 / 90, 57 / 130]
    expected = ndimage.zoom(volume.astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(found, np.clip(expected, volume.min(), volume.max()), atol=3e-3)


def test_rows_of_the_matrix_sum_to_one() -> None:
    for order in (1, 3):
        np.testing.assert_allclose(axis_band(512, 250, order).weights.sum(axis=1), 1.0, atol=1e-6)


def test_same_shape_keeps_every_value() -> None:
    volume = np.random.default_rng(2).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)

    np.testing.assert_allclose(resample(volume, (5, 6, 7), order=3), volume, atol=1e-3)


@pytest.mark.parametrize(("source", "target", "order"), [(0, 3, 1), (3, 0, 1), (3, 3, 2)])
def test_impossible_axis_is_refused(source: int, target: int, order: int) -> None:
    with pytest.raises(ValueError, match="got"):
        axis_band(source, target, order)


def test_shape_is_rounded_half_to_even_as_nnunet_does() -> None:
    assert resampled_shape((5, 7, 1), (1.0, 1.0, 1.0), (2.0, 2.0, 5.0)) == (2, 4, 1)


def grid(shape: tuple[int, int, int], spacing: Vec3, origin: Vec3 = (0.0, 0.0, 0.0), frame: str = "1.2") -> Grid:
    return Grid(shape, spacing, origin, HEAD_FIRST_SUPINE, frame)


def ramp(where: Grid) -> Volume:
    """HU rise linearly with the position in the patient, so that the truth is known on every grid."""
    z, y, x = where.shape_zyx
    index = np.stack(np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij"), axis=-1)
    return Volume(
        np.rint(truth_hu(where.to_patient_mm(index))).astype(np.int16),
        where,
        tuple(f"1.2.{i}" for i in range(z)),
        where.to_patient_mm([(i, 0, 0) for i in range(z)]),
    )


def truth_hu(
    position_lps_mm: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(position_lps_mm @ np.array([3.0, 5.0, 7.0]))


def test_second_series_is_found_where_it_lies_in_the_patient() -> None:
    planning = grid((10, 20, 24), (3.0, 1.0, 1.0), (-5.0, 2.0, 1.0))
    other = ramp(grid((40, 60, 60), (1.0, 1.5, 1.5), (-20.0, -20.0, -4.0)))

    moved = resample_onto(other, planning)

    assert moved.dtype == np.int16
    assert np.abs(moved - ramp(planning).hu).max() <= 1


def test_turned_series_is_found_where_it_lies_in_the_patient() -> None:
    planning = grid((6, 8, 9), (2.0, 1.0, 1.0))
    feet_first = Grid(
        (30, 40, 41), (1.0, 1.0, 1.0), (-15.0, 25.0, 20.0), ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)), "1.2"
    )

    moved = resample_onto(ramp(feet_first), planning)

    assert np.abs(moved - ramp(planning).hu).max() <= 1


def test_outside_the_second_series_is_air() -> None:
    planning = grid((4, 8, 8), (2.0, 2.0, 2.0))
    small = ramp(grid((4, 8, 4), (2.0, 2.0, 2.0)))

    assert np.all(resample_onto(small, planning)[:, :, 4:] == -1024)


def test_equal_grids_share_the_array() -> None:
    volume = ramp(grid((3, 4, 5), (2.0, 1.0, 1.0)))

    assert resample_onto(volume, grid((3, 4, 5), (2.0, 1.0, 1.0), (0.001, 0.0, 0.0))) is volume.hu


def test_grids_that_drift_apart_are_not_the_same() -> None:
    assert not same_voxels(grid((100, 4, 5), (2.0, 1.0, 1.0)), grid((100, 4, 5), (2.001, 1.0, 1.0)))


def test_other_frame_of_reference_is_refused() -> None:
    with pytest.raises(CaseRefused, match=r"two frames of reference, 1\.2 and 1\.3"):
        resample_onto(ramp(grid((3, 4, 5), (1.0, 1.0, 1.0))), grid((3, 4, 5), (1.0, 1.0, 1.0), frame="1.3"))


def test_series_elsewhere_in_the_patient_is_refused() -> None:
    with pytest.raises(CaseRefused, match="do not overlap"):
        resample_onto(ramp(grid((3, 4, 5), (1.0, 1.0, 1.0))), grid((3, 4, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 500.0)))
