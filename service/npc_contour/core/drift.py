"""Whether a series of values has shifted, case by case, without a training period: a self-starting CUSUM.

Each value is held against the mean and spread of those before it. That ratio follows Student's distribution while
nothing changes, and so is turned into a normal score (Hawkins, Journal of Quality Technology 19, 1987); two sums of
scores, one for each direction, give the alarm (Page, Biometrika 41, 1954). One outlier cannot: scores are cut. While a
sum is high, values are kept apart, so that a shift is not taken into what it is held against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

from scipy.special import ndtri, stdtr

FIRST_CASES: Final = 20
"""So many values are only learned from."""
HALF_SHIFT: Final = 0.5
"""What each score gives up: half of the shift, in standard deviations, that is found fastest."""
APART_FROM: Final = 3.0
"""From this sum on values are kept apart from what is usual, until it falls again."""
CASES_BETWEEN_FALSE_ALARMS: Final = 1200
"""Were the usual values known beforehand; as they are learned, it is about half (`benchmarks/drift.py`)."""
_CUT: Final = 3.0
_OVERSHOOT: Final = 1.166


@dataclass(frozen=True, slots=True)
class Spread:
    """Number, mean and sum of squared distances from the mean of some values."""

    cases: int = 0
    mean: float = 0.0
    m2: float = 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation; 0 of fewer than two values."""
        return math.sqrt(self.m2 / (self.cases - 1)) if self.cases > 1 else 0.0

    def with_all(self, other: Spread) -> Spread:
        """Return it with the values of another one (Chan, Golub and LeVeque, 1979)."""
        cases, apart = self.cases + other.cases, other.mean - self.mean
        if not cases:
            return self
        m2 = self.m2 + other.m2 + apart**2 * self.cases * other.cases / cases
        return Spread(cases, self.mean + apart * other.cases / cases, m2)


@dataclass(frozen=True, slots=True)
class Shift:
    """A series of values is no longer what it was.

    Attributes:
        deviations: by how many standard deviations, about; negative is downwards.
        cases: since so many values.
    """

    deviations: float
    cases: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual of one series of values, and how far the last ones have gone from it.

    Attributes:
        usual: the values learned from.
        apart: the last values, while a sum is high.
        high: how much speaks for a shift upwards.
        low: how much speaks for a shift downwards.
        high_cases: values since `high` was zero.
        low_cases: values since `low` was zero.
    """

    usual: Spread = field(default_factory=Spread)
    apart: Spread = field(default_factory=Spread)
    high: float = 0.0
    low: float = 0.0
    high_cases: int = 0
    low_cases: int = 0

    @property
    def sum(self) -> float:
        """What speaks for a shift, in the direction for which more does."""
        return max(self.high, self.low)

    def after(self, value: float, least_deviation: float = 0.0) -> Baseline:
        """Return it with one more value.

        Args:
            value: the next one.
            least_deviation: values that hardly differ are taken to have at least this standard deviation.
        """
        score = self._score(value, least_deviation) if self.usual.cases >= FIRST_CASES else 0.0
        high, low = max(0.0, self.high + score - HALF_SHIFT), max(0.0, self.low - score - HALF_SHIFT)
        apart = self.apart.with_all(Spread(1, value))
        is_usual = max(high, low) < APART_FROM
        return replace(
            self,
            usual=self.usual.with_all(apart) if is_usual else self.usual,
            apart=Spread() if is_usual else apart,
            high=high,
            low=low,
            high_cases=self.high_cases + 1 if high else 0,
            low_cases=self.low_cases + 1 if low else 0,
        )

    def shift(self, limit: float) -> Shift | None:
        """Return the shift that the sums tell of; None below the limit."""
        if self.sum < limit:
            return None
        up = self.high >= self.low
        cases = self.high_cases if up else self.low_cases
        deviations = HALF_SHIFT + self.sum / cases
        return Shift(deviations if up else -deviations, cases)

    def _score(self, value: float, least_deviation: float) -> float:
        """Return a value that is normally distributed with variance 1 while nothing changes."""
        usual = self.usual
        spread = max(usual.deviation, least_deviation)
        if not spread:
            return 0.0 if value == usual.mean else math.copysign(_CUT, value - usual.mean)
        ratio = math.sqrt(usual.cases / (usual.cases + 1)) * (value - usual.mean) / spread
        score = -float(ndtri(stdtr(usual.cases - 1, -abs(ratio))))
        return math.copysign(min(score, _CUT), ratio)


def limit_of(series: int) -> float:
    """Return the sum that gives an alarm, chosen for this many series of values that are watched together.

    Source: the run length of a CUSUM in both directions, exp(limit + 1.166) to the leading term with a half shift of
    0.5 (Siegmund, Sequential Analysis, 1985).
    """
    return math.log(CASES_BETWEEN_FALSE_ALARMS * max(1, series)) - _OVERSHOOT
