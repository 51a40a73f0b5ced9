"""How soon the site's statistics tell of a shift, and how often they tell of one that is none.

A site with 47 structures and five measures of its cases is simulated: values are normally distributed, in standard
deviations. Detection: after 100 usual cases one series of values shifts by one standard deviation. False alarms: 500
cases of all series together, none of which shifts; an alarm of any counts.

    python benchmarks/drift.py [--sites N] [--seed N]

Prints one line of JSON: {"drift_detect_median_cases", "drift_false_per_500"} and what they were measured on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable

import numpy as np

from npc_contour.core.drift import Baseline, limit_of

SERIES = 52
USUAL_CASES, SHIFT = 100, 1.0
FALSE_CASES, NEVER = 500, 500


def first_alarm(values: Iterable[float], limit: float) -> int | None:
    """Return after how many values a shift is told; None where none is."""
    baseline = Baseline()
    for number, value in enumerate(values, start=1):
        baseline = baseline.after(value)
        if baseline.shift(limit) is not None:
            return number
    return None


def detected_after(rng: np.random.Generator, limit: float) -> int | None:
    """Return how many cases after the shift it was told; None where an alarm came before it."""
    values = rng.normal(size=USUAL_CASES + NEVER)
    values[USUAL_CASES:] += SHIFT
    number = first_alarm(values, limit)
    return NEVER if number is None else number - USUAL_CASES if number > USUAL_CASES else None


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=20, help="sites without a shift (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    limit = limit_of(SERIES)
    after = [found for _ in range(20 * args.sites) if (found := detected_after(rng, limit)) is not None]
    alarms = [first_alarm(row, limit) for row in rng.normal(size=(args.sites * SERIES, FALSE_CASES))]
    result = {
        "drift_detect_median_cases": statistics.median(after),
        "drift_false_per_500": round(sum(one is not None for one in alarms) / args.sites, 2),
        "drift_detect_within_30": round(sum(one <= 30 for one in after) / len(after), 3),
        "series": SERIES,
        "usual_cases": USUAL_CASES,
        "sites": args.sites,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
