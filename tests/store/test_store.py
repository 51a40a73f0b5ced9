"""State and the jobs it causes are committed together or not at all, and the database itself refuses wrong states."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from npc_contour.adapters.workflow.queue import apply_queue_schema
from npc_contour.domain.cases import CaseInput, CaseRecord
from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState
from npc_contour.domain.received import Added, ArrivedImage, AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import StoreError
from npc_contour.store.codec import header_from_json, header_to_json
from npc_contour.store.database import MIGRATIONS, Store, migrate
from npc_testkit.ct_headers import ct_header, ct_headers

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ASSOCIATION = AssociationRow("a1", "receiver", "CT", "NPC_CONTOUR", "127.0.0.1")


def receive(store: Store, headers: list[InstanceHeader], association: AssociationRow = ASSOCIATION) -> list[Added]:
    answers: list[Added] = []
    for header in headers:
        answers += receive_together(store, [(header, association)])
    return answers


def receive_together(store: Store, images: list[tuple[InstanceHeader, AssociationRow]]) -> tuple[Added, ...]:
    with store.transaction() as tx:
        return tx.add_images([ArrivedImage(*image) for image in images], NOW)


def case_of(headers: list[InstanceHeader], **changes: Any) -> CaseRecord:
    inputs = {
        "planning_ct": CaseInput(headers[0].series_instance_uid, tuple(sorted(h.sop_instance_uid for h in headers)))
    }
    case = CaseRecord(
        case_id="c1",
        study_instance_uid=headers[0].study_instance_uid,
        pipeline="ln_ctv",
        generation=1,
        state=CaseState.ROUTED,
        planning_role="planning_ct",
        inputs=inputs,
        frame_of_reference_uid="1.2.9",
        waiting_for=(),
        wait_until=None,
        reasons=("because",),
        demo=True,
        predecessor=None,
        created_at=NOW,
    )
    return replace(case, **changes)


def jobs(store: Store) -> list[tuple[str, str, datetime | None]]:
    rows = store.query("SELECT task_name, args, scheduled_at FROM procrastinate_jobs ORDER BY id")
    return [(row["task_name"], row["args"]["key"], row["scheduled_at"]) for row in rows]


def test_a_rolled_back_change_leaves_no_job(store: Store) -> None:
    header = ct_header()

    def fail() -> None:
        with store.transaction() as tx:
            tx.add_images([ArrivedImage(header, ASSOCIATION)], NOW)
            tx.defer(Job(JobKind.CLOSE_SERIES, header.series_instance_uid))
            raise RuntimeError("the process died here")

    with pytest.raises(RuntimeError, match="died"):
        fail()
    assert jobs(store) == []
    assert store.query("SELECT 1 FROM instance") == []


def test_a_job_is_seen_by_others_only_with_the_change(store: Store) -> None:
    with store.transaction() as tx:
        tx.defer(Job(JobKind.SEND, "1"))
        assert jobs(store) == []
    assert jobs(store) == [("send", "1", None)]


def test_one_job_waits_for_each_row_and_is_only_moved_earlier(store: Store) -> None:
    for seconds in (60, 10, 90):
        with store.transaction() as tx:
            tx.defer(Job(JobKind.CLOSE_SERIES, "1.2.3", NOW + timedelta(seconds=seconds)))
    assert jobs(store) == [("close_series", "1.2.3", NOW + timedelta(seconds=10))]
    with store.transaction() as tx:
        tx.defer(Job(JobKind.CLOSE_SERIES, "1.2.3"))
    assert jobs(store) == [("close_series", "1.2.3", None)]
    with store.transaction() as tx:
        tx.defer(Job(JobKind.CLOSE_SERIES, "1.2.3", NOW))
    assert jobs(store) == [("close_series", "1.2.3", None)]


def test_many_transactions_that_defer_the_same_job_all_succeed(store: Store) -> None:
    start = threading.Barrier(6)
    errors: list[Exception] = []

    def defer() -> None:
        start.wait()
        try:
            for _ in range(10):
                with store.transaction() as tx:
                    tx.defer(Job(JobKind.ROUTE_STUDY, "1.2", NOW))
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=defer) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(jobs(store)) == 1


def test_an_image_is_added_once_and_says_when_it_opens_its_series(store: Store) -> None:
    headers = ct_headers(3)
    assert receive(store, headers) == [Added.OPENED, Added.ADDED, Added.ADDED]
    assert receive(store, headers) == [Added.KNOWN] * 3
    with store.transaction() as tx:
        series = tx.series("1.2.3")
        assert series is not None
        assert (series.images, series.endings) == (3, (None,))
        tx.set_series("1.2.3", SeriesState.READY, (), NOW)
    assert receive(store, ct_headers(4)[3:]) == [Added.OPENED]
    with store.transaction() as tx:
        series = tx.series("1.2.3")
        assert series is not None
        assert series.state is SeriesState.RECEIVING


def test_a_uid_that_another_series_has_is_taken(store: Store) -> None:
    receive(store, ct_headers(2))
    thief = replace(ct_headers(2)[0], key="elsewhere", series_instance_uid="1.2.77")
    assert receive(store, [thief]) == [Added.TAKEN]
    assert store.query("SELECT 1 FROM series WHERE series_instance_uid = '1.2.77'") == []


def test_what_a_dead_receiver_left_open_is_lost(store: Store) -> None:
    receive(store, ct_headers(2))
    with store.transaction() as tx:
        assert tx.end_lost_associations("another", NOW) == ()
        assert tx.end_lost_associations("receiver", NOW) == ("1.2.3",)
        assert tx.end_lost_associations("receiver", NOW) == ()
        series = tx.series("1.2.3")
        assert series is not None
        assert series.endings == ((Ending.LOST, NOW),)


def test_a_header_comes_back_as_it_was(store: Store) -> None:
    header = ct_header(
        acquired_at=datetime(2026, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001  scanners write local time
        gantry_tilt_deg=-1.5,
        images_in_acquisition=80,
        series_description="鼻咽 增强 \u0001",
        key="instances/1/2/3.dcm",
    )
    assert header_from_json(header_to_json(header)) == header
    header = replace(header, series_description="鼻咽 增强")
    receive(store, [header])
    with store.transaction() as tx:
        assert tx.headers(header.series_instance_uid) == (header,)


def test_the_same_study_is_due_to_be_routed_until_it_is_routed(store: Store) -> None:
    receive(store, ct_headers(2))
    with store.transaction() as tx:
        assert tx.jobs_missing() == (Job(JobKind.CLOSE_SERIES, "1.2.3"),)
        tx.set_series("1.2.3", SeriesState.READY, (), NOW)
        assert tx.jobs_missing() == (Job(JobKind.ROUTE_STUDY, "1.2"),)
        tx.lock_study("1.2")
        assert tx.jobs_missing() == ()


def test_two_live_cases_of_one_planning_series_are_impossible(store: Store) -> None:
    headers = ct_headers(2)
    receive(store, headers)
    with store.transaction() as tx:
        tx.add_case(case_of(headers))
    with pytest.raises(StoreError, match="case_live"), store.transaction() as tx:
        tx.add_case(case_of(headers, case_id="c2", generation=2))
    with store.transaction() as tx:
        tx.supersede("c1", "c2", NOW)
        tx.add_case(case_of(headers, case_id="c2", generation=2, predecessor="c1"))
        assert [case.case_id for case in tx.live_cases("1.2")] == ["c2"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE contour_case SET state = 'superseded'",
        "UPDATE contour_case SET state = 'done'",
        "UPDATE contour_case SET state = 'refused', reasons = '{}'",
        "UPDATE contour_case SET planning_series_uid = NULL",
        "UPDATE contour_case SET state = 'waiting'",
        "UPDATE series SET state = 'held', reasons = '{}'",
        "UPDATE delivery SET state = 'sent', next_try_at = NULL",
        "UPDATE delivery SET state = 'blocked', next_try_at = NULL",
        "UPDATE delivery SET next_try_at = NULL",
        "INSERT INTO instance SELECT '1.2.9', '9.9', 'key', '{}', 'a1', now()",
        "DELETE FROM series",
    ],
)
def test_the_database_refuses_states_that_cannot_be(store: Store, database_url: str, statement: str) -> None:
    headers = ct_headers(2)
    receive(store, headers)
    with store.transaction() as tx:
        tx.add_case(case_of(headers))
        tx.add_structure_set("c1", "2.25.1", "artefacts/c1/rtstruct.dcm", {"notes": []}, NOW)
        assert tx.add_delivery("c1", "tps", DeliveryState.QUEUED, "", NOW) is not None
        assert tx.add_delivery("c1", "tps", DeliveryState.QUEUED, "", NOW) is None
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.IntegrityError):
        connection.execute(statement.encode())


def test_what_is_queued_of_a_superseded_case_is_sent_no_more(store: Store) -> None:
    headers = ct_headers(2)
    receive(store, headers)
    with store.transaction() as tx:
        tx.add_case(case_of(headers))
        tx.add_structure_set("c1", "2.25.1", "artefacts/c1/rtstruct.dcm", {"notes": []}, NOW)
        tx.add_delivery("c1", "tps", DeliveryState.QUEUED, "", NOW)
        tx.supersede("c1", "c2", NOW)
        tx.add_case(case_of(headers, case_id="c2", generation=2))
        (delivery,) = tx.deliveries("c1")
        assert delivery.state is DeliveryState.BLOCKED


def test_a_claim_is_held_by_one_and_dropped_with_its_connection(store: Store, database_url: str) -> None:
    headers = ct_headers(2)
    receive(store, headers)
    with store.transaction() as tx:
        tx.set_series("1.2.3", SeriesState.READY, (), NOW)
        tx.lock_study("1.2")
        tx.add_case(case_of(headers))
    wanted = (Job(JobKind.SEGMENT_CASE, "c1"),)
    with store.claim(JobKind.SEGMENT_CASE, "c1") as first, store.claim(JobKind.SEGMENT_CASE, "c1") as second:
        assert (first, second) == (True, False)
        with store.transaction() as tx:
            assert tx.jobs_missing() == ()
    with store.transaction() as tx:
        assert tx.jobs_missing() == wanted
    with Store(database_url, lambda *_: None) as other, other.claim(JobKind.SEGMENT_CASE, "c1") as held:
        assert held
        other.query("SELECT 1")
        victim = psycopg.connect(database_url, autocommit=True)
        victim.execute(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_locks"
            " WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        )
        victim.close()
        with store.transaction() as tx:
            assert tx.jobs_missing() == wanted


def test_slots_are_shared_by_all_processes(database_url: str) -> None:
    with ExitStack() as stack:
        stores = [stack.enter_context(Store(database_url, lambda *_: None)) for _ in range(4)]
        first, second = (stack.enter_context(ExitStack()) for _ in range(2))
        held = [first.enter_context(stores[0].slot(2)), second.enter_context(stores[1].slot(2))]
        with stores[2].slot(2) as third:
            assert [*held, third] == [True, True, False]
        first.close()
        with stores[3].slot(2) as fourth:
            assert fourth


def test_attempts_that_did_not_end_are_crashes(store: Store) -> None:
    with store.transaction() as tx:
        assert tx.count_attempt(JobKind.SEGMENT_CASE, "c1", NOW).crashes == 0
        tx.attempt_message(JobKind.SEGMENT_CASE, "c1", "Triton is down")
        assert tx.count_attempt(JobKind.SEGMENT_CASE, "c1", NOW).crashes == 0
        attempts = tx.count_attempt(JobKind.SEGMENT_CASE, "c1", NOW)
        assert (attempts.count, attempts.crashes) == (3, 1)
        tx.clear_attempts(JobKind.SEGMENT_CASE, "c1")
        assert tx.count_attempt(JobKind.SEGMENT_CASE, "c1", NOW).count == 1


def test_migrations_run_once_and_a_newer_database_is_refused(store: Store, database_url: str) -> None:
    assert migrate(database_url, apply_queue_schema) == 0
    store.query("INSERT INTO migration (number, name) VALUES (9999, 'from the future') RETURNING number")
    with pytest.raises(StoreError, match=r"\[9999\] of a newer version"):
        migrate(database_url, apply_queue_schema)


def test_a_database_that_is_gone_is_a_store_error() -> None:
    gone = Store("postgresql://nobody@127.0.0.1:9/none", lambda *_: None, timeout_s=0.3)
    with gone, pytest.raises(StoreError, match="database"), gone.transaction():
        pass


def test_images_of_several_associations_and_series_are_added_by_one_statement(store: Store) -> None:
    other = replace(ASSOCIATION, association_id="a2", calling_ae_title="CT2")
    one, two = ct_headers(3, uid="1.2.10"), ct_headers(2, uid="1.2.20")
    known = [(one[0], ASSOCIATION)]
    assert receive_together(store, known) == (Added.OPENED,)

    arrived = [(one[0], other), (one[1], ASSOCIATION), (two[0], other), (one[2], other), (two[1], ASSOCIATION)]
    answers = receive_together(store, arrived)

    assert answers == (Added.KNOWN, Added.ADDED, Added.OPENED, Added.ADDED, Added.ADDED)
    counts = store.query("SELECT series_instance_uid AS uid, images FROM series ORDER BY uid")
    assert [(row["uid"], row["images"]) for row in counts] == [("1.2.10", 3), ("1.2.20", 2)]
    carried = store.query(
        "SELECT series_instance_uid AS uid, association_id AS id FROM series_association ORDER BY 1, 2"
    )
    pairs = [(row["uid"], row["id"]) for row in carried]
    assert pairs == [("1.2.10", "a1"), ("1.2.10", "a2"), ("1.2.20", "a1"), ("1.2.20", "a2")]


def test_the_same_image_twice_at_once_counts_once_and_a_thief_of_its_uid_is_told(store: Store) -> None:
    header = ct_header()
    thief = replace(header, key="elsewhere", series_instance_uid="1.2.99")

    answers = receive_together(store, [(header, ASSOCIATION), (header, ASSOCIATION), (thief, ASSOCIATION)])

    assert answers[0] is Added.OPENED
    assert answers[2] is Added.TAKEN
    assert [row["images"] for row in store.query("SELECT images FROM series")] == [1]


def test_what_was_never_answered_is_taken_back_with_series_that_have_nothing_else(store: Store) -> None:
    one, two = ct_headers(3, uid="1.2.10"), ct_headers(1, uid="1.2.20")
    receive(store, [*one, *two])
    with store.transaction() as tx:
        under_way = tx.images_under_way("receiver")
        tx.forget_images([one[0].sop_instance_uid, two[0].sop_instance_uid])

    assert under_way == {header.sop_instance_uid: header.key for header in (*one, *two)}
    counts = store.query("SELECT series_instance_uid AS uid, images FROM series")
    assert [(row["uid"], row["images"]) for row in counts] == [("1.2.10", 2)]
    assert receive(store, [one[0]]) == [Added.ADDED]
    with store.transaction() as tx:
        tx.end_associations({"a1": Ending.RELEASED}, NOW)
        assert tx.images_under_way("receiver") == {}


def test_a_migration_gives_way_to_whoever_works(store: Store, database_url: str, tmp_path: Path) -> None:
    newer = tmp_path / "migrations"
    shutil.copytree(str(MIGRATIONS), newer)
    changes = [f"ALTER TABLE {table} ADD COLUMN a text;" for table in ("contour_case", "event")]
    (newer / "9000_newer.sql").write_text("\n".join(changes), encoding="utf-8")
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
    with psycopg.connect(database_url) as working, ThreadPoolExecutor() as pool:
        working.execute("SELECT count(*) FROM event")
        migration = pool.submit(migrate, database_url, apply_queue_schema, newer)
        deadline_s = time.monotonic() + 60
        while not store.query(waiting) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        # It has locked this table and waits for the other: if both insisted, PostgreSQL would end one of them.
        working.execute("SELECT count(*) FROM contour_case")
        working.commit()
        assert migration.result(90) == 1
