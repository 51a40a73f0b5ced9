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
from npc_contour.application.records import (
    AssociationRow,
    Ending,
    Job,
    JobKind,
    PulledSeries,
    PullState,
    StoryLine,
)
from npc_contour.application.store import Store
from npc_contour.domain.queries import Match, Query, QueryLevel, Retrieved, Wanted
from npc_contour.errors import ArchiveError, AutocontourError
from npc_contour.logs import Event
from npc_contour.settings import PullSettings

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 20
"""With growing pauses up to five minutes this is about an hour and a half."""


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
            result = self._fetch(archive, wanted)
        except ArchiveError as error:
            if wanted.attempts + 1 >= MAX_ATTEMPTS:
                self._end(wanted, PullState.FAILED, str(error))
                return
            with self._tools.store.transaction() as tx:
                tx.set_pulled(
                    wanted.pull_id, PullState.WANTED, wanted.attempts + 1, str(error), self._tools.clock.now()
                )
            raise
        if result.failed or not result.completed:
            which = f", among them {result.failed_uids[0]}" if result.failed_uids else ""
            reason = f"{result.completed} images fetched, {result.failed} failed or refused{which}"
            self._end(wanted, PullState.INCOMPLETE, reason)
        else:
            self._end(wanted, PullState.FETCHED, f"{result.completed} images fetched")

    def _fetch(self, archive: Archive, wanted: PulledSeries) -> Retrieved:
        tools = self._tools
        receiver = f"pull:{wanted.pull_id}"
        tools.intake.receiver_started(receiver)
        association = AssociationRow(
            uuid.uuid4().hex, receiver, tools.ae_titles[wanted.pacs], tools.our_ae_title, wanted.pacs
        )
        ending = Ending.ABORTED
        try:
            result = archive.retrieve(
                Wanted(
                    study_instance_uid=wanted.study_instance_uid,
                    series_instance_uid=wanted.series_instance_uid,
                    patient_id=wanted.patient_id,
                ),
                lambda file: _keep(tools.keeper, file, association, wanted.study_instance_uid),
            )
            ending = Ending.RELEASED
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
        return result

    def _end(self, wanted: PulledSeries, state: PullState, message: str) -> None:
        event = {
            PullState.FETCHED: Event.PULL_FETCHED,
            PullState.INCOMPLETE: Event.PULL_INCOMPLETE,
            PullState.FAILED: Event.PULL_FAILED,
        }[state]
        now = self._tools.clock.now()
        with self._tools.store.transaction() as tx:
            tx.set_pulled(wanted.pull_id, state, wanted.attempts + 1, message, now)
            tx.tell(
                StoryLine(
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
    for study in archive.find(query):
        below = Query(
            level=QueryLevel.SERIES,
            study_instance_uid=study.study_instance_uid,
            patient_id=study.patient_id or query.patient_id,
            modality=query.modality,
        )
        found += [_with_study(match, study) for match in archive.find(below)]
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


def _keep(keeper: InstanceKeeper, file: bytes, association: AssociationRow, study_instance_uid: str) -> None:
    keeper.keep(file, association, study_instance_uid=study_instance_uid)
