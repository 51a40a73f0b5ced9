"""The boundary around every step: who may do it, how often, and what becomes of an error.

An error whose class says `retryable` is tried again with growing pauses; one that says the images cannot be contoured
refuses the case; any other gives the step up. So do too many tries, and a step that takes its process down again and
again: then a case has failed, a delivery has failed, anything else is parked with the reason. Nothing is tried for
ever, but for what comes again by itself at its own pace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from npc_contour import tracing
from npc_contour.application.ports import Clock
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.retry import RetryPolicy
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import IMAGES, AutocontourError, CaseRefused, DamagedFileError, GateError
from npc_contour.logs import Event
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

Handler = Callable[[str], None]
GivenUp = Callable[[str, str], None]
Damaged = Callable[[DamagedFileError], bool]
MEND_S = 5.0
"""How long a step waits before it looks whether what it needs has been made again."""
MAX_ATTEMPTS = 12
MAX_CRASHES = 8
"""So many that whoever was only near when its process was killed for another reason is not among them."""
RETRIES = RetryPolicy(first_s=5.0, longest_s=300.0, tries=MAX_ATTEMPTS)
FOR_EVER = RetryPolicy(first_s=5.0, longest_s=300.0)
CASE_KINDS = {JobKind.SEGMENT_CASE, JobKind.WRITE_STRUCTURE_SET}
EXCLUSIVE_KINDS = CASE_KINDS | {
    JobKind.SEND,
    JobKind.VERIFY,
    JobKind.POLL_ARCHIVE,
    JobKind.FETCH_SERIES,
    JobKind.FIND_PARTNER,
    JobKind.REPORT_COMMITMENT,
    JobKind.COMBINE_STUDY,
    JobKind.FIND_STUDY,
    JobKind.CALL_WEBHOOK,
    JobKind.RESCAN,
    JobKind.RETENTION,
    JobKind.SELF_TEST,
    JobKind.MEND_CASE,
}
"""Long steps are claimed; the short ones are one transaction each, which row locks keep apart."""
STUDY_KINDS = {JobKind.ROUTE_STUDY, JobKind.COMBINE_STUDY, JobKind.FIND_PARTNER}
LIVE = {CaseState.ROUTED, CaseState.SEGMENTED}
AT_THEIR_OWN_PACE = {
    JobKind.FIND_STUDY,
    JobKind.POLL_ARCHIVE,
    JobKind.FETCH_SERIES,
    JobKind.FIND_PARTNER,
    JobKind.REPORT_COMMITMENT,
    JobKind.RESCAN,
    JobKind.RETENTION,
    JobKind.SELF_TEST,
}
"""They come again anyhow, or give up by themselves: an error never parks them, only crashes of the process do."""


class Postponed(Exception):
    """Raised by a handler that has done nothing but plan its job for later: neither a success nor a failure."""


class Steps:
    """Does jobs."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        handlers: Mapping[JobKind, Handler],
        given_up: Mapping[JobKind, GivenUp] | None = None,
        damaged: Damaged = lambda _: False,
    ) -> None:
        """Do each kind of job with its handler.

        Args:
            store: of the service.
            clock: of the service.
            handlers: by kind of job.
            given_up: told the key and the reason of a step of these kinds that is given up; others are parked.
            damaged: told of a file that a step found damaged; returns whether it is made again, so that the step waits.
        """
        self._damaged = damaged
        self._store = store
        self._clock = clock
        self._handlers = handlers
        self._given_up = given_up or {}

    def run(self, kind: JobKind, key: str) -> None:
        """Do one job, whatever happens; only StoreError leaves, for then nothing could be noted."""
        if kind not in EXCLUSIVE_KINDS:
            self._attempt(kind, key)
            return
        with self._store.claim(kind, key) as claimed:
            if claimed:
                self._attempt(kind, key)

    def interrupted(self, kind: JobKind, key: str) -> None:
        """Note that a stop of the service cut a job short, so that it does not count as a crash."""
        with self._store.transaction() as tx:
            tx.attempt_message(kind, key, "cut short by a stop of the service")
        logger.info(Event.STEP_INTERRUPTED, extra={"step": kind.value, "key": key})

    def _attempt(self, kind: JobKind, key: str) -> None:
        if not self._may_begin(kind, key):
            return
        try:
            self._handlers[kind](key)
        except Postponed:
            with self._store.transaction() as tx:
                tx.uncount_attempt(kind, key)
        except DamagedFileError as error:
            tracing.failed(type(error).__name__)
            self._found_damaged(kind, key, error)
        except (CaseRefused, GateError) as error:
            tracing.failed(type(error).__name__)
            self._refused(kind, key, error)
        except AutocontourError as error:
            tracing.failed(type(error).__name__)
            self._failed(kind, key, error, again=error.retryable)
        except Exception as error:
            # The workflow's edge: an error nobody foresaw must not stop the worker, and may pass.
            tracing.failed(type(error).__name__)
            logger.exception(Event.STEP_FAILED, extra={"step": kind.value, "key": key})
            self._failed(kind, key, error, again=True)
        else:
            with self._store.transaction() as tx:
                tx.clear_attempts(kind, key)

    def _found_damaged(self, kind: JobKind, key: str, error: DamagedFileError) -> None:
        """Damaged bytes are not tried again: they are made again, or the images must come again."""
        if self._damaged(error):
            with self._store.transaction() as tx:
                tx.uncount_attempt(kind, key)
                if kind is not JobKind.MEND_CASE:
                    tx.defer(Job(kind, key, self._clock.now() + timedelta(seconds=MEND_S)))
            return
        # What only looks goes on without the images, which are forgotten now.
        again = kind not in CASE_KINDS | {JobKind.SEND, JobKind.MEND_CASE}
        ask = ": send the series again" if error.key.startswith(IMAGES) else ""
        self._failed(kind, key, DamagedFileError(error.key, f"{str(error).partition(': ')[2]}{ask}"), again=again)

    def _refused(self, kind: JobKind, key: str, error: CaseRefused | GateError) -> None:
        if kind not in CASE_KINDS:
            self._failed(kind, key, error, again=False)
        elif isinstance(error, GateError):
            self._end_case(kind, key, CaseState.FAILED, str(error), Event.STRUCTURE_SET_BLOCKED)
        else:
            self._end_case(kind, key, CaseState.REFUSED, str(error), Event.CASE_REFUSED)

    def _may_begin(self, kind: JobKind, key: str) -> bool:
        now = self._clock.now()
        with self._store.transaction() as tx:
            crashed = tx.crashes(kind, key)
            if crashed is not None and 1 < crashed.count < MAX_CRASHES:
                # Twice may be chance. From then on it waits longer each time, so that it does not take others along.
                due_at = crashed.begun_at + FOR_EVER.pause(crashed.count - 1)
                if now < due_at:
                    tx.defer(Job(kind, key, due_at))
                    return False
            attempts = tx.count_attempt(kind, key, now)
        if attempts.crashes < MAX_CRASHES:
            return True
        reason = f"{kind} ended {attempts.crashes} times without an answer: its process was killed or out of memory"
        self._give_up(kind, key, reason)
        return False

    def _failed(self, kind: JobKind, key: str, error: Exception, *, again: bool) -> None:
        now = self._clock.now()
        message = str(error) or type(error).__name__
        with self._store.transaction() as tx:
            count = tx.attempts(kind, key)
            tx.attempt_message(kind, key, message)
            if kind in AT_THEIR_OWN_PACE:
                again_at = FOR_EVER.next_try(count, now)
            else:
                again_at = RETRIES.next_try(count, now) if again else None
            if again_at is not None:
                tx.defer(Job(kind, key, again_at))
        logger.warning(
            Event.STEP_FAILED,
            extra={"step": kind.value, "key": key, "attempt": count, "error": message, "again": again_at is not None},
        )
        if again_at is None:
            self._give_up(kind, key, f"{kind} failed {count} times: {message}" if again else message)

    def _give_up(self, kind: JobKind, key: str, reason: str) -> None:
        if kind in CASE_KINDS:
            self._end_case(kind, key, CaseState.FAILED, reason, Event.CASE_FAILED)
        elif kind in self._given_up:
            self._given_up[kind](key, reason)
            with self._store.transaction() as tx:
                tx.clear_attempts(kind, key)
        else:
            self._park(kind, key, reason)

    def _park(self, kind: JobKind, key: str, reason: str) -> None:
        now = self._clock.now()
        with self._store.transaction() as tx:
            fresh = tx.park(kind, key, reason, now)
            series = tx.series(key) if kind is JobKind.CLOSE_SERIES else None
            if fresh:
                study = series.study_instance_uid if series else key if kind in STUDY_KINDS else None
                words = f"{kind}: {reason}"
                tx.record(
                    TimelineEntry(
                        event=Event.STEP_PARKED, at=now, study=study, series=key if series else None, detail=words
                    )
                )
        logger.error(Event.STEP_PARKED, extra={"step": kind.value, "key": key, "reason": reason})

    def _end_case(self, kind: JobKind, case_id: str, state: CaseState, reason: str, event: Event) -> None:
        now = self._clock.now()
        with self._store.transaction() as tx:
            tx.clear_attempts(kind, case_id)
            case = tx.case(case_id, lock=True)
            if case is None or case.state not in LIVE:
                return
            tx.set_case(case_id, state, now, reasons=(reason, *case.reasons))
            tx.record(TimelineEntry(event=event, at=now, study=case.study_instance_uid, case=case_id, detail=reason))
        logger.warning(event, extra={"case_id": case_id, "reason": reason})
