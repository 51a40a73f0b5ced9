"""Only what a destination has proved to hold is verified; one that is down or paused costs the others nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from npc_contour.application.operations import Operations
from npc_contour.domain.jobs import CaseState, DeliveryState, Destination, Evidence, Proof, Verify
from npc_contour.domain.status import DeliveryRow
from npc_contour.domain.work import JobKind
from npc_contour.store.database import Store
from npc_contour.store.work_board import WorkBoard
from npc_testkit.bench import LOOPBACK, Bench, plain_ct

HELD = Evidence(Proof.HELD, "C-FIND")
MISSING = Evidence(Proof.MISSING, "C-FIND")
PENDING = Evidence(Proof.PENDING, "storage commitment")


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def delivery(bench: Bench, name: str = "tps") -> DeliveryRow:
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    return next(row for row in details.deliveries if row.destination == name)


def operations(bench: Bench) -> Operations:
    return Operations(bench.store, bench.clock, bench.destinations)


def test_what_the_destination_holds_is_verified_and_so_is_the_case(bench: Bench) -> None:
    bench.verifier.answer = HELD
    bench.receive(plain_ct())
    bench.work_for(20)

    assert (delivery(bench).state, delivery(bench).verified_by) == (DeliveryState.VERIFIED, "C-FIND")
    assert bench.case("ln_ctv").state is CaseState.VERIFIED
    assert bench.verifier.about == [bench.sender.sent[0][1]]


def test_a_destination_that_cannot_be_asked_leaves_it_sent_and_says_why(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(60)

    row = delivery(bench)
    assert (row.state, row.next_attempt_at) == (DeliveryState.SENT, None)
    assert row.last_error == "taken with 0x0000 success, but not verified: it cannot be asked"
    assert bench.case("ln_ctv").state is CaseState.SENT
    assert len(bench.verifier.asked) == 1


def test_a_site_that_requires_proof_sees_a_failure_without_it(store: Store) -> None:
    bench = Bench(store, destinations=(replace(LOOPBACK, verify=Verify.REQUIRE),))
    bench.receive(plain_ct())
    bench.work_for(60)

    assert delivery(bench).state is DeliveryState.FAILED
    assert "not verified" in delivery(bench).last_error
    assert bench.case("ln_ctv").state is CaseState.SENT


def test_a_site_that_does_not_want_to_ask_does_not(store: Store) -> None:
    bench = Bench(store, destinations=(replace(LOOPBACK, verify=Verify.OFF),))
    bench.receive(plain_ct())
    bench.work_for(60)

    assert delivery(bench).state is DeliveryState.SENT
    assert bench.verifier.asked == []


def test_what_the_destination_lost_is_sent_again_as_the_same_object(bench: Bench) -> None:
    bench.verifier.answer = MISSING
    bench.receive(plain_ct())
    bench.work_for(40)
    assert len(bench.verifier.asked) >= 3
    assert len(bench.sender.sent) == 2
    bench.verifier.answer = HELD
    bench.work_for(60)

    assert delivery(bench).state is DeliveryState.VERIFIED
    assert len({json.loads(data)["uid"] for _, data in bench.sender.sent}) == 1


def test_a_destination_that_loses_everything_is_given_up(bench: Bench) -> None:
    bench.verifier.answer = MISSING
    bench.receive(plain_ct())
    bench.work_for(120 * 3600, step_s=7200)

    assert delivery(bench).state is DeliveryState.FAILED
    assert "does not hold what it took" in delivery(bench).last_error


def test_a_promised_report_verifies_when_it_comes(bench: Bench) -> None:
    bench.verifier.answer = PENDING
    bench.receive(plain_ct())
    bench.work_for(20)
    assert delivery(bench).state is DeliveryState.SENT
    uid = delivery(bench).sop_instance_uid

    transaction = bench.verifier.asked[-1]
    for named, instance, peer in (("2.25.1", uid, [True]), (transaction, "1.2.3", [True]), (transaction, uid, [])):
        assert not bench.verification.reported(named, instance, None, lambda _: bool(peer))  # noqa: B023
    assert delivery(bench).state is DeliveryState.SENT
    for _ in range(2):
        assert bench.verification.reported(transaction, uid, None, lambda asked: asked.name == "tps")

    assert delivery(bench).verified_by == "storage commitment"
    assert bench.case("ln_ctv").state is CaseState.VERIFIED


def test_a_report_that_refuses_sends_again(bench: Bench) -> None:
    bench.verifier.answer = PENDING
    bench.receive(plain_ct())
    bench.work_for(20)

    uid = delivery(bench).sop_instance_uid
    bench.verification.reported(bench.verifier.asked[-1], uid, 0x0213, lambda _: True)
    assert delivery(bench).state is DeliveryState.SENT
    assert "does not commit itself: 0x0213" in delivery(bench).last_error
    bench.verification.reported(bench.verifier.asked[-1], uid, 0x0112, lambda _: True)
    assert delivery(bench).state is DeliveryState.QUEUED
    bench.work_for(60)
    assert len(bench.sender.sent) == 2


def test_a_report_that_never_comes_is_waited_for_only_so_long(bench: Bench) -> None:
    bench.verifier.answer = PENDING
    bench.receive(plain_ct())
    bench.work_for(30 * 3600, step_s=3600)

    assert delivery(bench).state is DeliveryState.SENT
    assert "not within 24 h" in delivery(bench).last_error
    assert delivery(bench).next_attempt_at is None


def test_a_destination_that_is_down_when_asked_is_asked_later(bench: Bench) -> None:
    bench.verifier.down = True
    bench.receive(plain_ct())
    bench.work_for(60)
    assert "connection refused" in delivery(bench).last_error
    bench.verifier.down, bench.verifier.answer = False, HELD
    bench.work_for(200)

    assert delivery(bench).state is DeliveryState.VERIFIED


def test_only_one_delivery_at_a_time_tries_a_destination_that_is_down(bench: Bench) -> None:
    bench.sender.down = True
    for number in range(6):
        bench.receive([replace(one, study_instance_uid=f"1.2.{number}", series_instance_uid=f"1.2.{number}.1",
                               sop_instance_uid=f"1.2.{number}.1.{index}")
                       for index, one in enumerate(plain_ct())])  # fmt: skip
    bench.work_for(15)
    bench.work_for(300, step_s=5)
    # One object alone is tried about as often: 5, 10, 20, ... seconds apart.
    assert bench.sender.tries <= 14
    bench.sender.down = False
    bench.work_for(400, step_s=20)

    assert len(bench.sender.sent) == 6
    assert len({data for _, data in bench.sender.sent}) == 6


def test_once_a_destination_answers_all_that_waits_goes_at_once(bench: Bench) -> None:
    bench.sender.down = True
    bench.receive(plain_ct())
    bench.receive([replace(one, study_instance_uid="1.9", series_instance_uid="1.9.1",
                           sop_instance_uid=f"1.9.1.{index}") for index, one in enumerate(plain_ct())])  # fmt: skip
    bench.work_for(2 * 24 * 3600, step_s=7200)
    bench.sender.down = False
    bench.work_for(3700, step_s=100)

    assert len(bench.sender.sent) == 2


def test_a_paused_destination_gets_nothing_until_it_is_resumed_and_others_do(store: Store) -> None:
    other = Destination("pacs", "PACS", "localhost", 104)
    bench = Bench(store, destinations=(LOOPBACK, other))
    operate = operations(bench)
    assert operate.pause("tps", by="Ann", reason="upgrade") == "destination tps is paused"
    bench.receive(plain_ct())
    bench.work_for(60)
    assert [name for name, _ in bench.sender.sent] == ["pacs"]
    (row, *_) = WorkBoard(store).destinations(["tps", "pacs"])
    assert (row.paused, row.deliveries) == ("paused by Ann: upgrade", {DeliveryState.QUEUED: 1})
    with store.transaction() as tx:
        assert tx.jobs_missing() == ()

    operate.resume("tps", by="Ann")
    bench.work_for(5)
    assert [name for name, _ in bench.sender.sent] == ["pacs", "tps"]
    assert operate.resume("tps", by="Ann") == "destination tps was not paused"


@pytest.mark.parametrize("how", ["paused", "held"])
def test_what_a_person_let_wait_for_long_is_not_given_up_by_the_first_failure_after_it(bench: Bench, how: str) -> None:
    operate = operations(bench)
    bench.receive(plain_ct())
    if how == "paused":
        operate.pause("tps", by="Ann")
    else:
        bench.clock.forward(11)
        bench.work(stop_before=JobKind.SEND)
        operate.hold(bench.case("ln_ctv").case_id, by="Ann")
    bench.work_for(60)
    bench.clock.forward(10 * 24 * 3600)
    bench.sender.down = True
    if how == "paused":
        operate.resume("tps", by="Ann")
    else:
        operate.release(bench.case("ln_ctv").case_id, by="Ann")
    bench.work_for(60)
    assert bench.sender.tries > 0
    assert delivery(bench).state is DeliveryState.QUEUED

    bench.sender.down = False
    bench.work_for(3600, step_s=60)
    assert len(bench.sender.sent) == 1
