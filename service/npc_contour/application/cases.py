"""The two steps of a case: segment, then write. Each finds out from rows and files what is left to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from npc_contour.application.artefacts import (
    FINDINGS,
    FINDINGS_PDF,
    IMAGE_FINDINGS,
    MEASUREMENTS,
    OBJECTS,
    REPORT,
    RTSTRUCT,
    SECOND_OPINIONS,
    SEGMENTATION,
    Artefacts,
)
from npc_contour.application.combining import COMBINED, combined_pipeline, is_member
from npc_contour.application.contouring import (
    Contoured,
    Request,
    Timings,
    Volumes,
    contour,
    doubt_images,
    findings_report,
    report_of,
    segment,
    timed,
)
from npc_contour.application.delivery import add_deliveries
from npc_contour.application.measuring import Measured, measure_case, measured_report
from npc_contour.application.opinions import Siblings, compare_with_others
from npc_contour.application.ports import (
    Clock,
    EncodedReport,
    InferenceEngine,
    ReportWriter,
    SeriesReader,
    Spool,
    StructureSetWriter,
)
from npc_contour.application.statistics import observe
from npc_contour.application.steps import Postponed
from npc_contour.catalog import Catalog
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.findings import Finding, FindingCode, HoldFrom
from npc_contour.domain.jobs import AnyDestination, CaseState, Deliverable
from npc_contour.domain.pipelines import NetworkContract, Pipeline
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Series
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.volumes import LabelMap
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import IMAGES, CaseRefused, DamagedFileError
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

PLACE_S = 0.3
"""How long a case waits before it looks again for a free place in Triton."""


NOT_OF_MEMBERS = {Deliverable.FINDINGS, Deliverable.FINDINGS_PDF}
"""What a combined structure set says for its members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What both steps work with.

    Attributes:
        max_shift_mm: phases that lie further apart are said to.
        combine: results are sent as part of a combined structure set.
        hold_doubtful: where a destination says nothing of its own.
    """

    store: Store
    spool: Spool
    clock: Clock
    catalog: Catalog
    reader: SeriesReader
    engine: InferenceEngine
    writer: StructureSetWriter
    report_writer: ReportWriter
    destinations: Sequence[AnyDestination]
    segmentations_at_once: int
    max_shift_mm: float = 3.0
    combine: bool = False
    hold_doubtful: HoldFrom = HoldFrom.NEVER


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What is written of a case: its structure set, what was measured, and its findings as SR and as PDF, if any."""

    contoured: Contoured
    measured: Measured | None
    findings: tuple[EncodedReport, EncodedReport] | None

    @property
    def files(self) -> dict[str, bytes]:
        """The objects, by the name of the artefact."""
        encoded, measured = self.contoured.encoded, self.measured.encoded if self.measured else None
        told, page = self.findings or (None, None)
        made = {
            SEGMENTATION: encoded.segmentation,
            MEASUREMENTS: measured.data if measured else None,
            FINDINGS: told.data if told else None,
            FINDINGS_PDF: page.data if page else None,
            RTSTRUCT: encoded.data,
        }
        return {name: data for name, data in made.items() if data is not None}

    @property
    def told(self) -> dict[str, Any]:
        """What the report of the case says of the objects beside the structure set."""
        told, page = self.findings or (None, None)
        return measured_report(self.measured) | {
            "findings_sop_instance_uid": told.sop_instance_uid if told else "",
            "findings_pdf_sop_instance_uid": page.sop_instance_uid if page else "",
        }


