"""The database's clock, which is the service's: no times of two machines are ever compared.

Quiet times, waits, jobs and leases are all reckoned by it. Between two looks the time goes on by this machine's
monotonic clock, so that no setting of this machine's time is felt. Where the database's own clock is set, the two
differ by the step: then whatever waits is moved by as much, once for all processes, before anybody decides by the new
time.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from npc_contour.errors import StoreError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

FRESH_S = 0.05
"""A look so old is not repeated: a receiver would ask for each image."""
STEP_S = 1.0
"""Less than that is no step: clocks are slewed, and an answer takes its time."""
DRIFT = 500e-6
"""How fast two clocks may drift apart."""
LONG_S = 600.0
"""After so long without a look drift cannot be told from a step: others look more often."""
NOTE_EVERY_S = 5.0
GIVE_WAY_S = 0.5
"""How long a step waits for a row; the process itself may hold it, and less than a deadlock is noticed in."""

_LOOK = "SELECT clock_timestamp() AS at, steps, seen_at FROM clock"
_MOVED = (
    """UPDATE series SET first_instance_at = first_instance_at + %(by)s, last_instance_at = last_instance_at + %(by)s
    WHERE state = 'receiving' OR first_instance_at > %(now)s""",
    """UPDATE association SET ended_at = ended_at + %(by)s WHERE id IN (SELECT association_id FROM series_association
    JOIN series USING (series_instance_uid) WHERE state = 'receiving')""",
    "UPDATE assignment SET assigned_at = assigned_at + %(by)s WHERE assigned_at > %(now)s",
    "UPDATE contour_case SET wait_until = wait_until + %(by)s WHERE state = 'waiting'",
    """UPDATE delivery SET next_try_at = next_try_at + %(by)s, ask_at = ask_at + %(by)s
    WHERE next_try_at IS NOT NULL OR ask_at IS NOT NULL""",
    "UPDATE destination SET try_at = try_at + %(by)s, failed_at = failed_at + %(by)s WHERE try_at IS NOT NULL",
    "UPDATE pull_rule SET next_poll_at = next_poll_at + %(by)s",
    "UPDATE webhook_message SET next_try_at = next_try_at + %(by)s WHERE next_try_at IS NOT NULL",
    "UPDATE attempt SET at = at + %(by)s",
    """UPDATE procrastinate_jobs SET scheduled_at = scheduled_at + %(by)s
    WHERE status = 'todo' AND scheduled_at IS NOT NULL""",
    "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat + %(by)s",
    "INSERT INTO event (at, name, detail) VALUES (%(now)s, %(event)s, %(words)s)",
)
"""What waits or is still being received; what happened keeps the time at which it did."""


def _boot_time_s() -> float:
    """Seconds since this machine started, sleep included; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the database said, and the middle of our waiting for it by our monotonic clock."""

    at: datetime
    steps: int
    monotonic_s: float


class DatabaseClock:
    """The time of one database; safe to share between threads.

    Args:
        url: of the database.
        process: as which this machine's own clock is noted, see `ahead_s`; "" notes nothing.
        fresh_s: how old a look may be to be taken for the time without another.
        monotonic_s: this machine's monotonic clock.
        wall_s: this machine's clock, seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        process: str = "",
        *,
        fresh_s: float = FRESH_S,
        monotonic_s: Callable[[], float] = _boot_time_s,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._process = process
        self._fresh_s = fresh_s
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._look: _Look | None = None
        self._noted_s = float("-inf")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def now(self) -> datetime:
        """Return the database's time, with zone.

        Raises:
            StoreError: the database does not answer.
        """
        with self._lock:
            look = self._look
            if look is not None and 0 <= (passed_s := self._monotonic_s() - look.monotonic_s) < self._fresh_s:
                return look.at + timedelta(seconds=passed_s)
            try:
                return self._ask()
            except psycopg.OperationalError:
                self._drop()  # a restarted database is asked again
            try:
                return self._ask()
            except psycopg.Error as error:
                self._drop()
                raise StoreError(f"database: {str(error).strip() or type(error).__name__}") from error

    def _ask(self) -> datetime:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._url, autocommit=True, row_factory=dict_row, fallback_application_name="npc-contour clock"
            )
        before_s = self._monotonic_s()
        row = self._connection.execute(_LOOK).fetchone()
        after_s = self._monotonic_s()
        if row is None:
            raise StoreError("the database has no clock: migrate it")
        look = _Look(row["at"], int(row["steps"]), (before_s + after_s) / 2)
        step_s = self._step_s(look, row["seen_at"], (after_s - before_s) / 2)
        if step_s and not self._moved(self._connection, look, step_s):
            # Somebody holds what waits: the time goes on as before until it could be moved.
            return look.at - timedelta(seconds=step_s)
        self._look = _Look(look.at, look.steps + bool(step_s), look.monotonic_s)
        self._note(self._connection, look)
        return look.at

    def _step_s(self, look: _Look, seen_at: datetime, unsure_s: float) -> float:
        """How far the database's clock was set since the last look, in seconds; 0 where what waits is moved already."""
        last = self._look
        if last is None:
            # Nobody looked meanwhile, but time never goes back.
            back_s = (look.at - seen_at).total_seconds()
            return back_s if back_s < -STEP_S else 0.0
        passed_s = look.monotonic_s - last.monotonic_s
        if look.steps != last.steps or not 0 <= passed_s <= LONG_S:
            return 0.0
        off_s = (look.at - last.at).total_seconds() - passed_s
        if off_s < 0 and look.at > seen_at:
            return 0.0  # the database never saw a later time: it is our own clock that ran ahead
        return off_s if abs(off_s) > STEP_S + unsure_s + DRIFT * passed_s else 0.0

    def _moved(self, connection: psycopg.Connection[dict[str, Any]], look: _Look, step_s: float) -> bool:
        """Move whatever waits by a step, unless another process has; False where it could not be done now."""
        words = f"the database's clock was set by {step_s:+.1f} s; what waits was moved by as much"
        values = {"by": timedelta(seconds=step_s), "now": look.at, "event": Event.CLOCK_STEPPED, "words": words}
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{GIVE_WAY_S:g}s'".encode())
                first = connection.execute(
                    "UPDATE clock SET steps = steps + 1, seen_at = %s WHERE steps = %s RETURNING steps",
                    (look.at, look.steps),
                ).fetchone()
                for statement in _MOVED if first else ():
                    connection.execute(statement.encode(), values)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            return False
        if first:
            logger.error(Event.CLOCK_STEPPED, extra={"seconds": round(step_s, 3)})
        return True

    def _note(self, connection: psycopg.Connection[dict[str, Any]], look: _Look) -> None:
        """Note that the time was seen, and how far this machine's own clock is off."""
        if look.monotonic_s - self._noted_s < NOTE_EVERY_S:
            return
        self._noted_s = look.monotonic_s
        ahead_s = self._wall_s() - (self._monotonic_s() - look.monotonic_s) - look.at.timestamp()
        connection.execute(
            "UPDATE clock SET seen_at = clock_timestamp() WHERE seen_at < clock_timestamp() - interval '1 second'"
        )
        if self._process:
            connection.execute(
                "INSERT INTO machine_clock (machine, process, ahead_s, seen_at) VALUES (%s, %s, %s, clock_timestamp())"
                " ON CONFLICT (machine, process) DO UPDATE SET ahead_s = EXCLUDED.ahead_s, seen_at = EXCLUDED.seen_at",
                (socket.gethostname(), self._process, ahead_s),
            )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
