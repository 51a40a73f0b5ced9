"""A series was closed, or a waiting time is over: which pipelines run on this study, and on which series?

* A pipeline waits while images of the study still arrive, and while a partner is missing or a better series may come
  (`ln_ctv` runs on either phase, but plans on the non-contrast series of a pair; it waits for one only where another
  enabled pipeline asks for pairs). After `routing.partner_wait_s` it runs with what is there, or is refused with every
  reason.
* A pipeline for which nothing in the study is meant makes no case where another one has something to do: the study's
  timeline says so. Where no pipeline has, each refuses.
* Should the partner come later, a new case takes the place of the refused one. Other images for the same roles (a late
  slice) make a new case of the next generation that supersedes the old one. Nothing written is ever overwritten.
* Images that came again and were accepted by a person make a new case of the next generation, too.
* A series that comes after a case was made, and might have been taken for it (a second scan, the other half of one, the
  same one corrected), asks a person in a case of its own beside it, whatever state that one is in. Nothing is contoured
  again until somebody answers; saying that the first one counts withdraws the question.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from npc_contour.application import corrections
from npc_contour.application.generations import difference, gives_way, has_these_inputs, inputs_of
from npc_contour.application.ports import Clock
from npc_contour.application.study import StudyFacts, StudyReader
from npc_contour.catalog import Catalog
from npc_contour.core.routing import route
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.pipelines import Pipeline, Route
from npc_contour.domain.received import SeriesRecord
from npc_contour.domain.series import Case
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

WITHOUT_IMAGES = {CaseState.WAITING, CaseState.AMBIGUOUS}
"""Cases that are no more than a question yet: the answer is written into them."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A pipeline's route and what is there of it already."""

    pipeline: Pipeline
    route: Route
    live: tuple[CaseRecord, ...]
    wait_until: datetime

    @property
    def made(self) -> list[CaseRecord]:
        """The cases that have images, in any state."""
        return [old for old in self.live if old.inputs]

    @property
    def current(self) -> list[CaseRecord]:
        """The cases whose images are what they were when it was made."""
        return [old for old in self.live if not old.outdated]

    @property
    def concerned(self) -> bool:
        """Whether the pipeline has anything to do with the study."""
        return self.route.concerned or bool(self.made)


