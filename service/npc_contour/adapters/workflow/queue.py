"""Jobs in the same PostgreSQL and, when deferred, in the same transaction as the change of state that causes them.

One job at most waits for each row and kind (`queueing_lock`). Jobs carry nothing but the row's key (and, where traces
are made, what they continue): what is to be done is in the row. So a job may be lost, doubled or late without harm, and
the worker's sweep queues missing ones again.
"""

from __future__ import annotations

from typing import Any

import psycopg
from procrastinate.schema import SchemaManager
from psycopg.types.json import Jsonb

from npc_contour import tracing
from npc_contour.domain.work import Job, JobKind

SEGMENT_QUEUE, WRITE_QUEUE, WORK_QUEUE = "segment", "write", "work"
SEND_QUEUE, FETCH_QUEUE, TELL_QUEUE = "send", "fetch", "tell"
QUEUES = {
    JobKind.CLOSE_SERIES: WORK_QUEUE,
    JobKind.ROUTE_STUDY: WORK_QUEUE,
    JobKind.SEGMENT_CASE: SEGMENT_QUEUE,
    JobKind.WRITE_STRUCTURE_SET: WRITE_QUEUE,
    JobKind.SEND: SEND_QUEUE,
    JobKind.VERIFY: SEND_QUEUE,
    JobKind.POLL_ARCHIVE: FETCH_QUEUE,
    JobKind.FETCH_SERIES: FETCH_QUEUE,
    JobKind.FIND_PARTNER: FETCH_QUEUE,
    JobKind.REPORT_COMMITMENT: FETCH_QUEUE,
    JobKind.COMBINE_STUDY: WORK_QUEUE,
    JobKind.FIND_STUDY: FETCH_QUEUE,
    JobKind.CALL_WEBHOOK: TELL_QUEUE,
    JobKind.RESCAN: WORK_QUEUE,
    JobKind.RETENTION: WORK_QUEUE,
    JobKind.SELF_TEST: SEGMENT_QUEUE,
    JobKind.MEND_CASE: SEGMENT_QUEUE,
}
"""What holds a volume in memory, and what waits for other machines, have queues of their own: nothing else waits."""
PRIORITIES = {JobKind.RESCAN: -10, JobKind.RETENTION: -10, JobKind.SELF_TEST: -20}
"""Higher goes first."""
URGENT = 100
UNTRACED = frozenset({JobKind.POLL_ARCHIVE, JobKind.RESCAN, JobKind.RETENTION})
"""What plans its next round itself would be one trace without end."""


def defer(connection: psycopg.Connection[Any], job: Job) -> None:
    """Add a job over an open transaction; one that waits already is moved earlier, never later.

    Args:
        connection: with the transaction that changes the state.
        job: what to do.
    """
    lock = f"{job.kind}:{job.key}"
    trace = "" if job.kind in UNTRACED else job.traceparent or tracing.traceparent()
    arguments = {"key": job.key, **({"traceparent": trace} if trace else {})}
    while True:
        waiting = connection.execute(
            "UPDATE procrastinate_jobs SET scheduled_at ="
            " CASE WHEN scheduled_at > %(at)s::timestamptz THEN %(at)s"
            " WHEN %(at)s::timestamptz IS NULL THEN NULL ELSE scheduled_at END,"
            " args = CASE WHEN %(trace)s = '' OR args ? 'traceparent' THEN args"
            " ELSE args || jsonb_build_object('traceparent', %(trace)s::text) END"
            " WHERE queueing_lock = %(lock)s AND status = 'todo' RETURNING id",
            {"at": job.run_at, "lock": lock, "trace": trace},
        ).fetchone()
        if waiting is not None:
            if job.run_at is None:
                _wake(connection, QUEUES[job.kind])
            return
        try:
            with connection.transaction():
                connection.execute(
                    "SELECT procrastinate_defer_jobs_v1(ARRAY["
                    "ROW(%s, %s, %s, NULL, %s, %s, %s)"
                    "::procrastinate_job_to_defer_v1])",
                    (QUEUES[job.kind], job.kind, _priority(job), lock, Jsonb(arguments), job.run_at),
                )
        except psycopg.errors.UniqueViolation:
            continue  # another transaction deferred it between our look and our insert
        return


def _priority(job: Job) -> int:
    return PRIORITIES.get(job.kind, 0) + (URGENT if job.urgent else 0)


def apply_queue_schema(connection: psycopg.Connection[Any]) -> None:
    """Make Procrastinate's tables in an empty database, within the transaction of the connection."""
    row = connection.execute("SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS present").fetchone()
    if row is not None and row["present"]:
        return
    connection.execute(SchemaManager.get_schema().encode())


def _wake(connection: psycopg.Connection[Any], queue: str) -> None:
    """Tell listening workers that a job became due, as Procrastinate's own trigger does for a new one."""
    connection.execute(
        'SELECT pg_notify(\'procrastinate_queue_v1#\' || %s, \'{"type": "job_inserted", "job_id": 0}\')', (queue,)
    )
