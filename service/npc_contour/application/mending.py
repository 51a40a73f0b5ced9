"""What was made of a case and is damaged or gone is made again from what is whole, under the same UIDs.

The state of the case stays, and no step of it counts twice: a label map is computed again, a structure set and what
goes with it are written again, and what waited to be sent is sent. What a destination has accepted is never replaced by
different content under its UID: the waiting deliveries fail, and a person has the case re-contoured.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from npc_contour.application.artefacts import Artefacts
from npc_contour.application.cases import PLACE_S, CaseSteps, Tools, moves_of
from npc_contour.application.contouring import Volumes, segment
from npc_contour.application.delivery import fail_delivery, finish_case
from npc_contour.application.steps import Postponed
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.jobs import CaseState, DeliveryState
from npc_contour.domain.series import Seal, Series
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import CaseRefused
from npc_contour.logs import Event
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

WRITTEN = {CaseState.CONTOURED, CaseState.SENT, CaseState.VERIFIED, CaseState.COMBINED}
TAKEN = {DeliveryState.SENT, DeliveryState.VERIFIED}


class MendCase:
    """Makes again what a case lacks."""

    def __init__(self, tools: Tools, steps: CaseSteps) -> None:
        """Work with the tools of the steps of cases."""
        self._tools = tools
        self._steps = steps

    def run(self, case_id: str) -> None:
        """Do it for one case.

        Raises:
            CaseRefused: it cannot be made again as it was.
            DamagedFileError: an image of it is damaged, too.
            Postponed: no place is free in Triton.
        """
        tools = self._tools
        with tools.store.transaction() as tx:
            case = tx.case(case_id)
            if case is None:
                return
            if case.state is CaseState.ROUTED:
                tx.defer(Job(JobKind.SEGMENT_CASE, case_id))
            keys = tx.written_keys(case_id)
        artefacts = Artefacts(tools.store, tools.spool, case_id)
        lacks = [key for key in keys if not artefacts.is_whole(key.rpartition("/")[2])]
        if case.state is CaseState.SEGMENTED or (case.state in WRITTEN and lacks):
            for owner in self._steps.members_of(case) or (case,):
                self._label_maps(case_id, owner)
        if case.state is CaseState.SEGMENTED:
            with tools.store.transaction() as tx:
                tx.defer(Job(JobKind.WRITE_STRUCTURE_SET, case_id))
        elif case.state in WRITTEN:
            if lacks:
                self._write(case, artefacts)
            with tools.store.transaction() as tx:
                for delivery in tx.deliveries(case_id):
                    if delivery.state is DeliveryState.QUEUED:
                        tx.defer(Job(JobKind.SEND, str(delivery.delivery_id)))

    def given_up(self, case_id: str, reason: str) -> None:
        """Note that it cannot be made again: the case, or what waits to be sent of it, fails."""
        now = self._tools.clock.now()
        words = f"damaged on the disk, and it cannot be made again: {reason}"
        with self._tools.store.transaction() as tx:
            case = tx.case(case_id, lock=True)
            if case is None:
                return
            if case.state in {CaseState.ROUTED, CaseState.SEGMENTED}:
                tx.set_case(case_id, CaseState.FAILED, now, reasons=(words, *case.reasons))
                self._record(tx, Event.CASE_FAILED, case, words)
            for delivery in tx.deliveries(case_id):
                if delivery.state is DeliveryState.QUEUED:
                    fail_delivery(tx, delivery, words, now)
                    self._record(tx, Event.DELIVERY_FAILED, case, f"{delivery.destination}: {words}")
            finish_case(tx, case, now)
        logger.error(Event.CASE_FAILED, extra={"case_id": case_id, "reason": words})

    def _label_maps(self, case_id: str, owner: CaseRecord) -> None:
        """Let the networks answer again whose label maps are gone."""
        tools = self._tools
        pipeline, contracts = self._steps.pipeline_of(owner)
        artefacts = Artefacts(tools.store, tools.spool, owner.case_id)
        missing = [contract for contract in contracts if not artefacts.has_labels(contract)]
        if not missing:
            return
        series: Mapping[str, Series] = self._steps.images_of(owner)
        volumes = Volumes(tools.reader, pipeline, series, moves=moves_of(owner))
        with tools.store.slot(tools.segmentations_at_once) as free:
            if not free:
                with tools.store.transaction() as tx:
                    tx.defer(Job(JobKind.MEND_CASE, case_id, tools.clock.now() + timedelta(seconds=PLACE_S)))
                raise Postponed
            for contract in missing:
                artefacts.put_labels(contract, segment(tools.engine, pipeline, contract, volumes, {}))
                self._made_again(owner, f"label map of {contract.name}")

    def _write(self, case: CaseRecord, artefacts: Artefacts) -> None:
        for name, data in self._steps.contour(case, self._steps.images_of(case), artefacts, {}).files.items():
            if artefacts.is_whole(name):
                continue
            key = artefacts.key(name)
            with self._tools.store.transaction() as tx:
                before = tx.seal_of_artefact(key)
                deliveries = [one for one in tx.deliveries(case.case_id) if one.key == key]
            taken = [one.destination for one in deliveries if one.state in TAKEN]
            if taken and Seal.of(data) != before:
                raise CaseRefused(
                    f"{name} would differ from what {', '.join(taken)} accepted under its UID; re-contour the case"
                    " (supersede)"
                )
            artefacts.put(name, data)
            self._made_again(case, name)

    def _made_again(self, case: CaseRecord, what: str) -> None:
        with self._tools.store.transaction() as tx:
            self._record(tx, Event.FILE_MADE_AGAIN, case, f"{what}: made again after damage on the disk")
        logger.warning(Event.FILE_MADE_AGAIN, extra={"case_id": case.case_id, "detail": what})

    def _record(self, tx: Transaction, event: Event, case: CaseRecord, words: str) -> None:
        now = self._tools.clock.now()
        tx.record(TimelineEntry(event=event, at=now, study=case.study_instance_uid, case=case.case_id, detail=words))
