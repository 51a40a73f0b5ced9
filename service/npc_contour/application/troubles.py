"""What lies still until a person acts: series that form no stack, and other bytes that came under a known UID.

A person may send or fetch the missing slices, say that a series is not wanted, or throw away the other bytes. Nothing
of this changes what is contoured already.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from npc_contour.application.ports import Clock
from npc_contour.application.pulling import want
from npc_contour.application.records import Job, JobKind, SeriesRecord, StoryLine
from npc_contour.application.store import Store, Transaction
from npc_contour.core.completeness import OF_ACQUISITION, Arrivals, CompletionRules, judge
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.queries import Match
from npc_contour.errors import NoSuchRowError, OperationRefused
from npc_contour.logs import Event

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StillSeries:
    """A series that does not go on by itself.

    Attributes:
        senders: AE titles from which its images came.
        reasons: what was found, and what was expected.
    """

    series_instance_uid: str
    study_instance_uid: str
    state: SeriesState
    modality: str
    description: str
    images: int
    reasons: Sequence[str]
    senders: Sequence[str]
    first_instance_at: datetime
    last_instance_at: datetime

    @property
    def may_be_whole(self) -> bool:
        """Whether the scanner's count alone speaks against it: then a person may know better."""
        return any(reason.endswith(OF_ACQUISITION) for reason in self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which the other bytes are not the kept ones, in words for a person."""

    what: str
    kept: str
    came: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBytes:
    """A file in quarantine.

    Attributes:
        name: of the file.
        at: when it came.
        kept_key: of the file that is kept under the same UID; "" where that is gone.
        differences: empty where one of the two can no longer be read.
    """

    name: str
    sop_instance_uid: str
    at: datetime
    size_bytes: int
    kept_key: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    description: str = ""
    differences: Sequence[Difference] = ()


class TroubleBoard(Protocol):
    """The read side of the store; every method may raise StoreError."""

    def still_series(self, limit: int) -> Sequence[StillSeries]:
        """Return series that are held, wait for more, or were left aside with all of their study; held ones first."""
        ...

    def held_count(self) -> int:
        """Return how many series are held."""
        ...

    def kept_images(self, sop_instance_uids: Sequence[str]) -> Mapping[str, tuple[str, str, str, str]]:
        """Return SOP Instance UID → (key, study, series, description) of the images that are kept."""
        ...


class Quarantine(Protocol):
    """The files that came under a UID which other bytes have."""

    def files(self) -> Sequence[OtherBytes]:
        """Return them, newest first, with what the file system says of them."""
        ...

    def differences(self, kept_key: str, name: str) -> Sequence[Difference]:
        """Return in what a file is not the kept one; nothing of a patient is in it."""
        ...

    def discard(self, name: str) -> bool:
        """Delete one; returns whether it was there."""
        ...


class Troubles:
    """Shows them, and does what a person decides."""

    def __init__(
        self, store: Store, board: TroubleBoard, quarantine: Quarantine, clock: Clock, pacs: Sequence[str] = ()
    ) -> None:
        """Look at this store and quarantine; missing slices can be fetched from these PACS of the settings."""
        self._store = store
        self._board = board
        self._quarantine = quarantine
        self._clock = clock
        self.pacs = tuple(pacs)

    def count(self) -> int:
        """Return how many series and files ask for a person."""
        return self._board.held_count() + len(self._quarantine.files())

    def series(self, limit: int = 200) -> Sequence[StillSeries]:
        """Return the series that lie still."""
        return self._board.still_series(limit)

    def other_bytes(self, limit: int = 50) -> Sequence[OtherBytes]:
        """Return the files in quarantine, each compared with the one that is kept."""
        files = self._quarantine.files()[:limit]
        kept = self._board.kept_images([file.sop_instance_uid for file in files])
        return tuple(self._compared(file, kept.get(file.sop_instance_uid)) for file in files)

    def set_aside(self, series_instance_uid: str, *, by: str, reason: str = "") -> str:
        """Say that a series is not wanted: its study is routed without it. A new image opens it again.

        Raises:
            NoSuchRowError: there is no such series.
            OperationRefused: it does not lie still.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            series = _still(tx, series_instance_uid)
            words = f"left aside by {by}{f': {reason}' if reason else ''}"
            tx.set_series(series_instance_uid, SeriesState.ASIDE, (words, *series.reasons), now)
            self._tell(tx, series, words)
            tx.defer(Job(JobKind.ROUTE_STUDY, series.study_instance_uid))
        logger.info(
            Event.SERIES_ASIDE,
            extra={"series_instance_uid": series_instance_uid, "images": series.images, "reasons": [words]},
        )
        return f"series {series_instance_uid}: left aside"

    def take_as_whole(self, series_instance_uid: str, *, by: str, reason: str = "") -> str:
        """Say that no image is missing, although the scanner counted more: the series is contoured as it is.

        An image that comes later makes the question new.

        Raises:
            NoSuchRowError: there is no such series.
            OperationRefused: it does not lie still, or something else is wrong with it, which no person can change.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            series = _still(tx, series_instance_uid)
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
            self._tell(tx, series, words, Event.SERIES_READY)
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
            OperationRefused: it does not lie still.
        """
        if pacs not in self.pacs:
            raise NoSuchRowError(f"the settings name no [[pacs]] {pacs!r}; there are: {', '.join(self.pacs) or 'none'}")
        with self._store.transaction() as tx:
            series = _still(tx, series_instance_uid)
            self._tell(tx, series, f"asked of {pacs} by {by}", Event.PARTNER_SOUGHT)
        match = Match(
            study_instance_uid=series.study_instance_uid,
            series_instance_uid=series_instance_uid,
            modalities=(series.modality,),
        )
        want(self._store, pacs, (match,), self._clock.now(), again=True)
        return f"series {series_instance_uid}: asked of {pacs}"

    def discard(self, name: str, *, by: str, reason: str = "") -> str:
        """Throw away other bytes that came under a known UID; the kept ones stay as they are.

        Raises:
            NoSuchRowError: there is no such file.
        """
        file = next((one for one in self._quarantine.files() if one.name == name), None)
        if file is None or not self._quarantine.discard(name):
            raise NoSuchRowError(f"there is no {name[:128]!r} in quarantine")
        kept = self._board.kept_images([file.sop_instance_uid]).get(file.sop_instance_uid)
        words = f"thrown away by {by}{f': {reason}' if reason else ''}"
        with self._store.transaction() as tx:
            tx.tell(
                StoryLine(
                    event=Event.INSTANCE_DISCARDED,
                    at=self._clock.now(),
                    study=kept[1] if kept else None,
                    series=kept[2] if kept else None,
                    detail=f"{file.sop_instance_uid}: the other bytes were {words}",
                )
            )
        logger.info(Event.INSTANCE_DISCARDED, extra={"sop_instance_uid": file.sop_instance_uid, "by": by})
        return f"{file.sop_instance_uid}: the other bytes were thrown away"

    def _compared(self, file: OtherBytes, kept: tuple[str, str, str, str] | None) -> OtherBytes:
        if kept is None:
            return file
        key, study, series, description = kept
        return replace(
            file,
            kept_key=key,
            study_instance_uid=study,
            series_instance_uid=series,
            description=description,
            differences=self._quarantine.differences(key, file.name),
        )

    def _tell(self, tx: Transaction, series: SeriesRecord, words: str, event: Event = Event.SERIES_ASIDE) -> None:
        tx.tell(
            StoryLine(
                event=event,
                at=self._clock.now(),
                study=series.study_instance_uid,
                series=series.series_instance_uid,
                detail=words,
            )
        )


def _still(tx: Transaction, series_instance_uid: str) -> SeriesRecord:
    series = tx.series(series_instance_uid, lock=True)
    if series is None:
        raise NoSuchRowError(f"there is no series {series_instance_uid}")
    if series.state is SeriesState.HELD or (series.state is SeriesState.RECEIVING and series.reasons):
        return series
    raise OperationRefused(f"series {series_instance_uid} is {series.state}: it does not wait for a person")
