"""Processes are heard by the database's clock; the work of one that hangs with its machine goes to others."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.processes import connection_name
from npc_contour.domain.status import ProcessRow
from npc_contour.domain.work import JobKind
from npc_contour.errors import StoreError
from npc_contour.store.database import Store
from npc_contour.store.processes import Beats, Processes, forget_processes
from npc_testkit.fault_site import wait_for

OWN = ProcessRow(name="worker-0", role="worker", machine="here", place="0a0a0a0a")
FROZEN = ProcessRow(name="worker-0", role="worker", machine="there", place="1b1b1b1b")


def ago(url: str, row: ProcessRow, column: str, seconds: float) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            f"UPDATE process SET {column} = now() - make_interval(secs => %s) WHERE place = %s".encode(),  # noqa: S608
            (seconds, row.place),
        )


def taken(store: Store) -> bool:
    """Whether the claim is free; PostgreSQL ends connections a moment after it is told to."""
    with store.claim(JobKind.SEND, "case") as free:
        return free


def told(url: str, *rows: ProcessRow) -> None:
    for row in rows:
        beats = Beats(url, row)
        beats.report()
        beats.close()


def test_a_process_is_heard_until_it_is_silent_and_begins_anew_after_a_gap(store: Store, database_url: str) -> None:
    told(database_url, OWN, FROZEN)
    ago(database_url, FROZEN, "beat_at", 45)
    ago(database_url, FROZEN, "since", 500)

    heard = {row.machine: row for row in Processes(store).rows()}
    assert heard["here"].silent_s == pytest.approx(0, abs=10)
    assert heard["there"].silent_s == pytest.approx(45, abs=10)

    told(database_url, FROZEN)
    rows = store.query("SELECT extract(epoch FROM now() - since)::float AS s FROM process WHERE machine = 'there'")
    assert rows[0]["s"] < 30


def test_who_ended_in_good_order_and_who_was_silent_for_a_day_is_forgotten(store: Store, database_url: str) -> None:
    gone = ProcessRow(name="web", role="web", machine="scrapped", place="2c2c2c2c")
    told(database_url, OWN, FROZEN, gone)
    ago(database_url, gone, "beat_at", 90_000)
    assert {row.machine for row in Processes(store).rows()} == {"here", "there"}

    forget_processes(database_url, OWN.place)

    assert [row["machine"] for row in store.query("SELECT machine FROM process")] == ["there"]


def test_the_claims_of_a_silent_process_are_freed_by_one_that_was_heard_all_the_time(
    store: Store, database_url: str
) -> None:
    named = make_conninfo(database_url, application_name=connection_name(FROZEN.name, FROZEN.place))
    told(database_url, OWN, FROZEN)
    ago(database_url, FROZEN, "beat_at", 61)
    processes = Processes(store)
    with Store(named, defer, pool_size=1) as frozen, frozen.claim(JobKind.SEND, "case"):
        with store.claim(JobKind.SEND, "case") as free:
            assert not free
        # After an outage of the database all have been silent: nobody is cut off.
        assert processes.cut_off(OWN, 60) == ()
        ago(database_url, OWN, "since", 61)
        (row,) = processes.cut_off(OWN, 60)
        assert (row.name, row.machine) == ("worker-0", "there")
        wait_for(lambda: taken(store), "the claim", 20)


def test_the_claims_of_a_worker_that_stopped_before_it_was_heard_are_freed(store: Store, database_url: str) -> None:
    named = make_conninfo(database_url, application_name=connection_name(FROZEN.name, FROZEN.place))
    told(database_url, OWN)
    ago(database_url, OWN, "since", 61)
    processes = Processes(store)

    def cut_off() -> bool:
        told(database_url, OWN)
        return [row.name for row in processes.cut_off(OWN, 0.5)] == ["worker-0"]

    with Store(named, defer, pool_size=1) as frozen, frozen.claim(JobKind.SEND, "case"):
        assert processes.cut_off(OWN, 60) == ()
        wait_for(cut_off, "the end of its connections", 20)
        wait_for(lambda: taken(store), "the claim", 20)


def test_a_database_that_does_not_answer_is_said_and_tried_again() -> None:
    beats = Beats("postgresql://nobody@127.0.0.1:1/none", OWN)
    for _ in range(2):
        with pytest.raises(StoreError, match="database: "):
            beats.report()
