"""How far the machines' own clocks are off, for readiness: by the database's clock alone anything is decided."""

from __future__ import annotations

from npc_contour.adapters.store.database import PgStore
from npc_contour.application.checks import Check
from npc_contour.errors import ClockOffError

CLOCK = "clock"
"""Name of the check."""
MAX_AHEAD_S = 2.0
_CLOCKS = """
SELECT machine, process, ahead_s FROM machine_clock
WHERE seen_at > clock_timestamp() - interval '2 minutes' ORDER BY abs(ahead_s) DESC
"""
_STEPPED = """
SELECT detail, at FROM event WHERE name = 'clock.stepped' AND at > clock_timestamp() - interval '1 hour'
ORDER BY id DESC LIMIT 1
"""


def clock_check(store: PgStore) -> Check:
    """Return the check that the clocks of all machines agree; it never makes the service not ready."""

    def look() -> str:
        store.clock.now()
        off = store.query(_CLOCKS)
        wrong = [
            f"the clock of {row['process']} on {row['machine']} is {abs(row['ahead_s']):.1f} s"
            f" {'ahead of' if row['ahead_s'] > 0 else 'behind'} the database's"
            for row in off
            if abs(row["ahead_s"]) > MAX_AHEAD_S
        ]
        wrong += [f"{row['detail']} at {row['at']:%H:%M:%S %Z}" for row in store.query(_STEPPED)]
        if wrong:
            raise ClockOffError("; ".join(wrong))
        return f"{len(off)} processes, {max((abs(row['ahead_s']) for row in off), default=0.0):.1f} s apart at most"

    remedy = "let NTP set the clock of every machine, the database's too; nothing is decided by any clock but that one"
    return Check(CLOCK, look, remedy, required=False)
