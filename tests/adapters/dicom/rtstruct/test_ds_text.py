"""Contour Data is short decimal text: at most 16 characters a number, at most 65,534 bytes a contour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from npc_contour.adapters.dicom.rtstruct.ds_text import MAX_VALUE_BYTES, contour_data

coordinates = st.floats(-99_000, 99_000, allow_nan=False)


@settings(deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(2, 6), st.just(3)), elements=coordinates))
def test_numbers_come_back_within_half_a_micrometre(points: np.ndarray) -> None:
    numbers = contour_data(points).split(b"\\")

    assert max(map(len, numbers)) <= 16
    np.testing.assert_allclose(np.array([float(number) for number in numbers]), points.ravel(), atol=5.0001e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0001, b"0"),
        (0.5, b"0.5"),
        (-0.05, b"-0.05"),
        (10.0, b"10"),
        (-412.5, b"-412.5"),
        (1e-3, b"0.001"),
    ],
)
def test_numbers_are_as_short_as_they_can_be(value: float, text: bytes) -> None:
    assert contour_data(np.array([[value, 7.25, 0.0], [1.0, 1.5, 2.0]])).split(b"\\")[0] == text


def test_a_plane_keeps_six_decimals() -> None:
    points = np.array([[1.23456, 2.0, -405.123457], [2.0, 3.0, -405.123457], [4.0, 3.0, -405.123457]])

    assert contour_data(points).split(b"\\")[:3] == [b"1.235", b"2", b"-405.123457"]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 100_000.0])
def test_what_is_no_position_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="beyond"):
        contour_data(np.array([[wrong, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]))


def test_a_contour_too_long_for_explicit_vr_is_refused() -> None:
    points = np.random.default_rng(0).uniform(-999, 999, (4000, 3))

    with pytest.raises(ValueError, match=f"holds {MAX_VALUE_BYTES}"):
        contour_data(points)
