"""How long to wait before something that failed is tried again."""

from __future__ import annotations

_DOUBLINGS = 60
"""Beyond these nothing but the longest pause is left, and a number that no float holds."""


def pause_s(first_s: float, failures: int, longest_s: float) -> float:
    """Return a pause that doubles with each failure, in seconds.

    Args:
        first_s: after none.
        failures: before this pause, beside the one that it follows.
        longest_s: it grows no further.
    """
    return min(first_s * 2.0 ** min(failures, _DOUBLINGS), longest_s)
