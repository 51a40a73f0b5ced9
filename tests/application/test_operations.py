"""A person can retry, cancel, hold, resend and supersede; what makes no sense now is refused in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from npc_contour.application.operations import Operations
from npc_contour.domain.jobs import CaseState, DeliveryState, Destination
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.work import JobKind
from npc_contour.errors import NetworkMismatchError, NoSuchRowError, OperationRefused, PixelDataError
from npc_contour.store.database import Store
from npc_contour.store.work_board import WorkBoard
from npc_testkit.bench import LOOPBACK, WAIT_S, Bench, contrast_ct, plain_ct


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def operate(bench: Bench) -> Operations:
    return Operations(bench.store, bench.clock, bench.destinations)


def test_a_failed_case_begins_again(bench: Bench) -> None:
    bench.engine.failures = [NetworkMismatchError("Triton runs another network")]
    bench.receive(plain_ct())
    bench.work_for(15)
    case = bench.case("ln_ctv")
    assert case.state is CaseState.FAILED

    operate(bench).retry(case.case_id, by="Ann")
    bench.work_for(10)

    assert bench.case("ln_ctv").state is CaseState.SENT
    assert bench.case("ln_ctv").case_id == case.case_id


def test_a_refused_case_without_images_is_routed_again(bench: Bench) -> None:
    bench.receive(contrast_ct())
    bench.work_for(WAIT_S + 20)
    case = bench.case("npc_oar_gtv")
    assert case.state is CaseState.REFUSED

    operate(bench).retry(case.case_id, by="Ann")
    bench.work_for(10)

    assert bench.case("npc_oar_gtv").state is CaseState.REFUSED


def test_a_refused_case_with_images_is_read_again(bench: Bench) -> None:
    bench.reader.failure = PixelDataError("slice 3 of 50: truncated")
    bench.receive(plain_ct())
    bench.work_for(15)
    bench.reader.failure = None

    operate(bench).retry(bench.case("ln_ctv").case_id, by="Ann")
    bench.work_for(10)

    assert bench.case("ln_ctv").state is CaseState.SENT


def test_a_delivery_that_was_given_up_is_sent_again(bench: Bench) -> None:
    bench.sender.status = 0xC000
    bench.receive(plain_ct())
    bench.work_for(97 * 3600, step_s=3600)
    bench.sender.status = 0
    case = bench.case("ln_ctv")

    operate(bench).retry(case.case_id, by="Ann")
    bench.work_for(10)

    assert bench.case("ln_ctv").state is CaseState.SENT
    with pytest.raises(OperationRefused, match="nothing of it has failed"):
        operate(bench).retry(case.case_id, by="Ann")


def test_a_cancelled_case_goes_no_further_and_new_images_make_a_new_one(bench: Bench) -> None:
    images = plain_ct(51)
    bench.receive(images[:-1])
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    case = bench.case("ln_ctv")

    assert operate(bench).cancel(case.case_id, by="Ann", reason="wrong patient").endswith("wrong patient")
    bench.work_for(60)
    assert bench.case("ln_ctv").state is CaseState.CANCELLED
    assert not bench.engine.calls
    assert not bench.sender.sent
    bench.receive(images[-1:])
    bench.work_for(15)

    assert [one.state for one in bench.cases("ln_ctv")] == [CaseState.SUPERSEDED, CaseState.SENT]


def test_a_case_cancelled_while_the_network_runs_is_not_sent(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    case = bench.case("ln_ctv")

    def cancel() -> None:
        operate(bench).cancel(case.case_id, by="Ann")

    bench.engine.before = cancel
    bench.work_for(20)

    assert bench.case("ln_ctv").state is CaseState.CANCELLED
    assert not bench.sender.sent


def test_what_was_sent_cannot_be_cancelled(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(15)

    with pytest.raises(OperationRefused, match="is sent: what was sent"):
        operate(bench).cancel(bench.case("ln_ctv").case_id, by="Ann")


@pytest.mark.parametrize("stop_before", [JobKind.SEGMENT_CASE, JobKind.WRITE_STRUCTURE_SET, JobKind.SEND])
def test_a_held_case_stays_where_it_is_until_it_is_released(bench: Bench, stop_before: JobKind) -> None:
    bench.receive(plain_ct())
    bench.clock.forward(11)
    bench.work(stop_before=stop_before)
    case = bench.case("ln_ctv")

    operate(bench).hold(case.case_id, by="Ann", reason="is this the right study?")
    bench.work_for(30)
    with bench.store.transaction() as tx:
        assert JobKind.SEND not in {job.kind for job in tx.jobs_missing()}
    assert bench.case("ln_ctv").state is case.state
    assert not bench.sender.sent
    operate(bench).release(case.case_id, by="Ann")
    bench.work_for(10)

    assert bench.case("ln_ctv").state is CaseState.SENT
    with pytest.raises(OperationRefused, match="not held"):
        operate(bench).release(case.case_id, by="Ann")


def test_resend_sends_the_same_object_also_to_a_new_destination(store: Store) -> None:
    bench = Bench(store)
    bench.receive(plain_ct())
    bench.work_for(15)
    case = bench.case("ln_ctv")
    bench.destinations = (LOOPBACK, Destination("pacs", "PACS", "localhost", 104))
    bench.steps = bench.new_steps()

    operate(bench).resend(case.case_id, by="Ann", to=["pacs"])
    bench.work_for(10)
    operate(bench).resend(case.case_id, by="Ann")
    bench.work_for(10)

    assert [name for name, _ in bench.sender.sent] == ["tps", "pacs", "tps", "pacs"]
    assert len({json.loads(data)["uid"] for _, data in bench.sender.sent}) == 1
    assert bench.case("ln_ctv").state is CaseState.SENT
    with pytest.raises(NoSuchRowError, match="no destination 'nobody'; there are: pacs, tps"):
        operate(bench).resend(case.case_id, by="Ann", to=["nobody"])


def test_a_demo_result_is_resent_to_nobody_who_may_not_have_it(store: Store) -> None:
    bench = Bench(store, destinations=(Destination("remote", "TPS", "10.0.0.7", 104),))
    bench.receive(plain_ct())
    bench.work_for(15)
    with pytest.raises(OperationRefused, match="allow_demo"):
        operate(bench).resend(bench.case("ln_ctv").case_id, by="Ann")
    assert bench.sender.tries == 0


def test_the_same_images_are_contoured_anew_when_asked(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(15)
    old = bench.case("ln_ctv")

    operate(bench).supersede(old.case_id, by="Ann", reason="new networks")
    bench.work_for(15)

    new = bench.case("ln_ctv")
    assert (new.generation, new.predecessor, new.state) == (2, old.case_id, CaseState.SENT)
    assert len({json.loads(data)["uid"] for _, data in bench.sender.sent}) == 2
    with pytest.raises(OperationRefused, match="is superseded"):
        operate(bench).supersede(old.case_id, by="Ann")


def test_a_case_that_is_not_there_is_named(bench: Bench) -> None:
    for act in ("retry", "cancel", "hold", "release", "resend", "supersede"):
        with pytest.raises(NoSuchRowError, match="no case nothing"):
            getattr(operate(bench), act)("nothing", by="Ann")


def test_urgent_studies_go_before_others(bench: Bench) -> None:
    def study(uid: str) -> list[InstanceHeader]:
        return [replace(one, study_instance_uid=uid, series_instance_uid=f"{uid}.1", sop_instance_uid=f"{uid}.1.{n}")
                for n, one in enumerate(plain_ct())]  # fmt: skip

    bench.receive(study("1.5"))
    bench.receive(study("1.6"), called_ae_title="NPC_URGENT")
    bench.work_for(15)

    seeds = [json.loads(data)["series"] for _, data in bench.sender.sent]
    assert seeds == ["1.6.1", "1.5.1"]


def test_the_story_of_a_study_is_told_from_the_first_image_to_the_end(bench: Bench) -> None:
    images = plain_ct()
    bench.receive(images[:20] + images[21:])
    bench.work_for(60)
    bench.receive(images[20:21])
    bench.work_for(15)
    operate(bench).resend(bench.case("ln_ctv").case_id, by="Ann")

    details = WorkBoard(bench.store).study("1.2")
    assert details is not None
    told = [(event.event, event.detail) for event in details.timeline if event.seconds is None]
    events = [event for event, _ in told]
    for first, then in (
        ("series.opened", "series.waiting"),
        ("series.waiting", "series.ready"),
        ("series.ready", "case.created"),
        ("case.created", "case.segmented"),
        ("structure_set.written", "delivery.sent"),
        ("delivery.sent", "delivery.resent"),
    ):
        assert events.index(first) < len(events) - 1 - events[::-1].index(then)
    assert ("series.opened", "CT images come from CT_SCANNER to NPC_CONTOUR") in told
    assert any("49 images, waiting for more: " in detail and "gap" in detail for _, detail in told)
    assert any(detail.startswith("50 images received") for _, detail in told)
    assert WorkBoard(bench.store).study("1.77") is None
    assert {case.state for case in details.cases} >= {CaseState.CONTOURED}
    told_now = bench.board.details(bench.case("ln_ctv").case_id)
    assert told_now is not None
    assert [row.state for row in told_now.deliveries] == [DeliveryState.QUEUED]
