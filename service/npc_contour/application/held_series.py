"""Series that are held because they form no regular stack: they need a person's action.

A person may send or fetch the missing slices, or say that a series is not wanted. Nothing of this changes what is
contoured already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from npc_contour.application.ports import Clock
from npc_contour.application.pulling import want
from npc_contour.core.completeness import Arrivals, CompletionRules, judge
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.queries import Match
from npc_contour.domain.received import SeriesRecord
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import NoSuchRowError, OperationRefused
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard, HeldSeriesRow
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)


class HeldSeries:
    """Lists held series, and applies what a person decides."""

    def __init__(self, store: Store, board: HeldSeriesBoard, clock: Clock, pacs: Sequence[str] = ()) -> None:
        """Look at this store; missing slices can be fetched from these PACS of the settings."""
        self._store = store
        self._board = board
        self._clock = clock
        self.pacs = tuple(pacs)

    def count(self) -> int:
        """Return how many series are held."""
        return self._board.held_count()

    def series(self, limit: int = 200) -> Sequence[HeldSeriesRow]:
        """Return the series that need an action."""
        return self._board.held_series(limit)

    def set_aside(self, series_instance_uid: str, *, by: str, reason: str = "") -> str:
        """Say that a series is not wanted: its study is routed without it. A new image opens it again.

        Raises:
            NoSuchRowError: there is no such series.
            OperationRefused: it is not held.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            series = _held(tx, series_instance_uid)
            words = f"excluded by {by}{f': {reason}' if reason else ''}"
            tx.set_series(series_instance_uid, SeriesState.ASIDE, (words, *series.reasons), now)
            self._record(tx, series, words)
            tx.defer(Job(JobKind.ROUTE_STUDY, series.study_instance_uid))
        logger.info(
            Event.SERIES_ASIDE,
            extra={"series_instance_uid": series_instance_uid, "images": series.images, "reasons": [words]},
        )
        return f"series {series_instance_uid}: excluded"

    def take_as_whole(self, series_instance_uid: str, *, by: str, reason: str = "") -> str:
        """Say that no image is missing, although the scanner counted more: the series is contoured as it is.

        An image that comes later makes the question new.

        Raises:
            NoSuchRowError: there is no such series.
            OperationRefused: it is not held, or it is held for a fault that confirmation cannot lift.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            series = _held(tx, series_instance_uid)
            ever = datetime.min.replace(tzinfo=UTC)
            arrivals = Arrivals(last_at=ever, last_ended_at=ever, counted=tx.counted_by_pacs(series_instance_uid))
            verdict = judge(tx.headers(series_instance_uid), arrivals, CompletionRules(), now, said_whole=True)
            if tx.missing_images(series_instance_uid):
                raise OperationRefused(f"series {series_instance_uid} is not whole: {'; '.join(series.reasons)}")
            if verdict.state is not SeriesState.READY:
                raise OperationRefused(f"series {series_instance_uid} is not whole: {'; '.join(verdict.reasons)}")
            tx.set_whole(series_instance_uid, series.images, by)
            tx.set_series(series_instance_uid, SeriesState.READY, verdict.reasons, now)
            words = f"said to be whole by {by}{f': {reason}' if reason else ''}; {'; '.join(verdict.reasons)}"
            self._record(tx, series, words, Event.SERIES_READY)
            tx.defer(Job(JobKind.ROUTE_STUDY, series.study_instance_uid))
        logger.info(
            Event.SERIES_READY,
            extra={"series_instance_uid": series_instance_uid, "images": series.images, "reasons": [words]},
        )
        return f"series {series_instance_uid}: taken as whole, {series.images} images"

    def fetch(self, series_instance_uid: str, pacs: str, *, by: str) -> str:
        """Have a series fetched from a PACS; images that are here already change nothing, missing ones complete it.

        Raises:
            NoSuchRowError: there is no such series, or the settings name no such PACS.
            OperationRefused: it is not held.
        """
        if pacs not in self.pacs:
            raise NoSuchRowError(f"the settings name no [[pacs]] {pacs!r}; there are: {', '.join(self.pacs) or 'none'}")
        with self._store.transaction() as tx:
            series = _held(tx, series_instance_uid)
            self._record(tx, series, f"asked of {pacs} by {by}", Event.PARTNER_SOUGHT)
        match = Match(
            study_instance_uid=series.study_instance_uid,
            series_instance_uid=series_instance_uid,
            modalities=(series.modality,),
        )
        want(self._store, pacs, (match,), self._clock.now(), again=True)
        return f"series {series_instance_uid}: asked of {pacs}"

    def _record(self, tx: Transaction, series: SeriesRecord, words: str, event: Event = Event.SERIES_ASIDE) -> None:
        tx.record(
            TimelineEntry(
                event=event,
                at=self._clock.now(),
                study=series.study_instance_uid,
                series=series.series_instance_uid,
                detail=words,
            )
        )


def _held(tx: Transaction, series_instance_uid: str) -> SeriesRecord:
    series = tx.series(series_instance_uid, lock=True)
    if series is None:
        raise NoSuchRowError(f"there is no series {series_instance_uid}")
    if series.state is SeriesState.HELD or (series.state is SeriesState.RECEIVING and series.reasons):
        return series
    raise OperationRefused(f"series {series_instance_uid} is {series.state}: it does not wait for a person")
