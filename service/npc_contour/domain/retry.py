"""When something that failed is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_DOUBLINGS = 60
"""Beyond these nothing but the longest pause is left, and a number that no float holds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses that double with each failure, and an end.

    Attributes:
        first_s: pause after the first failure.
        longest_s: pauses grow no further.
        tries: it is given up after so many; None counts none.
        within_h: it is given up when the next try would be later than so many hours after the beginning; None waits for
            ever.
    """

    first_s: float
    longest_s: float
    tries: int | None = None
    within_h: float | None = None

    def pause(self, failures: int) -> timedelta:
        """Return the pause after so many failures, one at least."""
        return timedelta(seconds=min(self.first_s * 2.0 ** min(failures - 1, _DOUBLINGS), self.longest_s))

    def next_try(self, failures: int, now: datetime, since: datetime | None = None) -> datetime | None:
        """Return when it is tried again; None where it is given up.

        Args:
            failures: so far, the one just now included.
            now: the time.
            since: when it began; None does not look at `within_h`.
        """
        at = now + self.pause(failures)
        if self.tries is not None and failures >= self.tries:
            return None
        if self.within_h is not None and since is not None and at - since > timedelta(hours=self.within_h):
            return None
        return at
