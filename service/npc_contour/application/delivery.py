"""Sending structure sets and measurements, each destination with a state of its own.

A result of a demo network never goes to another machine unless the site's settings say so for that destination. A
destination that is down is tried by one delivery at a time, with growing pauses; once it answers, all that waits for it
goes at once. What a destination has taken is verified next (`application.verification`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from npc_contour.application.ports import Clock, Sender, Spool
from npc_contour.domain.cases import CaseRecord, DeliveryRecord
from npc_contour.domain.dimse import may_pass, status_words
from npc_contour.domain.jobs import AnyDestination, CaseState, Deliverable, DeliveryState, StoreReceipt, Verify
from npc_contour.domain.retry import RetryPolicy
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import DemoNotAllowedError, NotOfferedError, SendError
from npc_contour.logs import Event
from npc_contour.settings import Delivery, is_loopback
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

LEASE_FACTOR = 3.0
"""One try of a destination that is down may take this many times `timeout_s`: connect, negotiate, answer."""
REFUSED_TRIES = 3
"""How often an object is sent that is refused permanently: a destination may answer so while it starts."""
_OUT_OF_RESOURCES = 0xA700


def check_demo(destination: AnyDestination, *, demo: bool) -> None:
    """Return when a result may go to a destination.

    Raises:
        DemoNotAllowedError: a demo network made it, and the destination is another machine without permission.
    """
    if demo and not destination.allow_demo and not is_loopback(destination.host):
        raise DemoNotAllowedError(
            f"a demo network's result is not sent to {destination.host}: not for clinical use"
            f" (test systems only: allow_demo = true for destination {destination.name})"
        )


def takes(destination: AnyDestination, what: Deliverable) -> bool:
    """Whether the site wants this kind of object at a destination."""
    match what:
        case Deliverable.RTSTRUCT:
            return True
        case Deliverable.MEASUREMENTS:
            return destination.measurements
        case Deliverable.SEGMENTATION:
            return destination.segmentations
        case Deliverable.FINDINGS:
            return destination.findings
        case Deliverable.FINDINGS_PDF:
            return destination.findings_pdf


def add_deliveries(
    tx: Transaction,
    case: CaseRecord,
    destinations: Sequence[AnyDestination],
    now: datetime,
    what: Deliverable = Deliverable.RTSTRUCT,
) -> None:
    """Queue an object of a case for every destination that takes such objects."""
    for destination in destinations:
        if not takes(destination, what):
            continue
        message, state = "", DeliveryState.QUEUED
        try:
            check_demo(destination, demo=case.demo)
        except DemoNotAllowedError as error:
            message, state = str(error), DeliveryState.BLOCKED
        delivery_id = tx.add_delivery(case.case_id, destination.name, state, message, now, what)
        if state is DeliveryState.BLOCKED:
            _record(
                tx, Event.DELIVERY_BLOCKED, case.study_instance_uid, case.case_id, f"{destination.name}: {message}", now
            )
        elif delivery_id is not None:
            tx.defer(Job(JobKind.SEND, str(delivery_id)))


def finish_case(tx: Transaction, case: CaseRecord, now: datetime) -> None:
    """A case is sent when nothing is queued and one destination has it, verified when all that may have it prove it.

    Only its structure set counts: what becomes of the measurements is seen at their own deliveries.
    """
    all_of_case = tx.deliveries(case.case_id)
    states = {delivery.state for delivery in all_of_case if delivery.what is Deliverable.RTSTRUCT}
    states -= {DeliveryState.BLOCKED}
    state = case.state
    if case.state is CaseState.CONTOURED and states & {DeliveryState.SENT, DeliveryState.VERIFIED}:
        state = case.state if DeliveryState.QUEUED in states else CaseState.SENT
    if state is CaseState.SENT and states == {DeliveryState.VERIFIED}:
        state = CaseState.VERIFIED
        line = TimelineEntry(event=Event.CASE_VERIFIED, at=now, study=case.study_instance_uid, case=case.case_id)
        tx.record(line)
    if state is not case.state:
        tx.set_case(case.case_id, state, now)


def fail_delivery(tx: Transaction, delivery: DeliveryRecord, why: str, now: datetime) -> None:
    """Give a delivery up without another try: a person may send it again."""
    tx.set_delivery(
        delivery.delivery_id,
        DeliveryState.FAILED,
        now,
        attempts=delivery.attempts,
        next_try_at=None,
        status=delivery.status,
        message=why,
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one try came to.

    Attributes:
        down: the destination cannot be used at all, not only for this object.
    """

    state: DeliveryState
    event: Event
    message: str
    status: int | None = None
    next_try_at: datetime | None = None
    down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTools:
    """What sending and asking work with.

    Attributes:
        destinations: that the settings name.
        rules: how long to wait, and how long to try.
    """

    store: Store
    spool: Spool
    clock: Clock
    destinations: Sequence[AnyDestination]
    rules: Delivery

    @property
    def retries(self) -> RetryPolicy:
        """How long a delivery is tried, and a destination that is down."""
        return RetryPolicy(self.rules.first_retry_s, self.rules.max_retry_s, within_h=self.rules.give_up_after_h)

    def destination(self, name: str) -> AnyDestination | None:
        """Return a destination of the settings."""
        return next((one for one in self.destinations if one.name == name), None)

    def may_begin(
        self, tx: Transaction, delivery: DeliveryRecord, kind: JobKind, due_at: datetime | None, now: datetime
    ) -> bool:
        """Whether a delivery is due and its destination may be called; else the job is planned for when that is so."""
        wait_until = due_at if due_at is not None and now < due_at else None
        if wait_until is None:
            gate = tx.pass_gate(delivery.destination, now, LEASE_FACTOR * self.rules.timeout_s)
            if gate.is_open:
                return True
            wait_until = gate.wait_until
        if wait_until is not None:
            tx.defer(Job(kind, str(delivery.delivery_id), wait_until))
        return False