class RouteStudy:
    """Asks the router about every enabled pipeline and keeps its answers as cases."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        catalog: Catalog,
        *,
        partner_wait_s: float,
        reader: StudyReader,
        urgent_called_ae_titles: Sequence[str] = (),
        seek_partners: bool = False,
    ) -> None:
        """Route studies of this store to the pipelines of the catalogue.

        Args:
            store: where studies are.
            clock: the time.
            catalog: pipelines and networks in use.
            partner_wait_s: how long a case waits for the second series of its pair.
            reader: gathers what is known of a study.
            urgent_called_ae_titles: a case goes first when a series of it came under one of these titles of ours.
            seek_partners: whether a PACS is asked for what a case waits for.
        """
        self._reader = reader
        self._seek_partners = seek_partners
        self._urgent = frozenset(urgent_called_ae_titles)
        self._store = store
        self._clock = clock
        self._catalog = catalog
        self._partner_wait = timedelta(seconds=partner_wait_s)
        self._pairs_expected = any(
            sum(role.required for role in pipeline.roles) > 1 for pipeline in catalog.pipelines.values()
        )

    def run(self, study_instance_uid: str) -> None:
        """Do it for one study."""
        self._reader.look(self._store, study_instance_uid)
        now = self._clock.now()
        with self._store.transaction() as tx:
            tx.lock_study(study_instance_uid)
            facts = self._reader.gather(tx, study_instance_uid)
            if not facts.candidates:
                return
            pipelines = tuple(self._catalog.pipelines.values())
            arriving = _arriving(facts.series)
            live = tx.live_cases(study_instance_uid)
            self._begin_again(tx, live, tx.images_came_back(study_instance_uid), now)
            answers = [_with_held(one, facts.series) for one in self._routes(facts, pipelines)]
            every = [self._answer(pipeline, one, live, now) for pipeline, one in zip(pipelines, answers, strict=True)]
            concerned = [answer for answer in every if answer.concerned] or every
            decided = [self._decide(tx, study_instance_uid, answer, arriving, now) for answer in concerned]
            others = [answer for answer in every if answer not in concerned]
            if others:
                self._leave_out(tx, study_instance_uid, others, now, tell=any(decided))

    @staticmethod
    def _routes(facts: StudyFacts, pipelines: Sequence[Pipeline]) -> tuple[Route, ...]:
        """Route the study; what a person said of a pipeline counts for the series that were here when it was said."""
        answers = route(facts.candidates, pipelines, facts.knowledge)
        unsaid = route(facts.candidates, pipelines, replace(facts.knowledge, assigned={}))
        return tuple(
            other if _is_about_later(other, facts, facts.assigned_at.get(one.pipeline)) else one
            for one, other in zip(answers, unsaid, strict=True)
        )

    def _begin_again(self, tx: Transaction, live: Sequence[CaseRecord], back: frozenset[str], now: datetime) -> None:
        """Let cases go on that failed for want of images which have come again."""
        for case in live:
            if case.state is CaseState.FAILED and any(one.series_instance_uid in back for one in case.inputs.values()):
                for kind in (JobKind.SEGMENT_CASE, JobKind.WRITE_STRUCTURE_SET):
                    tx.clear_attempts(kind, case.case_id)
                tx.set_case(case.case_id, CaseState.ROUTED, now, reasons=case.reasons[1:])
                tx.defer(Job(JobKind.SEGMENT_CASE, case.case_id))
                _record(tx, Event.CASE_RETRIED, case, "images that were damaged or gone have come again", now)

    def _answer(self, pipeline: Pipeline, answer: Route, live: Sequence[CaseRecord], now: datetime) -> _Answer:
        ours = tuple(case for case in live if case.pipeline == pipeline.name)
        waits = [case.wait_until for case in ours if case.state is CaseState.WAITING and case.wait_until]
        # A case that asks a person, is refused or running already has done its waiting.
        begun = any(case.state is not CaseState.WAITING for case in ours)
        return _Answer(pipeline, answer, ours, min(waits) if waits else now if begun else now + self._partner_wait)

    def _decide(self, tx: Transaction, study: str, answer: _Answer, arriving: str, now: datetime) -> bool:
        """Write a pipeline's answer down; return whether it is a new one, and more than that it waits."""
        case = answer.route.case
        if case is not None and has_these_inputs(answer.current, case):
            self._withdraw(tx, answer, case, now)
            return False
        # What could run already waits for a better series only where the site's pipelines make a pair likely.
        lacks = bool(answer.route.waiting_for) and (case is None or self._pairs_expected)
        if now < answer.wait_until and (arriving or lacks):
            reasons = (arriving, *answer.route.reasons) if arriving else answer.route.reasons
            self._wait(tx, study, answer, reasons, now)
            return False
        if case is not None:
            self._make(tx, study, answer, case, now)
            return True
        if answer.route.choices:
            return self._ask(tx, study, answer, now)
        if all(old.state in WITHOUT_IMAGES for old in answer.live):
            self._refuse(tx, study, answer, arriving, now)
            return True
        return False

    def _leave_out(self, tx: Transaction, study: str, answers: Sequence[_Answer], now: datetime, *, tell: bool) -> None:
        """Make no case for pipelines that the study does not concern; what was asked or refused before is withdrawn."""
        names = {answer.pipeline.name for answer in answers}
        live = tx.live_cases(study)
        taker = next(case for case in live if case.pipeline not in names)
        for old in live:
            if old.pipeline in names and old.state in {*WITHOUT_IMAGES, CaseState.REFUSED}:
                tx.supersede(old.case_id, taker.case_id, now)
                words = f"nothing in the study is meant for {old.pipeline}, {taker.pipeline} takes it"
                _record(tx, Event.CASE_SUPERSEDED, old, words, now)
        if not tell:
            return
        detail = "; ".join(answer.route.reasons[0] for answer in answers)
        tx.record(TimelineEntry(event=Event.PIPELINES_UNCONCERNED, at=now, study=study, detail=detail))
        logger.info(Event.PIPELINES_UNCONCERNED, extra={"study_instance_uid": study, "pipelines": sorted(names)})

    def _withdraw(self, tx: Transaction, answer: _Answer, case: Case, now: datetime) -> None:
        """Take back what was asked beside a case, once the answer is what that case has."""
        kept = next(old for old in answer.current if has_these_inputs([old], case))
        for old in answer.live:
            if old.state in WITHOUT_IMAGES:
                tx.supersede(old.case_id, kept.case_id, now)
                _record(tx, Event.CASE_SUPERSEDED, old, f"case {kept.case_id} is what was asked for", now)

    def _ask(self, tx: Transaction, study: str, answer: _Answer, now: datetime) -> bool:
        """Let a person choose; a case that was refused gives its place. Return whether that is new.

        A partner that a PACS may have by now is looked for once more: it may settle what weak evidence leaves open.
        """
        case = _waiting_case(answer.live) or self._new_case(study, answer.pipeline, now)
        asking = replace(
            case,
            state=CaseState.AMBIGUOUS,
            waiting_for=answer.route.waiting_for,
            wait_until=None,
            reasons=(*map(_made_before, answer.made), *answer.route.reasons),
            verdicts=answer.route.verdicts,
            choices=answer.route.choices,
        )
        if asking == case:
            return False
        self._save(tx, asking, answer.live, now)
        if self._seek_partners and asking.waiting_for:
            tx.defer(Job(JobKind.FIND_PARTNER, study))
        for old in answer.live:
            if old.case_id != case.case_id and old.state is CaseState.REFUSED and not old.inputs:
                tx.supersede(old.case_id, case.case_id, now)
        _record(tx, Event.CASE_AMBIGUOUS, asking, "; ".join(asking.reasons), now)
        return True

    def _wait(self, tx: Transaction, study: str, answer: _Answer, reasons: tuple[str, ...], now: datetime) -> None:
        case = _waiting_case(answer.live) or self._new_case(study, answer.pipeline, now)
        waiting = replace(
            case,
            state=CaseState.WAITING,
            waiting_for=answer.route.waiting_for,
            wait_until=answer.wait_until,
            reasons=reasons,
            verdicts=answer.route.verdicts,
            choices=(),
        )
        tx.defer(Job(JobKind.ROUTE_STUDY, study, answer.wait_until))
        if waiting == case:
            return
        self._save(tx, waiting, answer.live, now)
        if self._seek_partners and waiting.waiting_for and waiting.waiting_for != case.waiting_for:
            tx.defer(Job(JobKind.FIND_PARTNER, study))
        _record(tx, Event.CASE_WAITING, waiting, "; ".join(reasons), now)

    def _refuse(self, tx: Transaction, study: str, answer: _Answer, arriving: str, now: datetime) -> None:
        route = answer.route
        missing = tuple(
            f"no series for the role {role} arrived within {self._partner_wait.total_seconds():g} s"
            for role in route.waiting_for
        )
        case = _waiting_case(answer.live) or self._new_case(study, answer.pipeline, now)
        refused = replace(
            case,
            state=CaseState.REFUSED,
            waiting_for=route.waiting_for,
            wait_until=None,
            reasons=(*missing, *filter(None, (arriving,)), *route.reasons)
            or (f"no series of the study suits {answer.pipeline.name}",),
            verdicts=route.verdicts,
            choices=(),
        )
        self._save(tx, refused, answer.live, now)
        _record(tx, Event.CASE_REFUSED, refused, "; ".join(refused.reasons), now)

    def _make(self, tx: Transaction, study: str, answer: _Answer, case: Case, now: datetime) -> None:
        inputs = inputs_of(case)
        planning = case.series[case.planning].first
        olds = [old for old in answer.live if gives_way(old, inputs, planning.frame_of_reference_uid)]
        waiting = _waiting_case(olds)
        olds = [old for old in olds if old is not waiting]
        latest = max(olds, key=lambda old: old.generation, default=None)
        made = replace(
            waiting or self._new_case(study, answer.pipeline, now),
            generation=latest.generation + 1 if latest else 1,
            state=CaseState.ROUTED,
            inputs=inputs,
            frame_of_reference_uid=planning.frame_of_reference_uid,
            waiting_for=(),
            wait_until=None,
            reasons=(*self._alone(answer.route), *answer.route.reasons),
            verdicts=answer.route.verdicts,
            choices=(),
            predecessor=latest.case_id if latest else None,
            urgent=bool(self._urgent & tx.called_ae_titles([one.series_instance_uid for one in inputs.values()])),
        )
        for old in olds:
            tx.supersede(old.case_id, made.case_id, now)
            _record(tx, Event.CASE_SUPERSEDED, old, f"by case {made.case_id}: {difference(old, made)}", now)
        self._save(tx, made, answer.live, now)
        if any(corrections.is_asked(tx, one.series_instance_uid) for one in inputs.values()):
            tx.hold_case(made.case_id, corrections.HELD, now)
        tx.defer(Job(JobKind.SEGMENT_CASE, made.case_id))
        first = ("urgent",) if made.urgent else ()
        _record(tx, Event.CASE_CREATED, made, "; ".join((*first, *answer.route.reasons)), now)

    def _alone(self, route: Route) -> tuple[str, ...]:
        """That a case is run without the series that would have suited better."""
        if not (route.waiting_for and self._pairs_expected):
            return ()
        wait_s = self._partner_wait.total_seconds()
        return (
            f"no better series for {', '.join(route.waiting_for)} arrived within {wait_s:g} s: run on what is there",
        )

    def _new_case(self, study: str, pipeline: Pipeline, now: datetime) -> CaseRecord:
        return CaseRecord(
            case_id=uuid.uuid4().hex,
            study_instance_uid=study,
            pipeline=pipeline.name,
            generation=1,
            state=CaseState.WAITING,
            planning_role=pipeline.planning_role,
            inputs={},
            frame_of_reference_uid="",
            waiting_for=(),
            wait_until=None,
            reasons=(),
            demo=any(contract.demo for contract in self._catalog.contracts_of(pipeline)),
            predecessor=None,
            created_at=now,
        )

    def _save(self, tx: Transaction, case: CaseRecord, live: Sequence[CaseRecord], now: datetime) -> None:
        if any(old.case_id == case.case_id for old in live):
            tx.update_waiting_case(case, now)
        else:
            tx.add_case(case)


