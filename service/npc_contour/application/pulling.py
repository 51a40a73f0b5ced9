"""Fetch from a PACS what was not sent: rules look for new series, and each series found is fetched once, durably.

A series that was found is a row before anything is fetched, so a restart, a PACS that is down or a full disk only delay
it. It is fetched again when the PACS has more images of it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from npc_contour.application.intake import Intake
from npc_contour.application.ports import Archive, Clock, InstanceKeeper
from npc_contour.domain.pulls import PulledSeries, PullState
from npc_contour.domain.queries import Match, Query, QueryLevel, Retrieved, Wanted
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import ArchiveError, AutocontourError, InstanceRefused
from npc_contour.logs import Event
from npc_contour.settings import PullSettings
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 20
"""With growing pauses up to five minutes this is about an hour and a half."""
MAX_FAILURES = 3
"""Studies of one query whose series a PACS does not tell, before it is taken to be out of order."""
MAX_SHORT = 5
"""So often a PACS that answers is asked for what it did not give: it may still receive it, for a minute or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullTools:
    """What pulling works with.

    Attributes:
        archives: by name.
        ae_titles: of the archives, by name, as the origin of what is fetched.
        our_ae_title: as the address to which fetched images came, for routing rules.
    """

    store: Store
    clock: Clock
    intake: Intake
    keeper: InstanceKeeper
    archives: Mapping[str, Archive]
    ae_titles: Mapping[str, str]
    our_ae_title: str


