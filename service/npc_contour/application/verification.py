"""A destination has taken a structure set; now it is asked to prove that it holds it. Only that is `verified`.

* It proves it: the delivery is verified.
* It says that it does not hold the object, three times over: the object is sent again.
* It promised an answer (storage commitment): the answer comes over an association of its own, or it is asked again.
* It cannot be asked: with `verify = "require"` the delivery fails, so that a person looks; with `"try"` it stays sent,
  and says why it is no more than that.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import datetime

from npc_contour.application.delivery import DeliveryTools, fail_delivery, finish_case
from npc_contour.application.ports import Verifier
from npc_contour.domain.cases import DeliveryRecord
from npc_contour.domain.dimse import status_words
from npc_contour.domain.jobs import AnyDestination, DeliveryState, Evidence, Proof, Verify
from npc_contour.domain.retry import RetryPolicy
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import JobKind
from npc_contour.errors import SendError
from npc_contour.logs import Event
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

MISSING_LIMIT = 3
"""A PACS may show an object only seconds after it took it."""
NO_SUCH_OBJECT = 0x0112
"""The one reason by which a destination says that it does not hold an object (PS3.3 C.14.1.1)."""
PROMISE_S = 30.0
"""How long a promised answer is waited for before the question is put again, doubled each time."""


class VerifyDelivery:
    """Asks one destination about one structure set."""

    def __init__(self, tools: DeliveryTools, verifier: Verifier) -> None:
        """Ask with these tools."""
        self._tools = tools
        self._store = tools.store
        self._clock = tools.clock
        self._rules = tools.rules
        self._verifier = verifier

    def run(self, delivery_id: str) -> None:
        """Do it once, when it is due."""
        now = self._clock.now()
        transaction_uid = f"2.25.{uuid.uuid4().int}"
        with self._store.transaction() as tx:
            delivery = tx.delivery(int(delivery_id))
            if delivery is None or delivery.state is not DeliveryState.SENT or delivery.ask_at is None:
                return
            destination = self._tools.destination(delivery.destination)
            if destination is None or destination.verify is Verify.OFF:
                tx.ask_later(delivery.delivery_id, None, now, message="")
                return
            if not self._tools.may_begin(tx, delivery, JobKind.VERIFY, delivery.ask_at, now):
                return
            # It stays due: should this process die, the question is put again at once.
            tx.begin_ask(delivery.delivery_id, transaction_uid)
        try:
            sent = self._tools.spool.read(delivery.key, delivery.seal)
            evidence = self._verifier.ask(sent, destination, transaction_uid)
        except SendError as error:
            self._no_answer(delivery, destination, str(error), now)
        else:
            self._answered(delivery, destination, evidence)

    def given_up(self, delivery_id: str, reason: str) -> None:
        """Note that it cannot be asked about by a fault of ours."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            delivery = tx.delivery(int(delivery_id), lock=True)
            destination = self._tools.destination(delivery.destination) if delivery is not None else None
            if delivery is not None and destination is not None and delivery.state is DeliveryState.SENT:
                self._give_up(tx, delivery, destination, reason, now)

    def reported(
        self,
        transaction_uid: str,
        sop_instance_uid: str,
        failure: int | None,
        is_from: Callable[[AnyDestination], bool],
    ) -> bool:
        """Note the report of a storage commitment that came over an association of the destination's own.

        Args:
            transaction_uid: that our request had.
            sop_instance_uid: of the object that the report is about.
            failure: why the destination does not commit itself to keep it (PS3.3 C.14.1.1); None where it does.
            is_from: whether the report came from a destination.

        Returns:
            Whether there was such a request, to whoever reports. A report from anybody else is ignored.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            asked = tx.delivery_of_transaction(transaction_uid)
        if asked is None or asked.sop_instance_uid != sop_instance_uid:
            return False
        destination = self._tools.destination(asked.destination)
        if destination is None or not is_from(destination):
            logger.warning(
                Event.DELIVERY_UNVERIFIED,
                extra={
                    "case_id": asked.case_id,
                    "destination": asked.destination,
                    "detail": "a report of storage commitment came from another AE title or address and was ignored",
                },
            )
            return False
        with self._store.transaction() as tx:
            case = tx.case(asked.case_id, lock=True)
            found = tx.delivery(asked.delivery_id, lock=True) or asked
            if found.state is not DeliveryState.SENT or case is None:
                return True
            if failure is None:
                self._verified(tx, found, "storage commitment", now)
                finish_case(tx, case, now)
            elif failure == NO_SUCH_OBJECT:
                self._send_again(tx, found, "storage commitment", now)
            else:
                words = f"storage commitment: it does not commit itself: {status_words(failure)}"
                self._later(tx, found, destination, words, now, first_s=PROMISE_S)
        return True

    def _answered(self, delivery: DeliveryRecord, destination: AnyDestination, evidence: Evidence) -> None:
        now = self._clock.now()
        with self._store.transaction() as tx:
            tx.destination_answered(delivery.destination, now)
        with self._store.transaction() as tx:
            case = tx.case(delivery.case_id, lock=True)
            current = tx.delivery(delivery.delivery_id, lock=True)
            if case is None or current is None or current.state is not DeliveryState.SENT:
                return  # a report came meanwhile, or a person sent it again
            if evidence.proof is Proof.HELD:
                self._verified(tx, current, evidence.by, now)
            elif evidence.proof is Proof.NOT_OFFERED:
                self._give_up(tx, current, destination, evidence.detail or "it offers no way to ask", now)
            elif evidence.proof is Proof.MISSING and current.asks >= MISSING_LIMIT:
                self._send_again(tx, current, evidence.by, now)
            else:
                missing = evidence.proof is Proof.MISSING
                words = f"{evidence.by}: {'not there yet' if missing else evidence.detail}"
                first_s = self._rules.first_retry_s if missing else PROMISE_S
                self._later(tx, current, destination, words, now, first_s=first_s)
            finish_case(tx, case, now)

    def _no_answer(self, delivery: DeliveryRecord, destination: AnyDestination, message: str, began: datetime) -> None:
        now = self._clock.now()
        with self._store.transaction() as tx:
            tx.destination_failed(delivery.destination, began, now, self._tools.retries, message)
        with self._store.transaction() as tx:
            case = tx.case(delivery.case_id, lock=True)
            current = tx.delivery(delivery.delivery_id, lock=True)
            if case is not None and current is not None and current.state is DeliveryState.SENT:
                self._later(tx, current, destination, message, now, first_s=self._rules.first_retry_s)
                finish_case(tx, case, now)

    def _later(
        self,
        tx: Transaction,
        delivery: DeliveryRecord,
        destination: AnyDestination,
        message: str,
        now: datetime,
        *,
        first_s: float,
    ) -> None:
        """Plan the next question, or give up when the time for it is over."""
        asking = RetryPolicy(first_s, self._rules.max_retry_s, within_h=self._rules.verify_within_h)
        ask_at = asking.next_try(max(delivery.asks, 1), now, delivery.sent_at or delivery.created_at)
        if ask_at is None:
            self._give_up(tx, delivery, destination, f"not within {self._rules.verify_within_h:g} h: {message}", now)
        else:
            tx.ask_later(delivery.delivery_id, ask_at, now, message=f"not verified yet: {message}")

    def _verified(self, tx: Transaction, delivery: DeliveryRecord, by: str, now: datetime) -> None:
        tx.set_verified(delivery.delivery_id, by, now)
        _record(tx, Event.DELIVERY_VERIFIED, delivery, f"by {by}", now, logging.INFO)

    def _send_again(self, tx: Transaction, delivery: DeliveryRecord, by: str, now: datetime) -> None:
        words = f"{by}: the destination does not hold what it took with {status_words(delivery.status or 0)}"
        due_at = self._tools.retries.next_try(delivery.attempts + 1, now, delivery.created_at)
        if due_at is None:
            fail_delivery(tx, delivery, f"given up after {delivery.attempts} tries: {words}", now)
        else:
            tx.deliver_again(delivery.delivery_id, due_at, now, message=words)
        _record(tx, Event.DELIVERY_MISSING, delivery, words, now, logging.ERROR)

    def _give_up(
        self, tx: Transaction, delivery: DeliveryRecord, destination: AnyDestination, why: str, now: datetime
    ) -> None:
        words = f"taken with {status_words(delivery.status or 0)}, but not verified: {why}"
        if destination.verify is Verify.REQUIRE:
            fail_delivery(tx, delivery, words, now)
        else:
            tx.ask_later(delivery.delivery_id, None, now, message=words)
        _record(tx, Event.DELIVERY_UNVERIFIED, delivery, words, now, logging.WARNING)


def _record(tx: Transaction, event: Event, delivery: DeliveryRecord, detail: str, now: datetime, level: int) -> None:
    line = f"{delivery.destination}: {detail}"
    tx.record(TimelineEntry(event=event, at=now, study=delivery.study_instance_uid, case=delivery.case_id, detail=line))
    logger.log(level, event, extra={"case_id": delivery.case_id, "destination": delivery.destination, "detail": detail})