class CaseSteps:
    """Segments and writes; keeps the last case's planning volume, so that it is read once."""

    def __init__(self, tools: Tools) -> None:
        """Work with these tools."""
        self._tools = tools
        self._kept: dict[str, Volumes] = {}
        self._lock = threading.Lock()

    def segment(self, case_id: str) -> None:
        """Run every network of a case that has not answered yet.

        Raises:
            CaseRefused: the images cannot be contoured.
            InferenceError: Triton failed.
            Postponed: no place is free.
        """
        tools = self._tools
        case, series = self._open(case_id, CaseState.ROUTED)
        if case is None:
            return
        pipeline, contracts = self.pipeline_of(case)
        artefacts = Artefacts(tools.store, tools.spool, case_id)
        timings_s: Timings = {}
        volumes = Volumes(tools.reader, pipeline, series, timings_s, moves_of(case))
        with tools.store.slot(tools.segmentations_at_once) as free:
            if not free:
                self._plan_for_later(case_id)
                raise Postponed
            findings = () if case.members else self._image_findings(case, volumes)
            for contract in () if case.members else contracts:
                if not artefacts.has_labels(contract):
                    label_map = segment(tools.engine, pipeline, contract, volumes, timings_s)
                    artefacts.put_labels(contract, label_map)
        volumes.keep_only(case.planning_role)
        with self._lock:
            self._kept = {case_id: volumes}
        now = tools.clock.now()
        with tools.store.transaction() as tx:
            if not _still(tx, case_id, CaseState.ROUTED):
                return
            tx.set_case(case_id, CaseState.SEGMENTED, now)
            for finding in findings:
                if finding.code is FindingCode.PHASES_APART:
                    self._record(tx, Event.PHASES_SHIFTED, case, {}, detail=finding.sentence)
            tx.defer(Job(JobKind.WRITE_STRUCTURE_SET, case_id))
            self._record(tx, Event.CASE_SEGMENTED, case, timings_s, detail=", ".join(c.name for c in contracts))

    def _image_findings(self, case: CaseRecord, volumes: Volumes | None = None) -> tuple[Finding, ...]:
        """What is doubted of the images of a case: looked at once, and again where that is damaged or gone."""
        tools = self._tools
        artefacts = Artefacts(tools.store, tools.spool, case.case_id)
        if not artefacts.is_whole(IMAGE_FINDINGS):
            if volumes is None:
                pipeline, _ = self.pipeline_of(case)
                volumes = Volumes(tools.reader, pipeline, self.images_of(case), moves=moves_of(case))
            artefacts.put_findings(IMAGE_FINDINGS, doubt_images(volumes, tools.max_shift_mm))
        return artefacts.findings(IMAGE_FINDINGS)

    def _plan_for_later(self, case_id: str) -> None:
        """Go back into the queue, where an urgent case goes first, rather than keep a place in this process."""
        with self._tools.store.transaction() as tx:
            tx.defer(Job(JobKind.SEGMENT_CASE, case_id, self._tools.clock.now() + timedelta(seconds=PLACE_S)))

    def write(self, case_id: str) -> None:
        """Contour a segmented case, encode and check its RTSTRUCT, and queue it for every destination.

        Raises:
            CaseRefused: the networks found nothing.
            GateError: the RTSTRUCT failed its own check.
        """
        tools = self._tools
        case, series = self._open(case_id, CaseState.SEGMENTED)
        if case is None:
            return
        artefacts = Artefacts(tools.store, tools.spool, case_id)
        timings_s: Timings = {}
        if not (artefacts.is_whole(RTSTRUCT) and artefacts.is_whole(REPORT)):
            done = self.contour(case, series, artefacts, timings_s)
            pipeline, _ = self.pipeline_of(case)
            for name, data in done.files.items():
                artefacts.put(name, data)
            artefacts.put_report(report_of(done.contoured, pipeline, timings_s) | done.told)
        report = artefacts.report()
        with self._lock:
            self._kept.pop(case_id, None)
        now = tools.clock.now()
        with tools.store.transaction() as tx:
            if not _still(tx, case_id, CaseState.SEGMENTED):
                return
            tx.add_structure_set(case_id, report["sop_instance_uid"], artefacts.key(RTSTRUCT), report, now)
            tx.set_case(case_id, CaseState.CONTOURED, now)
            observe(tx, case, report, now)
            findings = sorted({one["code"] for one in report["findings"]})
            self._record(tx, Event.STRUCTURE_SET_WRITTEN, case, timings_s, findings, detail="; ".join(report["notes"]))
            to_combine = tools.combine and case.pipeline != COMBINED and is_member(self.pipeline_of(case)[0])
            if to_combine:
                tx.combine_later(case_id)
                tx.defer(Job(JobKind.COMBINE_STUDY, case.study_instance_uid))
            else:
                add_deliveries(tx, case, tools.destinations, now)
            for what, name in OBJECTS.items():
                uid = "" if what is Deliverable.RTSTRUCT else report.get(f"{what}_sop_instance_uid", "")
                if uid and not (to_combine and what in NOT_OF_MEMBERS):
                    tx.add_beside(case_id, what, uid, artefacts.key(name))
                    add_deliveries(tx, case, tools.destinations, now, what)
            # Of a part of a combined structure set only what goes beside it waits here.
            if not to_combine or tx.deliveries(case_id):
                self._hold_if_doubtful(tx, case, report)

    def _hold_if_doubtful(self, tx: Transaction, case: CaseRecord, report: Mapping[str, Any]) -> None:
        """Hold it for every destination that does not take findings of this severity."""
        of_site = self._tools.hold_doubtful
        rules = {one.name: one.hold_doubtful or of_site for one in self._tools.destinations} or {"": of_site}
        found = [Finding.from_json(one) for one in report["findings"]]
        doubts = [one for one in found if any(rule.holds(one.severity) for rule in rules.values())]
        if doubts:
            more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
            reason = f"the contours are doubtful: {doubts[0].sentence}{more}"
            codes = sorted({one.code for one in doubts})
            taking = [name for name, rule in rules.items() if not any(rule.holds(one.severity) for one in doubts)]
            tx.hold_case(case.case_id, reason, self._tools.clock.now(), codes, taking)
            self._record(tx, Event.CASE_HELD, case, {}, codes, detail=reason)

    def contour(
        self, case: CaseRecord, series: Mapping[str, Series], artefacts: Artefacts, timings_s: Timings
    ) -> Written:
        """Return what is written of a case; the same case gives the same bytes.

        Raises:
            CaseRefused: the networks found nothing.
            DamagedFileError: an image or a label map is not what was kept.
            GateError: the RTSTRUCT failed its own check.
        """
        tools = self._tools
        pipeline, contracts = self.pipeline_of(case)
        with self._lock:
            volumes = self._kept.get(case.case_id)
        if volumes is None:
            volumes = Volumes(tools.reader, pipeline, series, moves=moves_of(case))
        volumes.timings_s = timings_s
        volume = volumes.of(case.planning_role)
        label_maps = {
            contract.name: found.labels(contract, volume.grid)
            for found, contract in self._answers(case, artefacts, contracts)
        }
        predecessor = ""
        if case.predecessor is not None:
            with tools.store.transaction() as tx:
                predecessor = tx.structure_set_uid(case.predecessor) or ""
        owners = self.members_of(case) or (case,)
        told = {finding.sentence: finding for owner in owners for finding in self._image_findings(owner)}
        request = Request(
            pipeline=pipeline,
            contracts=contracts,
            planning=series[case.planning_role],
            uid_seed=case.uid_seed,
            made_at=case.created_at,
            notes=("series not confirmed complete by the PACS", *case.reasons),
            predecessor_sop_instance_uid=predecessor,
            image_findings=tuple(told.values()),
            second_opinions=self._second_opinions(case, pipeline, label_maps),
        )
        done = contour(request, label_maps, volume, tools.writer, timings_s)
        measured = measure_case(request, label_maps, volume, done.encoded, tools.report_writer, timings_s)
        reported = None
        if done.structure_set.findings:
            with timed(timings_s, "report findings"):
                report = findings_report(done.structure_set, case.created_at)
                reported = tools.report_writer.write_findings(report, volume, request.planning, done.encoded)
        return Written(done, measured, reported)

    def _second_opinions(
        self, case: CaseRecord, pipeline: Pipeline, label_maps: Mapping[str, LabelMap]
    ) -> tuple[Finding, ...]:
        """Where networks of the study's other pipelines draw the same structures elsewhere: looked at once."""
        tools = self._tools
        artefacts = Artefacts(tools.store, tools.spool, case.case_id)
        if not artefacts.is_whole(SECOND_OPINIONS):
            siblings = Siblings(tools.store, tools.spool, self.pipeline_of)
            found = compare_with_others(pipeline, label_maps, lambda names, grid: siblings.masks(case, names, grid))
            artefacts.put_findings(SECOND_OPINIONS, found)
        return artefacts.findings(SECOND_OPINIONS)

    def _open(self, case_id: str, state: CaseState) -> tuple[CaseRecord | None, dict[str, Series]]:
        """Return a case and its images, as they were when it was made; None when it is not in this state."""
        with self._tools.store.transaction() as tx:
            case = tx.case(case_id)
            if case is None or case.state is not state or case.held_reason:
                return None, {}
        return case, self.images_of(case)

    def images_of(self, case: CaseRecord) -> dict[str, Series]:
        """Return the images of a case by role, as they were when it was made.

        Raises:
            DamagedFileError: some are not kept any more; without an end slice the stack would still look whole.
        """
        series = {}
        with self._tools.store.transaction() as tx:
            for role, given in case.inputs.items():
                wanted = set(given.sop_instance_uids)
                images = [h for h in tx.headers(given.series_instance_uid) if h.sop_instance_uid in wanted]
                if len(images) != len(wanted):
                    words = f"{len(wanted) - len(images)} of the {len(wanted)} images as {role} are gone or damaged"
                    raise DamagedFileError(f"{IMAGES}{given.series_instance_uid}", words, is_gone=True)
                series[role] = Series(tuple(images))
        return series

    def pipeline_of(self, case: CaseRecord) -> tuple[Pipeline, tuple[NetworkContract, ...]]:
        """Return the pipeline of a case with its networks.

        Raises:
            CaseRefused: the settings enable it no more.
        """
        if case.members:
            pipeline = combined_pipeline([self._named(member.pipeline) for member in self.members_of(case)])
        else:
            pipeline = self._named(case.pipeline)
        pipeline = replace(pipeline, planning_role=case.planning_role)
        return pipeline, self._tools.catalog.contracts_of(pipeline)

    def _named(self, name: str) -> Pipeline:
        pipeline = self._tools.catalog.pipelines.get(name)
        if pipeline is None:
            raise CaseRefused(f"pipeline {name} is not enabled any more")
        return pipeline

    def members_of(self, case: CaseRecord) -> tuple[CaseRecord, ...]:
        """Return the cases whose contours a combined one holds."""
        with self._tools.store.transaction() as tx:
            found = (tx.case(case_id) for case_id in case.members)
            return tuple(member for member in found if member is not None)

    def _answers(
        self, case: CaseRecord, artefacts: Artefacts, contracts: Sequence[NetworkContract]
    ) -> Iterator[tuple[Artefacts, NetworkContract]]:
        """Where the answer of each network lies: with the case, or with the first of its members that asked it."""
        places = [Artefacts(self._tools.store, self._tools.spool, member) for member in case.members] or [artefacts]
        for contract in contracts:
            yield next((place for place in places if place.has_labels(contract)), artefacts), contract

    def _record(
        self,
        tx: Transaction,
        event: Event,
        case: CaseRecord,
        timings_s: Timings,
        findings: Sequence[str] = (),
        *,
        detail: str,
    ) -> None:
        told = {"findings": findings} if findings else {}
        now, study, uid = self._tools.clock.now(), case.study_instance_uid, case.case_id
        tx.record(TimelineEntry(event=event, at=now, study=study, case=uid, detail=detail))
        for step, seconds in timings_s.items():
            tx.record(TimelineEntry(event=event, at=now, study=study, case=uid, step=step, seconds=seconds))
        logger.info(
            event,
            extra={
                "case_id": uid,
                "study_instance_uid": study,
                "pipeline": case.pipeline,
                "timings_s": {step: round(seconds, 3) for step, seconds in timings_s.items()},
                **told,
            },
        )


def _still(tx: Transaction, case_id: str, state: CaseState) -> bool:
    """Whether the case is in this state still: a late slice may have superseded it meanwhile."""
    case = tx.case(case_id, lock=True)
    return case is not None and case.state is state


def moves_of(case: CaseRecord) -> dict[str, RigidMove]:
    """Return how series come into the planning series' frame of reference, by role."""
    return {role: given.move for role, given in case.inputs.items() if given.move is not None}
