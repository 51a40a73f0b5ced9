"""Resampling equals scipy's, which is nnU-Net's and scikit-image's."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from npc_contour.core.resampling import axis_band, resample, resampled_shape

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
    # 0.78125 / 1.5 is a little more than 25 / 48, so that half a voxel is rounded up: by nnU-Net's own order.
    assert resampled_shape((1, 120, 216), (1.0, 0.78125, 0.78125), (1.0, 1.5, 1.5)) == (1, 63, 113)
