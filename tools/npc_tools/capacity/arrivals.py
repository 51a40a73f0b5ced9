"""When studies come: a week of one clinic, of a hospital group, of a national service.

Studies come by chance (Poisson) at a rate that follows the hour of the day and the day of the week, and in bursts where
a scanner or PACS sends what it has gathered. The three sites are made up; a site that has a list of its own gives that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npc_tools.capacity.simulation import DAY_S, HOUR_S, Study

WEEK = 7
WORKING_DAYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How studies come to a site.

    Attributes:
        words: what it is, for people.
        per_day: studies of a working day.
        weekend: part of a working day's studies that a Saturday and a Sunday have.
        hours: weight of each of the 24 hours.
        burst: studies that come at one time where one does, on average.
    """

    words: str
    per_day: float
    weekend: float
    hours: tuple[float, ...]
    burst: float


def _day(opens: int, closes: int, peaks: Sequence[int]) -> tuple[float, ...]:
    return tuple(2.0 if hour in peaks else 1.0 if opens <= hour < closes else 0.0 for hour in range(24))


SITES = {
    "clinic": Site(
        words="one clinic, one CT simulator", per_day=8, weekend=0.0, hours=_day(8, 17, (10, 11)), burst=1.0
    ),
    "hospital": Site(
        words="a hospital group of six departments",
        per_day=80,
        weekend=0.1,
        hours=_day(7, 20, (9, 10, 11, 14)),
        burst=1.5,
    ),
    "national": Site(
        words="a national service that many hospitals send to, some of them by night",
        per_day=1200,
        weekend=0.3,
        hours=tuple(0.3 + weight for weight in _day(6, 22, (9, 10, 11, 14, 15))),
        burst=3.0,
    ),
}


def arrivals(site: Site, *, days: int, images: float, images_spread: float, seed: int) -> list[Study]:
    """Return the studies of some days from a Monday on, in order; the same ones for the same seed.

    Args:
        site: how they come.
        days: how many.
        images: of a study, on average.
        images_spread: coefficient of variation of that.
        seed: of chance.
    """
    rng = np.random.default_rng(seed)
    weights = np.asarray(site.hours) / np.sum(site.hours)
    sigma = np.sqrt(np.log1p(images_spread**2))
    found: list[Study] = []
    for day in range(days):
        per_day = site.per_day * (1.0 if day % WEEK < WORKING_DAYS else site.weekend)
        for hour, weight in enumerate(weights):
            for _ in range(rng.poisson(per_day * weight / site.burst)):
                at_s = day * DAY_S + (hour + rng.random()) * HOUR_S
                # Geometric: a burst has at least one study.
                for number in range(int(rng.geometric(1.0 / site.burst))):
                    count = max(1, round(images * rng.lognormal(-(sigma**2) / 2, sigma)))
                    found.append(Study(at_s + number, count))
    return sorted(found, key=lambda study: study.at_s)


def per_day(studies: Sequence[Study], days: float) -> float:
    """Return how many studies come a day, averaged over all days."""
    return len(studies) / days
