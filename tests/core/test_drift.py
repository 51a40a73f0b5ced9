"""A shift of a series of values is found within thirty cases; chance, an outlier, values that never differ are none."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from npc_contour.core.drift import FIRST_CASES, Baseline, Shift, Spread, limit_of

LIMIT = limit_of(1)


def found(values: Iterable[float], limit: float = LIMIT, least: float = 0.0) -> tuple[int, Shift] | None:
    """Return after how many values a shift is told, and which."""
    baseline = Baseline()
    for number, value in enumerate(values, start=1):
        baseline = baseline.after(value, least)
        shift = baseline.shift(limit)
        if shift is not None:
            return number, shift
    return None


@pytest.mark.parametrize("size", [1.5, -1.5, 3.0])
def test_a_shift_is_found_within_thirty_cases_whatever_its_direction(size: float) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(40.0, 4.0, (20, 130))
    values[:, 100:] += 4.0 * size

    told = [found(row, limit_of(50)) for row in values]

    after = [number - 100 for number, _ in filter(None, told)]
    assert len(after) == len(told)
    assert min(after) > 0
    assert max(after) <= 30
    assert all(np.sign(shift.deviations) == np.sign(size) for _, shift in filter(None, told))
    assert np.median([shift.deviations for _, shift in filter(None, told)]) == pytest.approx(size, rel=0.3)


def test_chance_is_no_shift() -> None:
    rng = np.random.default_rng(8)

    assert [found(row, limit_of(50)) for row in rng.normal(size=(40, 250))].count(None) == 40


def test_one_outlier_is_no_shift() -> None:
    rng = np.random.default_rng(9)
    values = rng.normal(40.0, 4.0, 60)
    values[40] = 4000.0

    assert found(values) is None


def test_values_that_never_differ_are_no_shift_until_they_do() -> None:
    assert found([3.0] * 60) is None
    assert found([3.0] * 60 + [3.1] * 30, least=1.0) is None
    number, shift = found([3.0] * 60 + [2.0] * 30, least=0.25) or (0, Shift(0.0, 0))
    assert (number, shift.cases, round(shift.deviations, 6)) == (63, 3, -3.0)


def test_nothing_is_told_before_something_is_usual() -> None:
    assert found([0.0, 100.0] * (FIRST_CASES // 2)) is None


def test_a_shift_is_not_taken_into_what_is_usual() -> None:
    rng = np.random.default_rng(10)
    baseline = Baseline()
    for value in rng.normal(size=100):
        baseline = baseline.after(value)
    before = baseline.usual
    for value in rng.normal(3.0, 1.0, 20):
        baseline = baseline.after(value)

    assert baseline.usual.mean == pytest.approx(before.mean, abs=0.1)
    assert baseline.apart.cases >= 15


def test_spreads_add_up() -> None:
    values = np.random.default_rng(11).normal(5.0, 2.0, 30)
    whole = Spread()
    for value in values:
        whole = whole.with_all(Spread(1, value))

    assert (whole.cases, whole.mean, whole.deviation) == pytest.approx((30, values.mean(), values.std(ddof=1)))


def test_more_series_ask_for_more() -> None:
    assert limit_of(50) > limit_of(1) > 3.0
