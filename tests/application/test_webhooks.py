"""What happens is told to whoever asks for it: at least once, signed, under one id, and never who the patient is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from npc_contour.adapters.webhooks import Hook, WebhookCaller
from npc_contour.application.webhooks import FIRST_PAUSE_S, LONGEST_PAUSE_S, CallWebhook, WebhookBoard
from npc_contour.domain.retry import RetryPolicy
from npc_contour.domain.status import Part
from npc_contour.domain.timeline import TimelineEntry, WebhookState
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import NoSuchRowError, OperationRefused, StoreError
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_testkit.bench import STUDY, Bench, plain_ct
from npc_testkit.peers import free_port
from npc_testkit.receivers import Receiver, receiver

SECRET = bytes(range(32))
LOOPBACK = [ip_network("127.0.0.0/8")]


@pytest.fixture
def ris() -> Iterator[Receiver]:
    with receiver(SECRET) as running:
        yield running


def bench_of(store: Store, url: str, events: list[str]) -> Bench:
    bench = Bench(store)
    caller = WebhookCaller({"ris": Hook("ris", url, SECRET, LOOPBACK, timeout_s=5.0)})
    retries = RetryPolicy(FIRST_PAUSE_S, LONGEST_PAUSE_S, within_h=24.0)
    bench.more[JobKind.CALL_WEBHOOK] = CallWebhook(store, bench.clock, caller, {"ris": retries}).run
    bench.steps = bench.new_steps()
    with store.transaction() as tx:
        tx.set_webhooks({"ris": events})
    return bench


def messages(bench: Bench, state: WebhookState | None = None) -> list[tuple[str, WebhookState, int, int | None]]:
    rows = WebhookBoard(bench.store, bench.clock).messages(state, Part())
    return [(row.event, row.state, row.attempts, row.status) for row in reversed(rows)]


def test_a_receiver_is_told_what_it_asked_for_and_no_more(store: Store, ris: Receiver) -> None:
    bench = bench_of(store, ris.url, ["case.created", "delivery.sent"])
    bench.receive(plain_ct())
    bench.work_for(20)

    assert [one.body["type"] for one in ris.told] == ["case.created", "delivery.sent"]
    assert all(one.signed for one in ris.told)
    case = bench.case("ln_ctv").case_id
    sent = ris.told[1]
    data = sent.body["data"]
    assert set(data.pop("findings").values()) == {"stop"}
    assert data == {"study_instance_uid": STUDY, "case_id": case}
    assert sent.body["timestamp"].endswith("+00:00")
    assert sent.headers["content-type"] == "application/json"
    assert abs(sent.timestamp - bench.clock.now().timestamp()) < 60
    details = bench.board.details(case)
    assert details is not None
    receipts = [line.detail for line in details.timeline if line.event == "webhook.delivered"]
    assert receipts[1] == f"ris answered 204, told of delivery.sent (message {sent.message_id})"


def test_a_message_is_written_with_the_change_it_tells_of_or_not_at_all(store: Store, ris: Receiver) -> None:
    bench = bench_of(store, ris.url, ["case.created"])
    line = TimelineEntry(event=Event.CASE_CREATED, at=bench.clock.now(), study=STUDY)

    def change_that_fails() -> None:
        with store.transaction() as tx:
            tx.record(line)
            tx.defer(Job(JobKind.SEND, "\x00"))

    with pytest.raises(StoreError):
        change_that_fails()
    bench.work()
    assert messages(bench) == []
    with store.transaction() as tx:
        tx.record(line)
    bench.work()
    assert [one.body["data"] for one in ris.told] == [{"study_instance_uid": STUDY}]


def test_a_receiver_that_is_down_is_told_once_it_is_back_under_the_same_id(store: Store) -> None:
    port = free_port()
    bench = bench_of(store, f"http://127.0.0.1:{port}/", ["case.created"])
    bench.receive(plain_ct())
    bench.work_for(60)
    ((event, state, tries, status),) = messages(bench)
    assert (event, state, status) == ("case.created", WebhookState.QUEUED, None)
    assert tries >= 3
    with receiver(SECRET, port) as back:
        back.answers = [500, 503]
        bench.work_for(3600, step_s=60)
        told = back.told
    assert [one.signed for one in told] == [True] * 3
    assert len({(one.message_id, one.raw) for one in told}) == 1
    assert told[0].timestamp < told[1].timestamp < told[2].timestamp
    assert messages(bench) == [("case.created", WebhookState.DELIVERED, tries + 3, 204)]


def test_an_answer_that_was_lost_makes_a_duplicate_with_the_same_id(store: Store, ris: Receiver) -> None:
    bench = bench_of(store, ris.url, ["case.created"])
    with store.transaction() as tx:
        tx.record(TimelineEntry(event=Event.CASE_CREATED, at=bench.clock.now(), study=STUDY))
    bench.work()
    store.query(
        "UPDATE webhook_message SET state = 'queued', next_try_at = %(now)s RETURNING id", {"now": bench.clock.now()}
    )
    with store.transaction() as tx:
        (missing,) = [job for job in tx.jobs_missing() if job.kind is JobKind.CALL_WEBHOOK]
        tx.defer(missing)
    bench.work()
    assert [one.message_id for one in ris.told] == [missing.key] * 2


def test_what_cannot_be_delivered_is_given_up_told_and_tried_anew_by_a_person(store: Store, ris: Receiver) -> None:
    bench = bench_of(store, ris.url, ["case.created"])
    ris.answers = [500] * 100
    bench.receive(plain_ct())
    bench.work_for(26 * 3600, step_s=900)
    ((_, state, tries, status),) = messages(bench)
    assert (state, status) == (WebhookState.FAILED, 500)
    assert 20 < tries < 50
    (failed,) = WebhookBoard(store, bench.clock).messages(WebhookState.FAILED, Part())
    told = len(ris.told)
    ris.answers.clear()
    board = WebhookBoard(store, bench.clock)
    board.retry(failed.message_id)
    bench.work()
    assert len(ris.told) == told + 1
    assert {one.message_id for one in ris.told} == {failed.message_id}
    with pytest.raises(OperationRefused, match="is delivered"):
        board.retry(failed.message_id)
    with pytest.raises(NoSuchRowError):
        board.retry("6f1c1b9e-6c0e-4b57-9d5e-5b1f0d1c2a3b")


def test_a_receiver_that_is_gone_is_not_asked_again(store: Store, ris: Receiver) -> None:
    bench = bench_of(store, ris.url, ["case.created"])
    ris.answers = [410]
    bench.receive(plain_ct())
    bench.work_for(3600, step_s=300)
    assert messages(bench) == [("case.created", WebhookState.FAILED, 1, 410)]


def test_a_hook_that_left_the_settings_is_told_nothing_new_and_its_rest_is_given_up(
    store: Store, ris: Receiver
) -> None:
    bench = bench_of(store, ris.url, ["case.created"])
    line = TimelineEntry(event=Event.CASE_CREATED, at=bench.clock.now(), study=STUDY)
    with store.transaction() as tx:
        tx.record(line)
        tx.set_webhooks({})
        tx.record(line)
    bench.more[JobKind.CALL_WEBHOOK] = CallWebhook(store, bench.clock, WebhookCaller({}), {}).run
    bench.steps = bench.new_steps()
    bench.work()
    assert messages(bench) == [("case.created", WebhookState.FAILED, 1, None)]
    assert ris.told == []


def test_no_message_says_who_the_patient_is(store: Store, ris: Receiver) -> None:
    bench = bench_of(store, ris.url, [event.value for event in Event if event.value.startswith(("case", "series"))])
    headers = plain_ct()
    bench.receive(headers)
    bench.work_for(20)
    sent = json.dumps([one.body for one in ris.told])
    assert ris.told
    assert headers[0].patient_id not in sent
    assert {name for one in ris.told for name in one.body["data"]} <= {
        "study_instance_uid", "series_instance_uid", "case_id", "findings",
    }  # fmt: skip
