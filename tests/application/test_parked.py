"""Nothing is tried for ever: what cannot be done is parked with its reason, and begins again when asked for."""

from __future__ import annotations

import pytest

from npc_contour.application.operations import Operations
from npc_contour.application.steps import MAX_ATTEMPTS, MAX_CRASHES, Steps
from npc_contour.domain.jobs import CaseState, DeliveryState, Evidence, Proof
from npc_contour.domain.status import DeliveryRow
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import ArchiveError, CatalogError, InferenceError, NoSuchRowError, OperationRefused
from npc_contour.store.database import Store
from npc_contour.store.work_board import WorkBoard
from npc_testkit.bench import STUDY, Bench, plain_ct

HOUR_S = 3600.0


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def delivery(bench: Bench) -> DeliveryRow:
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    return details.deliveries[0]


def operations(bench: Bench) -> Operations:
    return Operations(bench.store, bench.clock, bench.destinations)


def missing(bench: Bench) -> set[str]:
    with bench.store.transaction() as tx:
        return {f"{job.kind}:{job.key}" for job in tx.jobs_missing()}


def die(bench: Bench, kind: JobKind, key: str) -> None:
    """Leave what a killed process leaves: attempts that were counted, and no word of how they ended."""
    for _ in range(MAX_CRASHES):
        with bench.store.transaction() as tx:
            tx.count_attempt(kind, key, bench.clock.now())


class Broken:
    """A step that fails until it is mended."""

    def __init__(self, bench: Bench, kind: JobKind, error: Exception) -> None:
        self.error: Exception | None = error
        self.tries = 0
        self._mended = bench.handlers[kind]
        bench.more[kind] = self.run
        bench.steps = bench.new_steps()

    def run(self, key: str) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self._mended(key)


def test_a_step_that_fails_again_and_again_is_parked_and_a_person_begins_it_again(bench: Bench) -> None:
    route = Broken(bench, JobKind.ROUTE_STUDY, ZeroDivisionError("a bug"))
    bench.receive(plain_ct())
    bench.work_for(2 * HOUR_S, step_s=60)

    (parked,) = WorkBoard(bench.store).parked()
    assert (parked.kind, parked.key) == ("route_study", STUDY)
    assert parked.reason == f"route_study failed {MAX_ATTEMPTS} times: a bug"
    assert route.tries == MAX_ATTEMPTS
    assert missing(bench) == set()
    assert bench.board.counts().parked == {"route_study": 1}
    study = WorkBoard(bench.store).study(STUDY)
    assert study is not None
    assert [event.detail for event in study.timeline if event.event == "step.parked"] == [
        f"route_study: {parked.reason}"
    ]

    route.error = None
    operations(bench).retry_step("route_study", STUDY, by="Ann")
    bench.work_for(60)

    assert bench.case("ln_ctv").state is CaseState.SENT
    assert WorkBoard(bench.store).parked() == ()
    assert "step.retried" in {event.event for event in WorkBoard(bench.store).study(STUDY).timeline}  # type: ignore[union-attr]


def test_something_new_begins_a_parked_step_again(bench: Bench) -> None:
    images = plain_ct()
    close = Broken(bench, JobKind.CLOSE_SERIES, CatalogError("cannot be"))
    bench.receive(images[:-1])
    bench.work_for(60)
    assert [row.kind for row in WorkBoard(bench.store).parked()] == ["close_series"]
    assert close.tries == 1

    close.error = None
    bench.receive(images[-1:])
    bench.work_for(60)

    assert WorkBoard(bench.store).parked() == ()
    assert bench.case("ln_ctv").state is CaseState.SENT


def test_a_step_that_kills_its_process_is_not_begun_again_by_itself(bench: Bench) -> None:
    bench.receive(plain_ct())
    die(bench, JobKind.ROUTE_STUDY, STUDY)
    bench.work_for(600, step_s=30)

    (parked,) = WorkBoard(bench.store).parked()
    assert "killed or out of memory" in parked.reason
    assert bench.cases("ln_ctv") == []
    operations(bench).retry_step("route_study", STUDY, by="Ann")
    bench.work_for(60)
    assert bench.case("ln_ctv").state is CaseState.SENT


def test_a_send_that_fails_by_our_fault_fails_its_delivery_and_can_be_sent_again(bench: Bench) -> None:
    sends = Broken(bench, JobKind.SEND, ZeroDivisionError("a bug"))
    bench.receive(plain_ct())
    bench.work_for(2 * HOUR_S, step_s=60)

    assert delivery(bench).state is DeliveryState.FAILED
    assert "a bug" in delivery(bench).last_error
    assert sends.tries == MAX_ATTEMPTS
    assert missing(bench) == set()
    assert WorkBoard(bench.store).parked() == ()

    sends.error = None
    operations(bench).retry(bench.case("ln_ctv").case_id, by="Ann")
    bench.work_for(60)
    assert delivery(bench).state is DeliveryState.SENT


