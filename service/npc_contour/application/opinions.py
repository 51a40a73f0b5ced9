"""What the networks of a study's other pipelines say of the structures of a case, where they saw the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from npc_contour.application.artefacts import Artefacts
from npc_contour.application.combining import COMBINED
from npc_contour.application.ports import Spool
from npc_contour.core.labels import RoiMask, roi_masks
from npc_contour.core.second_opinions import look_at_second_opinions
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.findings import Finding
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import NetworkContract, Pipeline
from npc_contour.domain.volumes import LabelMap
from npc_contour.errors import CaseRefused, DamagedFileError
from npc_contour.store.database import Store

PipelineOf = Callable[[CaseRecord], tuple[Pipeline, tuple[NetworkContract, ...]]]


MasksOf = Callable[[frozenset[str], Grid], Iterable[RoiMask]]
"""Masks that others drew of the structures with these names, folded."""


def compare_with_others(pipeline: Pipeline, label_maps: Mapping[str, LabelMap], others: MasksOf) -> tuple[Finding, ...]:
    """Return where other networks draw the structures of a pipeline elsewhere.

    Args:
        pipeline: whose structures.
        label_maps: by network, on the planning grid.
        others: asked for what others drew.
    """
    grid = next(iter(label_maps.values())).grid
    drawn = [mask for mask in others(frozenset(roi.name.casefold() for roi in pipeline.rois), grid) if not mask.empty]
    names = {mask.spec.name.casefold() for mask in drawn}
    own = roi_masks(label_maps, [roi for roi in pipeline.rois if roi.name.casefold() in names])
    return look_at_second_opinions(own, drawn, grid)


class Siblings:
    """The other cases of a study that were contoured on the same images."""

    def __init__(self, store: Store, spool: Spool, pipeline_of: PipelineOf) -> None:
        """Look for them in this store, and for their label maps in this spool."""
        self._store = store
        self._spool = spool
        self._pipeline_of = pipeline_of

    def masks(self, case: CaseRecord, names: frozenset[str], grid: Grid) -> Iterator[RoiMask]:
        """Yield what they drew of some structures, as far as it is there already.

        Args:
            case: whose siblings; those of a combined one are its members.
            names: of the structures, folded.
            grid: of the planning volume.
        """
        with self._store.transaction() as tx:
            live = tx.live_cases(case.study_instance_uid)
        planning = case.inputs[case.planning_role].sop_instance_uids
        for other in live:
            is_same = other.planning_role in other.inputs and other.pipeline != COMBINED
            if other.case_id != case.case_id and is_same and planning == _planning(other):
                yield from self._drawn(other, names, grid)

    def _drawn(self, other: CaseRecord, names: frozenset[str], grid: Grid) -> Iterator[RoiMask]:
        artefacts = Artefacts(self._store, self._spool, other.case_id)
        try:
            pipeline, contracts = self._pipeline_of(other)
        except CaseRefused:
            return  # its pipeline is not enabled any more
        for contract in contracts:
            wanted = [roi for roi in pipeline.rois if roi.network == contract.name and roi.name.casefold() in names]
            if wanted and artefacts.has_labels(contract):
                try:
                    found = artefacts.labels(contract, grid)
                except DamagedFileError:
                    continue  # it is mended for its own case; a second opinion can be done without
                yield from roi_masks({contract.name: found}, wanted)


def _planning(case: CaseRecord) -> tuple[str, ...]:
    return case.inputs[case.planning_role].sop_instance_uids
