"""Jobs: added with the change of state that causes them, missing, tried again, parked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from npc_contour.domain.work import Attempts, Crashes, Job, JobKind, ParkedStep
from npc_contour.store.connection import CLAIM_CLASSES, Connection
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements

_OF_DELIVERY = (
    "SELECT FROM delivery JOIN contour_case ON contour_case.id = case_id WHERE delivery.id::text = %s AND urgent"
)
URGENCY = {
    JobKind.SEGMENT_CASE: "SELECT FROM contour_case WHERE id = %s AND urgent",
    JobKind.WRITE_STRUCTURE_SET: "SELECT FROM contour_case WHERE id = %s AND urgent",
    JobKind.SEND: _OF_DELIVERY,
    JobKind.VERIFY: _OF_DELIVERY,
}
"""By kind of job: finds a row when the case is urgent."""

_UNFINISHED = """
SELECT 'close_series' AS kind, series_instance_uid AS key FROM series WHERE state = 'receiving'
UNION SELECT 'route_study', study_instance_uid FROM study WHERE routing_due
UNION SELECT 'route_study', study_instance_uid FROM contour_case WHERE state = 'waiting'
UNION SELECT 'segment_case', id FROM contour_case WHERE state = 'routed' AND held_reason = ''
UNION SELECT 'write_structure_set', id FROM contour_case WHERE state = 'segmented' AND held_reason = ''
UNION SELECT 'send', delivery.id::text FROM delivery JOIN contour_case ON contour_case.id = case_id
    LEFT JOIN destination ON destination.name = delivery.destination
    WHERE delivery.state = 'queued' AND (held_reason = '' OR while_held) AND paused_at IS NULL
UNION SELECT 'verify', delivery.id::text FROM delivery LEFT JOIN destination ON destination.name = delivery.destination
    WHERE ask_at IS NOT NULL AND paused_at IS NULL
UNION SELECT 'combine_study', study_instance_uid FROM contour_case WHERE to_combine AND state = 'contoured'
UNION SELECT 'poll_archive', name FROM pull_rule WHERE next_poll_at <= now()
UNION SELECT 'fetch_series', id::text FROM pulled_series WHERE state = 'wanted'
UNION SELECT 'find_study', id::text FROM pull_request WHERE state = 'asked'
UNION SELECT 'call_webhook', id::text FROM webhook_message WHERE state = 'queued'
UNION SELECT 'report_commitment', id::text FROM commitment_request WHERE state = 'asked'
"""


class Jobs(Statements):
    """The part of a transaction that concerns what is to be done, and how often it was tried."""

    def __init__(self, connection: Connection, defer: Callable[[Connection, Job], None]) -> None:
        """Work over a connection that is in no transaction yet; `defer` adds a job to the queue over it."""
        super().__init__(connection)
        self._defer = defer

    def defer(self, job: Job) -> None:
        """Do a job once this is committed; a job that waits already is only moved earlier."""
        urgent = job.urgent or (job.kind in URGENCY and self._one(URGENCY[job.kind], (job.key,)) is not None)
        self._defer(self._connection, replace(job, urgent=urgent))

    def jobs_missing(self) -> tuple[Job, ...]:
        """Return what rows ask for that is neither queued, nor claimed by a process that lives, nor parked."""
        classes = ", ".join(f"('{kind}', {number})" for kind, number in CLAIM_CLASSES.items())
        rows = self._all(
            f"WITH unfinished AS ({_UNFINISHED}), classes (kind, class) AS (VALUES {classes})"  # noqa: S608 - constants only
            " SELECT kind, key FROM unfinished JOIN classes USING (kind) WHERE NOT EXISTS ("
            "   SELECT FROM procrastinate_jobs WHERE queueing_lock = kind || ':' || key AND status = 'todo')"
            " AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            "   AND classid = class::oid AND objid::bigint = (hashtext(key)::bigint & 4294967295))"
            " AND NOT EXISTS (SELECT FROM attempt WHERE attempt.kind = unfinished.kind"
            "   AND attempt.key = unfinished.key AND parked_at IS NOT NULL)"
        )
        return tuple(Job(JobKind(row["kind"]), row["key"]) for row in rows)

    def count_attempt(self, kind: JobKind, key: str, at: datetime) -> Attempts:
        """Count one more attempt of a step; return how many there are with it."""
        row = self._one(
            "INSERT INTO attempt (kind, key, count, at, running) VALUES (%s, %s, 1, %s, true)"
            " ON CONFLICT (kind, key) DO UPDATE SET count = attempt.count + 1, at = EXCLUDED.at, message = '',"
            " running = true, deaths = attempt.deaths + attempt.running::integer RETURNING count, deaths",
            (kind, key, at),
        )
        return Attempts(int(row["count"]), int(row["deaths"])) if row else Attempts(1, 0)

    def uncount_attempt(self, kind: JobKind, key: str) -> None:
        """Take back the last attempt: it was none. What was before it stays."""
        self._run(
            "UPDATE attempt SET count = count - 1, running = false, message = 'waits for its turn'"
            " WHERE kind = %s AND key = %s",
            (kind, key),
        )

    def crashes(self, kind: JobKind, key: str) -> Crashes | None:
        """Return how often a step took its process down, if it did so the last time that it was begun; else None."""
        row = self._one(
            "SELECT deaths + 1 AS count, at AS begun_at FROM attempt WHERE kind = %s AND key = %s AND running",
            (kind, key),
        )
        return None if row is None else read(Crashes, row)

    def attempts(self, kind: JobKind, key: str) -> int:
        """Return how often a step was begun since it last succeeded."""
        row = self._one("SELECT count FROM attempt WHERE kind = %s AND key = %s", (kind, key))
        return int(row["count"]) if row else 0

    def attempt_message(self, kind: JobKind, key: str, message: str) -> None:
        """Note why the last attempt failed."""
        self._run("UPDATE attempt SET message = %s, running = false WHERE kind = %s AND key = %s", (message, kind, key))

    def clear_attempts(self, kind: JobKind, key: str) -> bool:
        """Forget the attempts: the step succeeded, or starts over. Return whether it was parked."""
        row = self._one(
            "DELETE FROM attempt WHERE kind = %s AND key = %s RETURNING parked_at IS NOT NULL AS parked", (kind, key)
        )
        return bool(row and row["parked"])

    def park(self, kind: JobKind, key: str, reason: str, at: datetime) -> bool:
        """Stop a step until it is asked for again; return False when it was parked already."""
        row = self._one(
            "WITH old AS (SELECT parked_at FROM attempt WHERE kind = %(kind)s AND key = %(key)s)"
            " UPDATE attempt SET message = %(reason)s, running = false, parked_at = coalesce(parked_at, %(at)s)"
            " WHERE kind = %(kind)s AND key = %(key)s RETURNING (SELECT parked_at IS NULL FROM old) AS fresh",
            {"kind": kind, "key": key, "reason": reason, "at": at},
        )
        return bool(row and row["fresh"])

    def parked(self) -> tuple[ParkedStep, ...]:
        """Return all parked steps, oldest first."""
        rows = self._all(
            "SELECT *, message AS reason, count AS tries FROM attempt WHERE parked_at IS NOT NULL"
            " ORDER BY parked_at, kind, key"
        )
        return tuple(read(ParkedStep, row) for row in rows)
