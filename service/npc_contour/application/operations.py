"""What a person does to work: retry, cancel, hold, release, resend, supersede; pause and resume a destination.

Each is one transaction, may be repeated without harm, and adds an entry to the timeline: who and why. Where it
cannot be done in the present state, the refusal says what state that is.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from npc_contour.application.delivery import add_deliveries, check_demo
from npc_contour.application.ports import Clock
from npc_contour.application.steps import STUDY_KINDS
from npc_contour.domain.cases import CaseRecord, DeliveryRecord
from npc_contour.domain.jobs import AnyDestination, CaseState, DeliveryState
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import DemoNotAllowedError, NoSuchRowError, OperationRefused
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

ENDED_BADLY = {CaseState.FAILED, CaseState.REFUSED, CaseState.CANCELLED}
UNFINISHED = {CaseState.WAITING, CaseState.AMBIGUOUS, CaseState.ROUTED, CaseState.SEGMENTED, CaseState.CONTOURED}
WRITTEN = {CaseState.CONTOURED, CaseState.SENT, CaseState.VERIFIED}
NEXT_JOB = {CaseState.ROUTED: JobKind.SEGMENT_CASE, CaseState.SEGMENTED: JobKind.WRITE_STRUCTURE_SET}


class Operations:
    """Does what a person asks for; every method returns what was done in one sentence.

    Args:
        store: of the service.
        clock: of the service.
        destinations: that the settings name.
    """

    def __init__(self, store: Store, clock: Clock, destinations: Sequence[AnyDestination]) -> None:
        self._store = store
        self._clock = clock
        self._destinations = {destination.name: destination for destination in destinations}

    def retry(self, case_id: str, *, by: str) -> str:
        """Retry what failed: the case, or its deliveries that were given up.

        Raises:
            NoSuchRowError: there is no such case.
            OperationRefused: nothing of it has failed.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            case = _case(tx, case_id)
            if case.state in ENDED_BADLY:
                for kind in NEXT_JOB.values():
                    tx.clear_attempts(kind, case_id)
                if not case.inputs:
                    tx.route_again(case_id, now)
                    tx.defer(Job(JobKind.ROUTE_STUDY, case.study_instance_uid))
                    return self._done(tx, Event.CASE_RETRIED, case, by, "routed again with the series that are there")
                tx.set_case(case_id, CaseState.ROUTED, now, reasons=())
                tx.defer(Job(JobKind.SEGMENT_CASE, case_id))
                return self._done(tx, Event.CASE_RETRIED, case, by, f"retried, it was {case.state}")
            failed = [one for one in tx.deliveries(case_id) if one.state is DeliveryState.FAILED]
            if case.state not in WRITTEN or not failed:
                raise OperationRefused(f"case {case_id} is {case.state} and nothing of it has failed: see resend")
            names = self._queue(tx, case, failed)
            return self._done(tx, Event.DELIVERY_RESENT, case, by, f"sent again to {names}")

    def retry_step(self, kind: str, key: str, *, by: str) -> str:
        """Begin a parked step again.

        Args:
            kind: of job.
            key: of its row.
            by: the person's name.

        Raises:
            NoSuchRowError: there is no such step.
            OperationRefused: it is not parked.
        """
        if kind not in set(JobKind):
            raise NoSuchRowError(f"there are no steps {kind!r}, only {', '.join(JobKind)}")
        step, now = JobKind(kind), self._clock.now()
        with self._store.transaction() as tx:
            if not tx.clear_attempts(step, key):
                raise OperationRefused(f"{kind}:{key} is not parked")
            tx.defer(Job(step, key))
            series = tx.series(key) if step is JobKind.CLOSE_SERIES else None
            study = series.study_instance_uid if series else key if step in STUDY_KINDS else None
            line = TimelineEntry(event=Event.STEP_RETRIED, at=now, study=study, detail=f"{kind}, by {by}")
            tx.record(replace(line, series=key) if series else line)
        logger.info(Event.STEP_RETRIED, extra={"step": kind, "key": key, "by": by})
        return f"{kind}:{key} begins again"

    def cancel(self, case_id: str, *, by: str, reason: str = "") -> str:
        """End a case that is not finished; what is queued of it is not sent. New images make a new case.

        Raises:
            NoSuchRowError: there is no such case.
            OperationRefused: it has ended already.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            case = _case(tx, case_id)
            if case.state is CaseState.CANCELLED:
                return f"case {case_id} is cancelled already"
            if case.state not in UNFINISHED | {CaseState.FAILED, CaseState.REFUSED}:
                raise OperationRefused(f"case {case_id} is {case.state}: what was sent cannot be cancelled")
            words = f"cancelled by {by}{f': {reason}' if reason else ''}"
            tx.set_case(case_id, CaseState.CANCELLED, now, reasons=(words, *case.reasons))
            tx.hold_case(case_id, "", now)
            tx.block_deliveries(case_id, words, now)
            return self._done(tx, Event.CASE_CANCELLED, case, by, reason or "no reason given")

    def hold(self, case_id: str, *, by: str, reason: str = "") -> str:
        """Keep a case where it is until it is released; a step that runs ends first.

        Raises:
            NoSuchRowError: there is no such case.
            OperationRefused: it has ended already.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            case = _case(tx, case_id)
            if case.state not in UNFINISHED:
                raise OperationRefused(f"case {case_id} is {case.state}: there is nothing to hold")
            tx.hold_case(case_id, f"held by {by}{f': {reason}' if reason else ''}", now, case.held_for)
            return self._done(tx, Event.CASE_HELD, case, by, reason or "no reason given")

    def release(self, case_id: str, *, by: str, reason: str = "", seen: Sequence[str] = ()) -> str:
        """Let a held case go on.

        Args:
            case_id: of the case.
            by: the person's name.
            reason: why; asked for where the case is held for its findings.
            seen: codes of the findings that the person has looked at.

        Raises:
            NoSuchRowError: there is no such case.
            OperationRefused: nobody holds it, or it is held for findings that are not named or without a reason.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            case = _case(tx, case_id)
            if not case.held_reason:
                raise OperationRefused(f"case {case_id} is not held")
            codes = ", ".join(case.held_for)
            if set(case.held_for) - set(seen):
                raise OperationRefused(
                    f"case {case_id} is held for its findings ({codes}): look at each, then release it and name them"
                    " as seen"
                )
            if case.held_for and not reason:
                raise OperationRefused(f"case {case_id} is held for its findings ({codes}): say why it may go on")
            go_on(tx, case, now)
            for member in filter(None, map(tx.case, case.members)):
                if member.held_for:
                    go_on(tx, member, now)
            detail = "; ".join(filter(None, (reason or "goes on", codes and f"findings seen: {codes}")))
            return self._done(tx, Event.CASE_RELEASED, case, by, detail, case.held_for)

    def resend(self, case_id: str, *, by: str, to: Sequence[str] = ()) -> str:
        """Send a structure set again: the same object with the same UID.

        Args:
            case_id: of the case.
            by: the person's name.
            to: names of destinations; empty sends to every one of the settings.

        Raises:
            NoSuchRowError: there is no such case or destination.
            OperationRefused: there is nothing to send, or it may not go there.
        """
        now = self._clock.now()
        wanted = [self._destination(name) for name in to or self._destinations]
        with self._store.transaction() as tx:
            case = _case(tx, case_id)
            if case.state not in WRITTEN:
                raise OperationRefused(f"case {case_id} is {case.state}: only a case with a structure set is sent")
            allowed = [destination for destination in wanted if _may_go(destination, case)]
            if not allowed:
                raise OperationRefused("a demo network's result may go to none of these destinations: see allow_demo")
            add_deliveries(tx, case, allowed, now)
            names = {destination.name for destination in allowed}
            listed = self._queue(tx, case, [one for one in tx.deliveries(case_id) if one.destination in names])
            return self._done(tx, Event.DELIVERY_RESENT, case, by, f"sent again to {listed}")

    def supersede(self, case_id: str, *, by: str, reason: str = "") -> str:
        """Re-contour the same images, for example with newer networks; the new RTSTRUCT names its predecessor.

        Raises:
            NoSuchRowError: there is no such case.
            OperationRefused: it has no images, or has been superseded.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            known = tx.case(case_id)
            if known is not None:
                # Routing takes study and case in this order, too; it looks again, for this lock counts as routed.
                tx.lock_study(known.study_instance_uid)
                tx.defer(Job(JobKind.ROUTE_STUDY, known.study_instance_uid))
            case = _case(tx, case_id)
            if case.state is CaseState.SUPERSEDED or not case.inputs:
                raise OperationRefused(
                    f"case {case_id} is {case.state}: only an active case with images can be re-contoured"
                )
            made = replace(
                case,
                case_id=uuid.uuid4().hex,
                generation=case.generation + 1,
                state=CaseState.ROUTED,
                predecessor=case_id,
                created_at=now,
                held_reason="",
                held_for=(),
                reasons=(),
            )
            tx.supersede(case_id, made.case_id, now)
            tx.add_case(made)
            tx.defer(Job(JobKind.SEGMENT_CASE, made.case_id))
            self._done(tx, Event.CASE_SUPERSEDED, case, by, f"by case {made.case_id}: {reason or 'asked for'}")
            return self._done(tx, Event.CASE_CREATED, made, by, f"generation {made.generation}, the same images")

    def pause(self, destination: str, *, by: str, reason: str = "") -> str:
        """Send nothing to a destination until it is resumed; structure sets wait.

        Raises:
            NoSuchRowError: the settings name no such destination.
        """
        self._destination(destination)
        words = f"paused by {by}{f': {reason}' if reason else ''}"
        with self._store.transaction() as tx:
            changed = tx.pause_destination(destination, words, self._clock.now())
        if changed:
            logger.warning(Event.DESTINATION_PAUSED, extra={"destination": destination, "by": by, "reason": reason})
        return f"destination {destination} is paused{'' if changed else ' already'}"

    def resume(self, destination: str, *, by: str) -> str:
        """Send to a paused destination again, at once.

        Raises:
            NoSuchRowError: the settings name no such destination.
        """
        self._destination(destination)
        with self._store.transaction() as tx:
            changed = tx.resume_destination(destination, self._clock.now())
        if changed:
            logger.info(Event.DESTINATION_RESUMED, extra={"destination": destination, "by": by})
        return f"destination {destination} is in use" if changed else f"destination {destination} was not paused"

    def _queue(self, tx: Transaction, case: CaseRecord, deliveries: Sequence[DeliveryRecord]) -> str:
        now = self._clock.now()
        for delivery in deliveries:
            tx.deliver_again(delivery.delivery_id, now, now, message="", fresh=True)
        if case.state is not CaseState.CONTOURED:
            tx.set_case(case.case_id, CaseState.CONTOURED, now)
        return ", ".join(delivery.destination for delivery in deliveries)

    def _destination(self, name: str) -> AnyDestination:
        if name not in self._destinations:
            known = ", ".join(sorted(self._destinations)) or "none"
            raise NoSuchRowError(f"the settings name no destination {name!r}; there are: {known}")
        return self._destinations[name]

    def _done(
        self, tx: Transaction, event: Event, case: CaseRecord, by: str, detail: str, findings: Sequence[str] = ()
    ) -> str:
        words = f"by {by}: {detail}"
        now = self._clock.now()
        tx.record(TimelineEntry(event=event, at=now, study=case.study_instance_uid, case=case.case_id, detail=words))
        told = {"findings": list(findings)} if findings else {}
        study = case.study_instance_uid
        logger.info(
            event, extra={"case_id": case.case_id, "study_instance_uid": study, "by": by, "detail": detail, **told}
        )
        return f"case {case.case_id}: {detail}"


def go_on(tx: Transaction, case: CaseRecord, now: datetime) -> None:
    """Let a held case go on."""
    tx.hold_case(case.case_id, "", now)
    if case.state in NEXT_JOB:
        tx.defer(Job(NEXT_JOB[case.state], case.case_id))
    for delivery in tx.deliveries(case.case_id):
        if delivery.state is DeliveryState.QUEUED:
            # The time that a person let it wait does not count.
            tx.deliver_again(delivery.delivery_id, now, now, message="", fresh=True)


def _case(tx: Transaction, case_id: str) -> CaseRecord:
    case = tx.case(case_id, lock=True)
    if case is None:
        raise NoSuchRowError(f"there is no case {case_id}")
    return case


def _may_go(destination: AnyDestination, case: CaseRecord) -> bool:
    try:
        check_demo(destination, demo=case.demo)
    except DemoNotAllowedError:
        return False
    return True
