"""Workers may be killed at any moment: what they were doing is done by another, and nothing is sent twice in effect."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
from npc_contour.adapters.workflow.queue import apply_queue_schema
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.status import Part
from npc_contour.domain.work import Job, JobKind
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import MIGRATIONS, Store, migrate
from npc_testkit.workers import receive_pair, worker


def wait_until(what: Callable[[], bool], folder: Path, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline_s:
            pytest.fail(f"not within {timeout_s:g} s\n{(folder / 'worker.log').read_text()[-3000:]}")
        time.sleep(0.05)


def all_sent(store: Store) -> Callable[[], bool]:
    board = StatusBoard(store, str)
    return lambda: [row.state for row in board.jobs(Part())] == [CaseState.SENT] * 2


def segmenting(folder: Path) -> list[Path]:
    return list((folder / "segmenting").glob("*"))


def sent_uids(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_bytes())["uid"] for path in (folder / "sent").iterdir())


def test_a_worker_killed_while_it_segments_is_replaced_at_once(store: Store, database_url: str, tmp_path: Path) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path, 60.0) as victim:
        wait_until(lambda: bool(segmenting(tmp_path)), tmp_path)
        victim.kill()
        victim.wait()
    started = time.monotonic()
    with worker(database_url, tmp_path):
        wait_until(all_sent(store), tmp_path)
    assert time.monotonic() - started < 40
    assert len(set(sent_uids(tmp_path))) == len(sent_uids(tmp_path)) == 2


def test_another_worker_takes_over_from_one_that_never_comes_back(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path, 60.0) as victim:
        wait_until(lambda: bool(segmenting(tmp_path)), tmp_path)
        with worker(database_url, tmp_path):
            time.sleep(3)
            # One place in the whole installation, and it is taken: the second worker waits.
            assert len({path.name.split("-")[0] for path in segmenting(tmp_path)}) == 1
            victim.kill()
            wait_until(all_sent(store), tmp_path)
    assert len(sent_uids(tmp_path)) == 2


def test_workers_killed_again_and_again_still_finish(store: Store, database_url: str, tmp_path: Path) -> None:
    receive_pair(store)
    for _ in range(4):
        with worker(database_url, tmp_path, 0.2) as victim:
            time.sleep(2.0)
            victim.kill()
            victim.wait()
    with worker(database_url, tmp_path):
        wait_until(all_sent(store), tmp_path)
    assert len(set(sent_uids(tmp_path))) == 2


def test_a_job_past_the_deadline_of_its_kind_ends_its_worker_and_another_begins_it_anew(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path, segment_s=3600.0, deadline_s=0.5) as stuck:
        assert stuck.wait(60) == 1
    said = [json.loads(line) for line in (tmp_path / "worker.log").read_text().splitlines() if line.startswith("{")]
    (overdue,) = [line for line in said if line["event"] == "step.overdue"]
    assert overdue["deadline_s"] == 0.5
    assert overdue["jobs"][0].startswith("segment_case:")
    with worker(database_url, tmp_path):
        wait_until(all_sent(store), tmp_path)


def test_a_migration_stops_no_worker_and_loses_nothing(store: Store, database_url: str, tmp_path: Path) -> None:
    receive_pair(store)
    newer = tmp_path / "migrations"
    shutil.copytree(str(MIGRATIONS), newer)
    tables = ("contour_case", "structure_set", "delivery", "attempt", "event", "instance", "series", "study")
    with worker(database_url, tmp_path, segment_s=2.0) as running:
        wait_until(lambda: bool(segmenting(tmp_path)), tmp_path)
        # Each locks every table that the step in hand will write and the sweep reads, in an order of its own.
        for number in range(9000, 9010):
            changes = [f"ALTER TABLE {table} ADD COLUMN newer_{number} text;" for table in tables]
            (newer / f"{number}_newer.sql").write_text("\n".join(changes), encoding="utf-8")
            tables = (*tables[3:], *tables[:3])
            assert migrate(database_url, apply_queue_schema, newer) == 1
        wait_until(all_sent(store), tmp_path, 120)
        assert running.poll() is None
    assert len(set(sent_uids(tmp_path))) == len(sent_uids(tmp_path)) == 2


def test_a_stopped_worker_ends_in_good_order(store: Store, database_url: str, tmp_path: Path) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path) as running:
        wait_until(all_sent(store), tmp_path)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_a_stop_does_not_wait_for_the_network_and_does_not_count_as_a_death(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path, 60.0) as running:
        wait_until(lambda: bool(segmenting(tmp_path)), tmp_path)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    rows = store.query("SELECT count, message FROM attempt")
    assert [(row["count"], row["message"]) for row in rows] == [(1, "cut short by a stop of the service")]
    with worker(database_url, tmp_path):
        wait_until(all_sent(store), tmp_path)


def test_a_worker_that_loses_the_database_ends_with_an_error_so_that_it_is_started_again(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    # From another database: nobody shuts out the one that he is in.
    elsewhere = make_conninfo(postgres.url, dbname="template1")
    with worker(database_url, tmp_path) as running, psycopg.connect(elsewhere, autocommit=True) as admin:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        name = database_url.split("/")[3].split("?", maxsplit=1)[0]
        wait_until(lambda: (admin.execute(count, (name,)).fetchone() or (0,))[0] >= 3, tmp_path)
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false'.encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        assert running.wait(60) != 0
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true'.encode())


def test_a_job_becomes_work_within_a_moment(store: Store, database_url: str, tmp_path: Path) -> None:
    with worker(database_url, tmp_path):
        wait_until(lambda: "sql" in str(store.query("SELECT 'sql' AS x")), tmp_path)
        receive_pair(store)
        wait_until(all_sent(store), tmp_path)
        with store.transaction() as tx:
            tx.defer(Job(JobKind.ROUTE_STUDY, "1.2.3.none"))
        waiting = "SELECT 1 FROM procrastinate_jobs WHERE args->>'key' = '1.2.3.none'"
        started = time.monotonic()
        wait_until(lambda: not store.query(waiting), tmp_path)
        assert time.monotonic() - started < 5
