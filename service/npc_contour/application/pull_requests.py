"""Studies that a program asks us to fetch by their UIDs, from a PACS of the settings and from nowhere else.

A request is a row, answered at once; a job asks the PACS which series it has, and each is fetched as any other that was
found (`application.pulling`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from npc_contour.application.ports import Archive, Clock
from npc_contour.application.pulling import MAX_ATTEMPTS, PullTools, find_series
from npc_contour.domain.pulls import PulledSeries, PullRequest, PullRequestState, PullState
from npc_contour.domain.queries import Match, Query, QueryLevel
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import ArchiveError, NoSuchRowError, TooManyError
from npc_contour.logs import Event
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Requests that no PACS has answered yet, after which no more are taken."""
TAKEN_MODALITIES = frozenset({"CT", "MR", "REG"})
"""What is fetched of a study whose series are not named; an archive that does not say is taken at its word later."""


class PullProgress(StrEnum):
    """How far a request has come: asked, the series are coming, all there, some missing, nothing to be had."""

    ASKED = "asked"
    FETCHING = "fetching"
    DONE = "done"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PullStatus:
    """Where a request stands."""

    request: PullRequest
    series: tuple[PulledSeries, ...]

    @property
    def progress(self) -> PullProgress:
        """The request and its series in one word."""
        if self.request.state is PullRequestState.ASKED:
            return PullProgress.ASKED
        if self.request.state is PullRequestState.FAILED:
            return PullProgress.FAILED
        states = {one.state for one in self.series}
        if PullState.WANTED in states:
            return PullProgress.FETCHING
        return PullProgress.DONE if states <= {PullState.FETCHED} else PullProgress.INCOMPLETE


class PullRequests:
    """Takes requests and says where they stand."""

    def __init__(self, store: Store, clock: Clock, pacs: Sequence[str]) -> None:
        """Take requests for these PACS of the settings."""
        self._store = store
        self._clock = clock
        self._pacs = tuple(pacs)

    def ask(self, pacs: str, study_instance_uid: str, series_instance_uids: Sequence[str], by: str) -> PullStatus:
        """Note durably that a study is to be fetched.

        Args:
            pacs: its name in the settings.
            study_instance_uid: of the study.
            series_instance_uids: only these; empty takes all that a pipeline may take.
            by: the person's or program's name.

        Raises:
            NoSuchRowError: the settings have no PACS of that name.
            TooManyError: too many requests wait.
        """
        if pacs not in self._pacs:
            known = ", ".join(self._pacs) or "none"
            raise NoSuchRowError(f"the settings have no [[pacs]] named {pacs!r}, they have {known}")
        now = self._clock.now()
        with self._store.transaction() as tx:
            waiting = tx.pull_requests_waiting()
            if waiting >= MAX_WAITING:
                raise TooManyError(f"{waiting} requests wait for an answer of their PACS: ask again later")
            request_id = tx.add_pull_request(pacs, study_instance_uid, series_instance_uids, by, now)
            tx.record(
                TimelineEntry(event=Event.PULL_ASKED, at=now, study=study_instance_uid, detail=f"by {by}: from {pacs}")
            )
            tx.defer(Job(JobKind.FIND_STUDY, str(request_id)))
        logger.info(Event.PULL_ASKED, extra={"pacs": pacs, "study_instance_uid": study_instance_uid, "by": by})
        return self.status(request_id)

    def status(self, request_id: int) -> PullStatus:
        """Return where a request stands.

        Raises:
            NoSuchRowError: there is none of that number.
        """
        with self._store.transaction() as tx:
            request = tx.pull_request(request_id)
            if request is None:
                raise NoSuchRowError(f"there is no pull {request_id}")
            rows = [tx.pulled_series(pull_id) for pull_id in request.pull_ids]
        return PullStatus(request, tuple(row for row in rows if row is not None))


class FindStudy:
    """Asks a PACS which series of a requested study it has, and has them fetched."""

    def __init__(self, tools: PullTools) -> None:
        """Ask with these tools."""
        self._tools = tools

    def run(self, key: str) -> None:
        """Ask once.

        Raises:
            ArchiveError: the PACS does not answer: try again.
        """
        with self._tools.store.transaction() as tx:
            request = tx.pull_request(int(key))
        if request is None or request.state is not PullRequestState.ASKED:
            return
        archive = self._tools.archives.get(request.pacs)
        if archive is None:
            self._fail(request, f"the settings have no [[pacs]] named {request.pacs!r}")
            return
        try:
            found = _found(archive, request)
        except ArchiveError as error:
            if request.attempts + 1 >= MAX_ATTEMPTS:
                self._fail(request, str(error))
                return
            again = replace(request, attempts=request.attempts + 1, message=str(error))
            with self._tools.store.transaction() as tx:
                tx.set_pull_request(again, self._tools.clock.now())
            raise
        missing = set(request.series_instance_uids) - {match.series_instance_uid for match in found}
        if missing or not found:
            which = f"no series {sorted(missing)[0]}" if missing else "no series that is taken"
            self._fail(request, f"{request.pacs} has {which} of study {request.study_instance_uid}")
            return
        self._want(request, found)

    def _want(self, request: PullRequest, found: Sequence[Match]) -> None:
        now = self._tools.clock.now()
        with self._tools.store.transaction() as tx:
            ids = [tx.want_series(request.pacs, match, now, again=True) for match in found]
            wanted = tuple(pull_id for pull_id in ids if pull_id is not None)
            done = replace(request, state=PullRequestState.FOUND, message="", pull_ids=wanted)
            tx.set_pull_request(done, now)
            for pull_id in wanted:
                tx.defer(Job(JobKind.FETCH_SERIES, str(pull_id)))
        logger.info(
            Event.PULL_FOUND, extra={"rule": f"pull {request.request_id}", "pacs": request.pacs, "series": len(wanted)}
        )

    def _fail(self, request: PullRequest, message: str) -> None:
        now = self._tools.clock.now()
        failed = replace(request, state=PullRequestState.FAILED, attempts=request.attempts + 1, message=message)
        with self._tools.store.transaction() as tx:
            tx.set_pull_request(failed, now)
            tx.record(TimelineEntry(event=Event.PULL_FAILED, at=now, study=request.study_instance_uid, detail=message))
        logger.error(
            Event.PULL_FAILED,
            extra={"pacs": request.pacs, "study_instance_uid": request.study_instance_uid, "detail": message},
        )


def _found(archive: Archive, request: PullRequest) -> list[Match]:
    query = Query(level=QueryLevel.STUDY, study_instance_uid=request.study_instance_uid)
    named = set(request.series_instance_uids)
    return [
        match
        for match in find_series(archive, query)
        if (match.series_instance_uid in named if named else _may_be_taken(match))
    ]


def _may_be_taken(match: Match) -> bool:
    return not match.modalities or bool(TAKEN_MODALITIES.intersection(match.modalities))
