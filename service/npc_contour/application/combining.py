"""One structure set of all pipelines that plan on the same CT: OAR, GTV and CTV together, where the site wants it so.

Each pipeline's case is contoured and checked as ever, but not sent. Once the last one has ended, or `results.wait_s` is
over, a combined case takes their label maps, writes one RTSTRUCT on the planning CT and sends that; what is missing is
said by name. A member that is added or re-contoured makes the next generation of the combined case.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from npc_contour.application.ports import Clock
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.pipelines import Pipeline
from npc_contour.domain.structures import RoiSpec
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

COMBINED = "combined"
"""Name of the pipeline of a combined case; no file has it."""
LOOK_S = 30.0
CONTOURED = {CaseState.CONTOURED, CaseState.COMBINED}
RUNNING = {CaseState.ROUTED, CaseState.SEGMENTED}
UNFINISHED = RUNNING | {CaseState.WAITING, CaseState.AMBIGUOUS}


class CombineStudy:
    """Looks whether the results of a study can be combined."""

    def __init__(self, store: Store, clock: Clock, pipelines: Mapping[str, Pipeline], *, wait_s: float) -> None:
        """Combine the results of these pipelines, in their order."""
        self._store = store
        self._clock = clock
        self._order = list(pipelines)
        self._pipelines = pipelines
        self._wait = timedelta(seconds=wait_s)

    def run(self, study_instance_uid: str) -> None:
        """Do it for one study."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            live = tx.live_cases(study_instance_uid)
            members = sorted(
                (case for case in live if case.pipeline in self._pipelines), key=lambda c: self._order.index(c.pipeline)
            )
            for series in dict.fromkeys(case.planning_series_uid for case in members if case.state in CONTOURED):
                done = [c for c in members if c.planning_series_uid == series and c.state in CONTOURED]
                done = [case for case in done if is_member(self._pipelines[case.pipeline])]
                others = [case for case in members if case.state not in CONTOURED]
                if done:
                    self._combine(tx, series, done, others, live, now)

    def _combine(
        self,
        tx: Transaction,
        series: str | None,
        done: Sequence[CaseRecord],
        others: Sequence[CaseRecord],
        live: Sequence[CaseRecord],
        now: datetime,
    ) -> None:
        study = done[0].study_instance_uid
        ours = [c for c in others if c.planning_series_uid in {None, series} and is_member(self._pipelines[c.pipeline])]
        old = next((c for c in live if c.pipeline == COMBINED and c.planning_series_uid == series), None)
        ids = tuple(case.case_id for case in done)
        if old is not None and old.members == ids:
            return
        unfinished = [case for case in ours if case.state in UNFINISHED]
        last = max(case.created_at for case in (*done, *(c for c in ours if c.state in RUNNING)))
        deadline = last + self._wait
        if unfinished and now < deadline:
            tx.defer(Job(JobKind.COMBINE_STUDY, study, min(deadline, now + timedelta(seconds=LOOK_S))))
            return
        made = self._new_case(done, ours, old, now)
        if old is not None:
            tx.supersede(old.case_id, made.case_id, now)
            _record(tx, Event.CASE_SUPERSEDED, old, f"by case {made.case_id}: other members", now)
        tx.add_case(made)
        for case in done:
            tx.set_case(case.case_id, CaseState.COMBINED, now)
            _record(tx, Event.CASE_COMBINED, case, f"part of the structure set of case {made.case_id}", now)
        tx.defer(Job(JobKind.WRITE_STRUCTURE_SET, made.case_id))
        _record(tx, Event.CASE_CREATED, made, "; ".join(made.reasons), now)

    def _new_case(
        self, done: Sequence[CaseRecord], ours: Sequence[CaseRecord], old: CaseRecord | None, now: datetime
    ) -> CaseRecord:
        first = done[0]
        planning = first.inputs[first.planning_role]
        combined = f"combined: {', '.join(f'{c.pipeline} (case {c.case_id[:8]})' for c in done)}"
        missing = [f"{case.pipeline} is missing: {case.state}{_why(case)}" for case in ours]
        told = [f"{case.pipeline}: {reason}" for case in done for reason in case.reasons]
        return replace(
            first,
            case_id=uuid.uuid4().hex,
            pipeline=COMBINED,
            generation=old.generation + 1 if old else 1,
            state=CaseState.SEGMENTED,
            inputs={first.planning_role: planning},
            reasons=(*missing, combined, *_left_out([self._pipelines[case.pipeline] for case in done]), *told),
            demo=any(case.demo for case in done),
            predecessor=old.case_id if old else None,
            created_at=now,
            urgent=any(case.urgent for case in done),
            held_reason="",
            held_for=(),
            verdicts=(),
            members=tuple(case.case_id for case in done),
        )


def is_member(pipeline: Pipeline) -> bool:
    """Whether a pipeline plans on a CT; one that plans on MR keeps a structure set of its own."""
    planning = next(role for role in pipeline.roles if role.name == pipeline.planning_role)
    return planning.modality == "CT"


def combined_pipeline(members: Sequence[Pipeline]) -> Pipeline:
    """Return the pipelines as one: every ROI once, by the name of the first that has it."""
    rois: dict[str, RoiSpec] = {}
    for member in members:
        for roi in member.rois:
            rois.setdefault(roi.name.casefold(), roi)
    networks = {use.network: use for member in members for use in member.networks}
    roles = {role.name: role for member in members for role in member.roles}
    return Pipeline(
        name=COMBINED,
        title=" + ".join(member.title for member in members),
        label="NPC_COMBINED",
        planning_role=members[0].planning_role,
        roles=tuple(roles.values()),
        networks=tuple(networks.values()),
        rois=tuple(rois.values()),
    )


def _left_out(members: Sequence[Pipeline]) -> tuple[str, ...]:
    """Say which ROIs a combined structure set lacks because an earlier pipeline has them by that name."""
    owners: dict[str, str] = {}
    told = []
    for member in members:
        doubled: dict[str, list[str]] = {}
        for roi in member.rois:
            owner = owners.setdefault(roi.name.casefold(), member.name)
            if owner != member.name:
                doubled.setdefault(owner, []).append(roi.name)
        told += [
            f"{len(names)} ROIs of {member.name} are left out, {owner} has them: {', '.join(names)}"
            for owner, names in doubled.items()
        ]
    return tuple(told)


def _why(case: CaseRecord) -> str:
    return f" ({case.reasons[0]})" if case.reasons else ""


def _record(tx: Transaction, event: Event, case: CaseRecord, detail: str, now: datetime) -> None:
    tx.record(TimelineEntry(event=event, at=now, study=case.study_instance_uid, case=case.case_id, detail=detail))
    logger.info(event, extra={"case_id": case.case_id, "pipeline": case.pipeline, "detail": detail})