class PollArchive:
    """Looks for new series by one rule."""

    def __init__(self, tools: PullTools, rules: Sequence[PullSettings]) -> None:
        """Look by these rules."""
        self._tools = tools
        self._rules = {rule.name: rule for rule in rules}

    def start(self) -> None:
        """Make the rules of the settings, and no others, look; call once at start."""
        with self._tools.store.transaction() as tx:
            now = self._tools.clock.now()
            tx.set_pull_rules(tuple(self._rules), now)
            for name in tx.due_pull_rules(now):
                tx.defer(Job(JobKind.POLL_ARCHIVE, name))

    def look_now(self, ae_titles: frozenset[str]) -> tuple[str, ...]:
        """Have the rules of these PACS look at once: one of them says that it has something new."""
        names = tuple(name for name, rule in self._rules.items() if self._tools.ae_titles.get(rule.pacs) in ae_titles)
        with self._tools.store.transaction() as tx:
            for name in names:
                tx.defer(Job(JobKind.POLL_ARCHIVE, name))
        return names

    def run(self, name: str) -> None:
        """Look once, note what was found, and say when to look next.

        Raises:
            ArchiveError: the PACS does not answer: look again soon.
        """
        rule = self._rules.get(name)
        if rule is None:  # left over from settings that had it
            return
        found = self._found(rule)
        now = self._tools.clock.now()
        again_at = now + timedelta(seconds=rule.every_s)
        with self._tools.store.transaction() as tx:
            new = [pull_id for match in found if (pull_id := tx.want_series(rule.pacs, match, now)) is not None]
            for pull_id in new:
                tx.defer(Job(JobKind.FETCH_SERIES, str(pull_id)))
            tx.next_poll(name, again_at)
            tx.defer(Job(JobKind.POLL_ARCHIVE, name, again_at))
        if new:
            logger.info(Event.PULL_FOUND, extra={"rule": name, "pacs": rule.pacs, "series": len(new)})

    def _found(self, rule: PullSettings) -> list[Match]:
        today = self._tools.clock.now().astimezone().date()
        query = Query(level=QueryLevel.STUDY, modality=rule.modality, since=today - timedelta(days=rule.days_back))
        series = find_series(self._tools.archives[rule.pacs], query)
        return [
            match
            for match in series
            if rule.takes(match.description) and (match.instances is None or match.instances >= rule.min_images)
        ]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of fetching one series.

    Attributes:
        result: as the PACS and we counted it.
        here: SOP Instance UIDs of the images of the series that are here now.
        named: those that the PACS names; empty where it names none.
        counted: how many it counts; None where it does not count.
        refused: how many we refused: they do not come by asking again.
    """

    result: Retrieved
    here: frozenset[str]
    named: frozenset[str]
    counted: int | None
    refused: int = 0

    @property
    def lacking(self) -> int:
        """How many images are not here that the PACS counts or names."""
        return max(len(self.named - self.here), (self.counted or 0) - len(self.here), 0)

    @property
    def whole(self) -> bool:
        """Whether it gave all that it counts and names, and something."""
        return bool(self.here) and bool(self.result.completed) and not self.result.failed and not self.lacking

    @property
    def may_come(self) -> bool:
        """Whether more may come by asking again."""
        return self.lacking > self.refused or self.result.failed > self.refused

    @property
    def words(self) -> str:
        """What came and what did not."""
        which = f", among them {self.result.failed_uids[0]}" if self.result.failed_uids else ""
        words = f"{self.result.completed} images fetched"
        if self.result.failed or not self.result.completed:
            words += f", {self.result.failed} failed or refused{which}"
        if self.lacking > self.result.failed:
            words += f"; {len(self.here)} of {len(self.here) + self.lacking} images that the PACS has are here"
        return words


class FetchSeries:
    """Fetches one series that was found."""

    def __init__(self, tools: PullTools) -> None:
        """Fetch with these tools."""
        self._tools = tools

    def run(self, key: str) -> None:
        """Fetch it, or note why that cannot be.

        Raises:
            ArchiveError: the PACS does not answer, or what it gives cannot be kept: try again.
        """
        with self._tools.store.transaction() as tx:
            wanted = tx.pulled_series(int(key))
        if wanted is None or wanted.state is not PullState.WANTED:
            return
        archive = self._tools.archives.get(wanted.pacs)
        if archive is None:
            self._end(wanted, PullState.FAILED, f"the settings have no [[pacs]] named {wanted.pacs!r}")
            return
        try:
            named = named_by(archive, wanted)
            with self._tools.store.transaction() as tx:
                tx.set_counted(wanted.pull_id, len(named))
            result = self._fetch(archive, wanted, named)
        except ArchiveError as error:
            if wanted.attempts + 1 >= MAX_ATTEMPTS:
                self._end(wanted, PullState.FAILED, str(error))
                return
            self._again(wanted, str(error))
            raise
        if result.whole:
            self._end(wanted, PullState.FETCHED, result.words)
        elif result.may_come and wanted.attempts + 1 < MAX_SHORT:
            self._again(wanted, result.words)
            raise ArchiveError(f"{wanted.pacs} did not give all of a series: {result.words}")
        else:
            self._end(wanted, PullState.INCOMPLETE, result.words)

    def _again(self, wanted: PulledSeries, message: str) -> None:
        now = self._tools.clock.now()
        with self._tools.store.transaction() as tx:
            tx.set_pulled(wanted.pull_id, PullState.WANTED, wanted.attempts + 1, message, now)

    def _fetch(self, archive: Archive, wanted: PulledSeries, named: frozenset[str]) -> Fetched:
        """Fetch it, and compare what is here then with what the PACS counted and named."""
        tools = self._tools
        asked, refused = asked_of(wanted), list[str]()
        receiver = f"pull:{wanted.pull_id}"
        tools.intake.receiver_started(receiver)
        association = AssociationRow(
            uuid.uuid4().hex, receiver, tools.ae_titles[wanted.pacs], tools.our_ae_title, wanted.pacs
        )
        ending = Ending.ABORTED
        try:
            result = archive.retrieve(asked, lambda file: _keep(tools.keeper, file, association, asked, refused))
            fetched = Fetched(result, self._here(asked), named, wanted.images, len(refused))
            # What is not whole ends like a transfer that broke off: more is waited for.
            ending = Ending.RELEASED if fetched.whole else Ending.ABORTED
        except ArchiveError:
            raise
        except AutocontourError as error:
            raise ArchiveError(str(error)) from error
        finally:
            tools.intake.association_ended(association.association_id, ending)
            logger.info(
                Event.ASSOCIATION_ENDED,
                extra={
                    "association_id": association.association_id,
                    "calling_ae_title": association.calling_ae_title,
                    "called_ae_title": association.called_ae_title,
                    "peer": association.peer,
                    "how": ending.value,
                },
            )
        return fetched

    def _here(self, asked: Wanted) -> frozenset[str]:
        """The images of it that are kept, whichever way they came."""
        with self._tools.store.transaction() as tx:
            headers = tx.headers(asked.series_instance_uid)
        return frozenset(header.sop_instance_uid for header in headers if not asked.stranger(header))

    def _end(self, wanted: PulledSeries, state: PullState, message: str) -> None:
        event = {
            PullState.FETCHED: Event.PULL_FETCHED,
            PullState.INCOMPLETE: Event.PULL_INCOMPLETE,
            PullState.FAILED: Event.PULL_FAILED,
        }[state]
        now = self._tools.clock.now()
        with self._tools.store.transaction() as tx:
            tx.set_pulled(wanted.pull_id, state, wanted.attempts + 1, message, now)
            tx.record(
                TimelineEntry(
                    event=event,
                    at=now,
                    study=wanted.study_instance_uid,
                    series=wanted.series_instance_uid,
                    detail=f"from {wanted.pacs}: {message}",
                )
            )
        level = logging.INFO if state is PullState.FETCHED else logging.ERROR
        logger.log(
            level,
            event,
            extra={
                "pacs": wanted.pacs,
                "study_instance_uid": wanted.study_instance_uid,
                "series_instance_uid": wanted.series_instance_uid,
                "detail": message,
            },
        )


def find_series(archive: Archive, query: Query) -> tuple[Match, ...]:
    """Return the series of every study that a study-level query finds; of its modality, where it names one.

    Raises:
        ArchiveError: the archive does not answer.
    """
    found: list[Match] = []
    failures: list[ArchiveError] = []
    for study in archive.find(query):
        below = Query(
            level=QueryLevel.SERIES,
            study_instance_uid=study.study_instance_uid,
            patient_id=study.patient_id or query.patient_id,
            modality=query.modality,
        )
        try:
            found += [_with_study(match, study) for match in archive.find(below)]
        except ArchiveError as error:
            # One study that cannot be asked about is no reason to do without the others, unless it is the archive.
            failures.append(error)
            if len(failures) > MAX_FAILURES:
                raise
            logger.warning(
                Event.PULL_MATCH_DROPPED, extra={"pacs": "", "reason": f"study {study.study_instance_uid}: {error}"}
            )
    if failures and not found:
        raise failures[0]
    return tuple(found)


def want(store: Store, pacs: str, series: Sequence[Match], at: datetime, *, again: bool = False) -> tuple[int, ...]:
    """Have series fetched by the workers; return the ids of those that will be, in order of `series`."""
    with store.transaction() as tx:
        ids = [tx.want_series(pacs, match, at, again=again) for match in series]
        wanted = tuple(pull_id for pull_id in ids if pull_id is not None)
        for pull_id in wanted:
            tx.defer(Job(JobKind.FETCH_SERIES, str(pull_id)))
    return wanted


def _with_study(match: Match, study: Match) -> Match:
    """Add what an archive says at study level only."""
    return replace(
        match,
        patient_id=match.patient_id or study.patient_id,
        accession_number=match.accession_number or study.accession_number,
        study_date=match.study_date or study.study_date,
    )


def asked_of(series: PulledSeries | Match) -> Wanted:
    """What is asked of a PACS to get a series."""
    return Wanted(
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        patient_id=series.patient_id,
    )


def named_by(archive: Archive, wanted: PulledSeries | Match) -> frozenset[str]:
    """The images of a series that a PACS names; none where it does not take such a question."""
    query = Query(
        level=QueryLevel.IMAGE,
        study_instance_uid=wanted.study_instance_uid,
        series_instance_uid=wanted.series_instance_uid,
        patient_id=wanted.patient_id,
    )
    try:
        return frozenset(match.sop_instance_uid for match in archive.find(query)) - {""}
    except ArchiveError as error:
        logger.info(
            Event.PULL_NOT_NAMED, extra={"series_instance_uid": wanted.series_instance_uid, "reason": str(error)}
        )
        return frozenset()


def _keep(keeper: InstanceKeeper, file: bytes, association: AssociationRow, asked: Wanted, refused: list[str]) -> None:
    try:
        keeper.keep(file, association, asked=asked)
    except InstanceRefused as error:
        refused.append(error.sop_instance_uid)
        raise