def _arriving(known: Sequence[SeriesRecord]) -> str:
    """Return what still arrives, in words; "" when nothing does. What is quiet but incomplete keeps nobody waiting."""
    arriving = [series for series in known if series.state is SeriesState.RECEIVING and not series.reasons]
    names = ", ".join(repr(series.description) for series in arriving)
    return f"{len(arriving)} series of the study still arriving: {names}" if arriving else ""


def _made_before(case: CaseRecord) -> str:
    """What a person who is asked should know of a case that was made before the question came up."""
    series = " and ".join(given.series_instance_uid for given in case.inputs.values())
    return f"case {case.case_id} was made of series {series} before; it stays as it is until somebody answers"


def _with_held(answer: Route, known: Sequence[SeriesRecord]) -> Route:
    """Say which series of the study are here and held, where a pipeline cannot run: it may lack one of them."""
    held = [series for series in known if series.state is SeriesState.HELD or (series.reasons and _waits(series))]
    if answer.case is not None or not held:
        return answer
    words = [
        f"series {series.description!r} ({series.images} images) is {'held' if not _waits(series) else 'incomplete'}:"
        f" {'; '.join(reason.removeprefix('held: ').removeprefix('waiting: ') for reason in series.reasons)}"
        for series in held
    ]
    return replace(answer, reasons=(*answer.reasons[:1], *words, *answer.reasons[1:]))


def _waits(series: SeriesRecord) -> bool:
    return series.state is SeriesState.RECEIVING


def _is_about_later(asked: Route, facts: StudyFacts, said_at: datetime | None) -> bool:
    """Whether a question is about a series that came after a person answered it."""
    if said_at is None:
        return False
    later = {one.series_instance_uid for one in facts.series if one.first_instance_at > said_at}
    return any(later & set(choice.values()) for choice in asked.choices)


def _waiting_case(live: Sequence[CaseRecord]) -> CaseRecord | None:
    return next((case for case in live if case.state in WITHOUT_IMAGES), None)


def _record(tx: Transaction, event: Event, case: CaseRecord, detail: str, now: datetime) -> None:
    tx.record(TimelineEntry(event=event, at=now, study=case.study_instance_uid, case=case.case_id, detail=detail))
    logger.info(event, extra={"case_id": case.case_id, "pipeline": case.pipeline, "detail": detail})