def test_a_send_that_kills_its_process_again_and_again_fails_its_delivery(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEND)
    die(bench, JobKind.SEND, "1")
    bench.work_for(60)

    assert delivery(bench).state is DeliveryState.FAILED
    assert "killed or out of memory" in delivery(bench).last_error


def test_a_step_whose_process_died_once_goes_on_at_once_and_waits_longer_each_time_after_that(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    case = bench.case("ln_ctv").case_id
    begun = []
    for _ in range(4):
        with bench.store.transaction() as tx:
            tx.count_attempt(JobKind.SEGMENT_CASE, case, bench.clock.now())
        for second in range(60):
            with bench.store.transaction() as tx:
                before = tx.attempts(JobKind.SEGMENT_CASE, case)
            bench.engine.failures = [InferenceError("begun")]
            bench.steps.run(JobKind.SEGMENT_CASE, case)
            with bench.store.transaction() as tx:
                if tx.attempts(JobKind.SEGMENT_CASE, case) > before:
                    # As if the process had crashed in place of the failure.
                    bench.store.query("UPDATE attempt SET running = true RETURNING 1")
                    begun.append(second)
                    break
            bench.clock.forward(1)
    assert begun == sorted(begun)
    assert begun[0] == 0 < begun[1]


def test_waiting_for_a_place_of_the_networks_makes_no_crashes_forgotten(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    case = bench.case("ln_ctv").case_id
    die(bench, JobKind.SEGMENT_CASE, case)
    with bench.store.transaction() as tx:
        tx.attempt_message(JobKind.SEGMENT_CASE, case, "cut short")
    with bench.store.slot(1) as free:
        assert free
        for _ in range(2 * MAX_ATTEMPTS):
            bench.steps.run(JobKind.SEGMENT_CASE, case)
    with bench.store.transaction() as tx:
        assert tx.attempts(JobKind.SEGMENT_CASE, case) == MAX_CRASHES
        assert tx.count_attempt(JobKind.SEGMENT_CASE, case, bench.clock.now()).crashes == MAX_CRASHES - 1


def test_a_question_that_fails_by_our_fault_is_asked_no_more_and_says_so(bench: Bench) -> None:
    bench.verifier.answer = Evidence(Proof.HELD, "C-FIND")
    asks = Broken(bench, JobKind.VERIFY, ZeroDivisionError("a bug"))
    bench.receive(plain_ct())
    bench.work_for(2 * HOUR_S, step_s=60)

    assert asks.tries == MAX_ATTEMPTS
    assert (delivery(bench).state, delivery(bench).next_attempt_at) == (DeliveryState.SENT, None)
    assert "a bug" in delivery(bench).last_error
    assert missing(bench) == set()


def test_what_looks_again_by_itself_is_never_parked_by_an_error(bench: Bench) -> None:
    def silent(_: str) -> None:
        raise ArchiveError("the PACS does not answer")

    steps = Steps(bench.store, bench.clock, {JobKind.POLL_ARCHIVE: silent})
    for _ in range(2 * MAX_ATTEMPTS):
        steps.run(JobKind.POLL_ARCHIVE, "night")

    assert WorkBoard(bench.store).parked() == ()
    (job,) = bench.store.query("SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo'")
    assert job["queueing_lock"] == "poll_archive:night"


def test_only_what_is_parked_can_be_begun_again(bench: Bench) -> None:
    with bench.store.transaction() as tx:
        tx.defer(Job(JobKind.ROUTE_STUDY, STUDY))
    with pytest.raises(OperationRefused, match=r"route_study:1\.2 is not parked"):
        operations(bench).retry_step("route_study", STUDY, by="Ann")
    with pytest.raises(NoSuchRowError, match="there are no steps 'mow_lawn', only close_series"):
        operations(bench).retry_step("mow_lawn", STUDY, by="Ann")


def test_a_stop_of_the_service_is_no_crash_of_any_step(bench: Bench) -> None:
    for _ in range(2 * MAX_CRASHES):
        with bench.store.transaction() as tx:
            tx.count_attempt(JobKind.SEND, "7", bench.clock.now())
        bench.steps.interrupted(JobKind.SEND, "7")
    with bench.store.transaction() as tx:
        assert tx.count_attempt(JobKind.SEND, "7", bench.clock.now()).crashes == 0
