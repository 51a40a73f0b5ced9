"""Monitoring is told how long work has really waited: since its time came, and since somebody last asked for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from npc_contour.domain.status import Counts, Part
from npc_contour.domain.timeline import TimelineEntry, WebhookState
from npc_contour.domain.work import Job, JobKind
from npc_contour.logs import Event
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, contrast_ct

HOUR = timedelta(hours=1)


def counts(store: Store) -> Counts:
    return StatusBoard(store, str).counts()


def test_a_new_database_has_nothing_due_and_no_worker(store: Store) -> None:
    found = counts(store)

    assert not found.due
    assert not found.undelivered_s
    assert found.consumers == 0


def test_messages_to_other_programs_are_counted_by_webhook_and_state(store: Store) -> None:
    now = datetime.now(UTC)
    with store.transaction() as tx:
        tx.set_webhooks({"ris": ["case.failed"], "dosimetry": ["case.failed"]})
        for case in ("1", "2"):
            tx.record(TimelineEntry(event=Event.CASE_FAILED, at=now, case=case))
        given_up = next(one.message_id for one in tx.webhook_messages(None, Part()) if one.hook == "ris")
        tx.set_webhook_message(given_up, WebhookState.FAILED, 410, "gone", now, None)

    assert counts(store).webhooks == {
        ("ris", WebhookState.FAILED): 1,
        ("ris", WebhookState.QUEUED): 1,
        ("dosimetry", WebhookState.QUEUED): 2,
    }


def test_jobs_count_from_the_moment_their_time_came(store: Store) -> None:
    now = datetime.now(UTC)
    with store.transaction() as tx:
        tx.defer(Job(JobKind.SEGMENT_CASE, "at-once"))
        tx.defer(Job(JobKind.SEND, "1", run_at=now - 2 * HOUR))
        tx.defer(Job(JobKind.SEND, "2", run_at=now - HOUR))
        tx.defer(Job(JobKind.VERIFY, "3", run_at=now + HOUR))

    due = counts(store).due

    assert {queue: jobs.count for queue, jobs in due.items()} == {"segment": 1, "send": 2}
    assert due["send"].oldest_s == pytest.approx(7200, abs=600)
    assert due["segment"].oldest_s == pytest.approx(0, abs=600)


def test_only_consumers_with_a_fresh_sign_of_life_count(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now()), (now()), (now() - interval '2 minutes')"
        )

    assert counts(store).consumers == 2


def test_a_structure_set_waits_since_it_was_last_asked_for_unless_a_person_holds_it(
    store: Store, database_url: str
) -> None:
    bench = Bench(store)
    bench.receive(contrast_ct())
    for _ in range(60):
        bench.clock.forward(5)
        bench.work(stop_before=JobKind.SEND)
    (row,) = store.query("SELECT case_id, destination FROM delivery WHERE state = 'queued'")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE delivery SET created_at = now() - interval '3 hours'")
        old = counts(store).undelivered_s
        connection.execute(
            "INSERT INTO event (at, name, case_id) VALUES (now() - interval '1 hour', %s, %s)",
            (Event.DELIVERY_RESENT, row["case_id"]),
        )
        resent = counts(store).undelivered_s
        connection.execute("UPDATE contour_case SET held_reason = 'asked for'")
        held = counts(store).undelivered_s

    assert old == {"tps": pytest.approx(3 * 3600, abs=600)}
    assert resent == {"tps": pytest.approx(3600, abs=600)}
    assert held == {"tps": 0}
