"""How far the machines' own clocks are off, for readiness: by the database's clock alone anything is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping

from npc_contour.adapters.workflow.queue import defer
from npc_contour.application.checks import Check
from npc_contour.errors import ClockOffError
from npc_contour.store.database import Store

CLOCK = "clock"
"""Name of the check."""
MAX_AHEAD_S = 2.0
ANSWER_S = 3.0
REMEDY = "let NTP set the clock of every machine, the database's too; nothing is decided by any clock but that one"
_CLOCKS = """
SELECT machine, process, ahead_s FROM machine_clock
WHERE seen_at > clock_timestamp() - interval '2 minutes' ORDER BY abs(ahead_s) DESC
"""
_STEPPED = """
SELECT detail, at FROM event WHERE name = 'clock.stepped' AND at > clock_timestamp() - interval '1 hour'
ORDER BY id DESC LIMIT 1
"""


def clock_check(store: Store) -> Check:
    """Return the check that the clocks of all machines agree; it never makes the service not ready."""

    def look() -> str:
        store.clock.now()
        off = store.query(_CLOCKS)
        wrong = [
            _off(f"{row['process']} on {row['machine']}", row["ahead_s"])
            for row in off
            if abs(row["ahead_s"]) > MAX_AHEAD_S
        ]
        wrong += [f"{row['detail']} at {row['at']:%H:%M:%S %Z}" for row in store.query(_STEPPED)]
        if wrong:
            raise ClockOffError("; ".join(wrong))
        return f"{len(off)} processes, {max((abs(row['ahead_s']) for row in off), default=0.0):.1f} s apart at most"

    return Check(CLOCK, look, REMEDY, required=False)


def own_clock_check(url: str, remedies: Mapping[type[Exception], str]) -> Check:
    """Return the check that this machine's clock agrees with that of a database, which may be empty yet."""

    def look() -> str:
        with Store(url, defer, pool_size=1, timeout_s=ANSWER_S) as store:
            store.query("SELECT 1 AS x")
            before_s = time.time()
            (row,) = store.query("SELECT extract(epoch FROM clock_timestamp())::float AS at")
            after_s = time.time()
        ahead_s = (before_s + after_s) / 2 - row["at"]
        if abs(ahead_s) > MAX_AHEAD_S + (after_s - before_s) / 2:
            raise ClockOffError(_off("this machine", ahead_s))
        return f"{abs(ahead_s):.1f} s from the database's"

    return Check(CLOCK, look, REMEDY, required=False, remedies=remedies)


def _off(whose: str, ahead_s: float) -> str:
    return f"the clock of {whose} is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the database's"
