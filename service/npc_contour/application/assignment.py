"""A person says which series fills which role, where the evidence does not tell or tells wrong.

What was said holds for the study and the pipeline, also when slices or series come later, until it is said otherwise.
It is checked at once: what no person can change (geometry, frames of reference) is refused in words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from npc_contour.application.ports import Clock
from npc_contour.application.study import StudyFacts, StudyReader, with_assignment
from npc_contour.catalog import Catalog
from npc_contour.core.routing import route
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.pipelines import Pipeline
from npc_contour.domain.received import SeriesRecord
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import NoSuchRowError, OperationRefused
from npc_contour.logs import Event
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)


class AssignRoles:
    """Takes a person's word."""

    def __init__(self, store: Store, clock: Clock, catalog: Catalog, reader: StudyReader) -> None:
        """Note it in this store."""
        self._store = store
        self._clock = clock
        self._catalog = catalog
        self._reader = reader

    def assign(self, case_id: str, roles: Mapping[str, str], *, by: str, pipeline: str = "") -> str:
        """Fill roles of a pipeline on a case's study; return what was done in one sentence.

        Args:
            case_id: a live case in any state; where it has images already, a new generation takes its place.
            roles: role → Series Instance UID, or an ending of it that no other series of the study has.
            by: who says so, for the timeline.
            pipeline: another one than the case's, which makes a case of its own; "" means the case's.

        Raises:
            NoSuchRowError: there is no such case, role or series.
            OperationRefused: the case is superseded or part of another, or these series cannot go together.
        """
        with self._store.transaction() as tx:
            case = tx.case(case_id)
            if case is None:
                raise NoSuchRowError(f"there is no case {case_id}")
            if case.state in {CaseState.SUPERSEDED, CaseState.CANCELLED}:
                raise OperationRefused(f"case {case_id} is {case.state}: assign to the live case of the study")
            asked = self._pipeline(pipeline or case.pipeline)
            tx.lock_study(case.study_instance_uid)
            facts = self._reader.gather(tx, case.study_instance_uid)
            chosen = {_known_role(asked, role): _series(facts, series) for role, series in roles.items()}
            if not chosen:
                raise OperationRefused(f"say at least one role: {', '.join(role.name for role in asked.roles)}")
            self._check(asked, facts, chosen)
            now = self._clock.now()
            tx.assign(case.study_instance_uid, asked.name, chosen, by, now)
            tx.defer(Job(JobKind.ROUTE_STUDY, case.study_instance_uid))
            words = ", ".join(f"{role} is {series}" for role, series in chosen.items())
            words = f"for {pipeline}: {words}" if pipeline else words
            tx.record(
                TimelineEntry(
                    event=Event.CASE_ASSIGNED,
                    at=now,
                    study=case.study_instance_uid,
                    case=case_id,
                    detail=f"by {by}: {words}",
                )
            )
        logger.info(Event.CASE_ASSIGNED, extra={"case_id": case_id, "by": by, "roles": dict(chosen)})
        return f"case {case_id}: {words}"

    def _pipeline(self, name: str) -> Pipeline:
        if name not in self._catalog.pipelines:
            raise OperationRefused(f"pipeline {name} has no roles to assign, or is not enabled (any more)")
        return self._catalog.pipelines[name]

    def _check(self, pipeline: Pipeline, facts: StudyFacts, chosen: Mapping[str, str]) -> None:
        doubled = {uid for uid in chosen.values() if list(chosen.values()).count(uid) > 1}
        if doubled:
            raise OperationRefused(f"one series cannot fill two roles: {', '.join(sorted(doubled))}")
        known = with_assignment(facts, pipeline.name, chosen)
        (answer,) = route(known.candidates, [pipeline], known.knowledge)
        if answer.case is None and not answer.choices:
            raise OperationRefused(f"with these series {pipeline.name} cannot run: {'; '.join(answer.reasons[:4])}")


def _known_role(pipeline: Pipeline, name: str) -> str:
    names = [role.name for role in pipeline.roles]
    if name not in names:
        raise NoSuchRowError(f"pipeline {pipeline.name} has no role {name!r}, it has {', '.join(names)}")
    return name


def _series(facts: StudyFacts, ending: str) -> str:
    found = [one.series_instance_uid for one in facts.series if _is_named(one, ending)]
    if len(found) != 1:
        listed = ", ".join(one.series_instance_uid for one in facts.series)
        words = "no series" if not found else f"{len(found)} series"
        raise NoSuchRowError(f"{words} of the study ends in {ending!r}; it has {listed}")
    return found[0]


def _is_named(series: SeriesRecord, ending: str) -> bool:
    return bool(ending) and series.series_instance_uid.endswith(ending)
