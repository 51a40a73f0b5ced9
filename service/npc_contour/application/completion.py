"""A series' timer ended: set it again, close the series, or hold it for a person.

What is quiet but no regular stack may lack slices: it stays open, with the reasons shown, but no longer keeps the study
from being routed; a late slice still completes it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from npc_contour.application.ports import Clock
from npc_contour.core.completeness import Arrivals, CompletionRules, CompletionVerdict, judge
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.received import Ending, SeriesRecord
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.logs import Event
from npc_contour.settings import Completion
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

EVENTS = {
    SeriesState.READY: Event.SERIES_READY,
    SeriesState.HELD: Event.SERIES_HELD,
    SeriesState.ASIDE: Event.SERIES_ASIDE,
}


class CloseSeries:
    """Looks at a series when its timer ends."""

    def __init__(self, store: Store, clock: Clock, completion: Completion) -> None:
        """Close series of this store by these waiting times."""
        self._store = store
        self._clock = clock
        self._rules = CompletionRules(**completion.model_dump())

    def run(self, series_instance_uid: str) -> None:
        """Do it for one series."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            series = tx.series(series_instance_uid, lock=True)
            if series is None or series.state is not SeriesState.RECEIVING:
                return
            verdict = judge(
                tx.headers(series_instance_uid),
                _arrivals(series, tx.counted_by_pacs(series_instance_uid)),
                self._rules,
                now,
                said_whole=series.is_said_whole,
            )
            missing = tx.missing_images(series_instance_uid)
            if missing and verdict.state is SeriesState.READY:
                # At an end of the stack nothing but this tells that they are missing.
                words = tuple(f"{count} images are {why}: send the series again" for why, count in missing)
                verdict = CompletionVerdict(SeriesState.HELD, words)
            if verdict.state is SeriesState.RECEIVING:
                self._wait(tx, series, verdict, now)
            else:
                self._close(tx, series, verdict, now)

    def _wait(self, tx: Transaction, series: SeriesRecord, verdict: CompletionVerdict, now: datetime) -> None:
        uid = series.series_instance_uid
        tx.defer(Job(JobKind.CLOSE_SERIES, uid, verdict.look_again_at))
        held_at = series.last_instance_at + timedelta(seconds=self._rules.held_after_s)
        if verdict.look_again_at == held_at and series.reasons != verdict.reasons:
            tx.set_series(uid, SeriesState.RECEIVING, verdict.reasons, now)
            detail = f"{series.images} images, waiting for more: {'; '.join(verdict.reasons)}"
            tx.record(
                TimelineEntry(
                    event=Event.SERIES_WAITING, at=now, study=series.study_instance_uid, series=uid, detail=detail
                )
            )
            tx.defer(Job(JobKind.ROUTE_STUDY, series.study_instance_uid))

    def _close(self, tx: Transaction, series: SeriesRecord, verdict: CompletionVerdict, now: datetime) -> None:
        uid, study = series.series_instance_uid, series.study_instance_uid
        event = EVENTS[verdict.state]
        tx.set_series(uid, verdict.state, verdict.reasons, now)
        seconds = tx.receiving_s(uid)
        detail = "; ".join((f"{series.images} images received", *verdict.reasons))
        tx.record(TimelineEntry(event=event, at=now, study=study, series=uid, detail=detail))
        tx.record(TimelineEntry(event=event, at=now, study=study, series=uid, step="receive", seconds=seconds))
        tx.defer(Job(JobKind.ROUTE_STUDY, study))
        logger.info(
            event, extra={"series_instance_uid": uid, "images": series.images, "reasons": list(verdict.reasons)}
        )


def _arrivals(series: SeriesRecord, counted: int | None) -> Arrivals:
    ended = sorted(((at, how) for ending in series.endings if ending for how, at in [ending]), key=lambda one: one[0])
    return Arrivals(
        last_at=series.last_instance_at,
        open_associations=sum(ending is None for ending in series.endings),
        interrupted=bool(ended) and ended[-1][1] is not Ending.RELEASED,
        last_ended_at=ended[-1][0] if ended else None,
        counted=counted,
    )