class SendDelivery:
    """Sends one object of a case to one destination, and plans the next try when it was not taken."""

    def __init__(self, tools: DeliveryTools, sender: Sender) -> None:
        """Send with these tools."""
        self._tools = tools
        self._store = tools.store
        self._clock = tools.clock
        self._rules = tools.rules
        self._sender = sender

    def run(self, delivery_id: str) -> None:
        """Do it once, when it is due."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            delivery = tx.delivery(int(delivery_id))
            if delivery is None or delivery.state is not DeliveryState.QUEUED or delivery.held:
                return
            if not self._tools.may_begin(tx, delivery, JobKind.SEND, delivery.next_try_at, now):
                return
        outcome = self._try(delivery)
        self._note(delivery, outcome, now)

    def given_up(self, delivery_id: str, reason: str) -> None:
        """Note that it cannot be sent by a fault of ours; a person may send it again."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            delivery = tx.delivery(int(delivery_id))
        if delivery is not None and delivery.state is DeliveryState.QUEUED:
            self._note(delivery, _Outcome(DeliveryState.FAILED, Event.DELIVERY_FAILED, reason), now)

    def _try(self, delivery: DeliveryRecord) -> _Outcome:
        destination = self._tools.destination(delivery.destination)
        if destination is None:
            message = f"destination {delivery.destination} is not in the settings any more"
            return _Outcome(DeliveryState.FAILED, Event.DELIVERY_FAILED, message)
        try:
            check_demo(destination, demo=delivery.demo)
            receipt = self._sender.send(self._tools.spool.read(delivery.key, delivery.seal), destination)
        except DemoNotAllowedError as error:
            return _Outcome(DeliveryState.BLOCKED, Event.DELIVERY_BLOCKED, str(error))
        except SendError as error:
            if isinstance(error, NotOfferedError) and delivery.what is not Deliverable.RTSTRUCT:
                return _Outcome(DeliveryState.FAILED, Event.DELIVERY_FAILED, f"it takes no {delivery.what}: {error}")
            return self._again(delivery, str(error), None, down=True)
        if receipt.is_stored:
            warning = status_words(receipt.status) if receipt.status else ""
            return _Outcome(DeliveryState.SENT, Event.DELIVERY_SENT, warning, receipt.status)
        full = receipt.status & 0xFF00 == _OUT_OF_RESOURCES
        return self._again(delivery, _refusal(receipt), receipt.status, down=full)

    def _again(self, delivery: DeliveryRecord, message: str, status: int | None, *, down: bool) -> _Outcome:
        if status is not None and not may_pass(status) and delivery.attempts + 1 >= REFUSED_TRIES and delivery.status:
            words = f"given up after {delivery.attempts + 1} tries, for this does not pass by itself: {message}"
            return _Outcome(DeliveryState.FAILED, Event.DELIVERY_FAILED, words, status)
        next_try_at = self._tools.retries.next_try(delivery.attempts + 1, self._clock.now(), delivery.created_at)
        if next_try_at is None:
            words = f"given up after {self._rules.give_up_after_h:g} h and {delivery.attempts + 1} tries: {message}"
            return _Outcome(DeliveryState.FAILED, Event.DELIVERY_FAILED, words, status, down=down)
        return _Outcome(DeliveryState.QUEUED, Event.DELIVERY_RETRY, message, status, next_try_at, down)

    def _note(self, delivery: DeliveryRecord, outcome: _Outcome, began: datetime) -> None:
        now = self._clock.now()
        study, case_id = delivery.study_instance_uid, delivery.case_id
        # Apart: whoever holds a delivery never asks for a destination, for whose holder asks for deliveries.
        with self._store.transaction() as tx:
            outcome = self._report_to_gate(tx, delivery, outcome, began, now)
        with self._store.transaction() as tx:
            case = tx.case(delivery.case_id, lock=True)
            current = tx.delivery(delivery.delivery_id, lock=True)
            if current is None or case is None or (current.state is not DeliveryState.QUEUED and not outcome.status):
                return
            if case.state in {CaseState.SUPERSEDED, CaseState.CANCELLED} and outcome.state is DeliveryState.QUEUED:
                return
            tx.set_delivery(
                delivery.delivery_id,
                outcome.state,
                now,
                attempts=delivery.attempts + 1,
                next_try_at=outcome.next_try_at,
                status=outcome.status,
                message=outcome.message,
            )
            if outcome.next_try_at is not None:
                tx.defer(Job(JobKind.SEND, str(delivery.delivery_id), outcome.next_try_at))
            detail = f"{delivery.destination}: {outcome.message}" if outcome.message else delivery.destination
            line = TimelineEntry(event=outcome.event, at=now, study=study, case=case_id, detail=detail)
            tx.record(line)
            if outcome.state is DeliveryState.SENT:
                tx.record(replace(line, detail="", step="send", seconds=(now - began).total_seconds()))
                self._plan_question(tx, delivery, now)
            finish_case(tx, case, now)
        level = logging.INFO if outcome.state is DeliveryState.SENT and not outcome.message else logging.WARNING
        logger.log(
            level,
            outcome.event,
            extra={
                "case_id": case_id,
                "study_instance_uid": study,
                "destination": delivery.destination,
                "message_text": outcome.message,
            },
        )

    def _report_to_gate(
        self, tx: Transaction, delivery: DeliveryRecord, outcome: _Outcome, began: datetime, now: datetime
    ) -> _Outcome:
        """Open or close the destination for all; what waits for a destination that is down goes when that is tried."""
        if outcome.down:
            try_at = tx.destination_failed(delivery.destination, began, now, self._tools.retries, outcome.message)
            return replace(outcome, next_try_at=try_at) if outcome.next_try_at is not None else outcome
        if outcome.status is not None and tx.destination_answered(delivery.destination, now):
            logger.info(Event.DESTINATION_BACK, extra={"destination": delivery.destination})
        return outcome

    def _plan_question(self, tx: Transaction, delivery: DeliveryRecord, now: datetime) -> None:
        destination = self._tools.destination(delivery.destination)
        if destination is not None and destination.verify is not Verify.OFF:
            ask_at = now + timedelta(seconds=self._rules.first_ask_s)
            tx.ask_later(delivery.delivery_id, ask_at, now, message="")


def _refusal(receipt: StoreReceipt) -> str:
    more = f" ({receipt.detail})" if receipt.detail else ""
    return f"the destination answered: {status_words(receipt.status)}{more}"


def _record(tx: Transaction, event: Event, study: str, case_id: str, detail: str, now: datetime) -> None:
    tx.record(TimelineEntry(event=event, at=now, study=study, case=case_id, detail=detail))
    logger.warning(event, extra={"case_id": case_id, "detail": detail})
