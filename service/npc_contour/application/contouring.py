"""From images to a checked RTSTRUCT, for the service and for a folder alike: no state, no queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from npc_contour import tracing
from npc_contour.application.ports import (
    EncodedStructureSet,
    FindingsReport,
    InferenceEngine,
    SeriesReader,
    StructureSetWriter,
)
from npc_contour.core.answers import check_answer
from npc_contour.core.images_as_expected import Image, look_at_images
from npc_contour.core.labels import RoiMask, roi_masks
from npc_contour.core.pieces import without_far_pieces
from npc_contour.core.plausibility import look_at_contours
from npc_contour.core.profiles import apply_profile
from npc_contour.core.shift import find_shift
from npc_contour.core.site_values import site_values
from npc_contour.core.uncertainty import look_at_uncertainty, uncertainty_mm
from npc_contour.domain.findings import Finding, FindingCode, Severity, worst_first
from npc_contour.domain.pipelines import NetworkContract, Pipeline
from npc_contour.domain.profiles import ContourSource, Profile, Writer
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Series
from npc_contour.domain.structures import Roi, StructureSet
from npc_contour.domain.volumes import LabelMap, Volume
from npc_contour.errors import CaseRefused, GateError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

Timings = dict[str, float]
Progress = Callable[[str, float], None]
"""Told the name of a step and the fraction of it that is done."""


@contextmanager
def timed(timings_s: Timings, step: str) -> Iterator[None]:
    """Add the seconds that the block takes to a step; it is a span of the trace, too."""
    started = time.monotonic()
    try:
        with tracing.span(step):
            yield
    finally:
        timings_s[step] = timings_s.get(step, 0.0) + time.monotonic() - started


@dataclass(slots=True)
class Volumes:
    """The volumes of one case, each read once, when it is first asked for."""

    reader: SeriesReader
    pipeline: Pipeline
    series: Mapping[str, Series]
    timings_s: Timings = field(default_factory=dict)
    moves: Mapping[str, RigidMove] = field(default_factory=dict)
    _read: dict[str, Volume] = field(default_factory=dict)

    def of(self, role: str) -> Volume:
        """Return the volume of a role.

        Raises:
            CaseRefused: its images cannot be read as one.
        """
        if role not in self._read:
            asked = next(one for one in self.pipeline.roles if one.name == role)
            with timed(self.timings_s, "read"):
                volume = self.reader.read(self.series[role], asked)
            move = self.moves.get(role)
            self._read[role] = volume if move is None else move.volume(volume)
        return self._read[role]

    def keep_only(self, role: str) -> None:
        """Forget the other roles' volumes, to free memory."""
        self._read = {name: volume for name, volume in self._read.items() if name == role}


def doubt_images(volumes: Volumes, max_shift_mm: float) -> tuple[Finding, ...]:
    """Return every doubt about the images that the networks of a case are going to see; MR is not looked at.

    Raises:
        CaseRefused: some of them cannot be read.
    """
    pipeline = volumes.pipeline
    roles = {role: volumes.of(role) for role in _asked(pipeline)}
    with timed(volumes.timings_s, "check images"):
        images = [Image(role, roles[role.name]) for role in pipeline.roles if role.name in roles]
        images.sort(key=lambda image: image.role.name != pipeline.planning_role)
        findings = look_at_images(images, pipeline.image_rules)
    with timed(volumes.timings_s, "compare phases"):
        apart = _apart(pipeline.planning_role, roles, max_shift_mm)
    return worst_first([*findings, *apart])


def _asked(pipeline: Pipeline) -> tuple[str, ...]:
    return tuple(dict.fromkeys([pipeline.planning_role, *(role for use in pipeline.networks for role in use.roles)]))


def _apart(planning_role: str, volumes: Mapping[str, Volume], max_shift_mm: float) -> list[Finding]:
    """Each CT that lies visibly apart from the planning CT."""
    planning = volumes[planning_role]
    findings = []
    for role, volume in volumes.items():
        if role == planning_role or {planning.modality, volume.modality} != {"CT"}:
            continue
        found = find_shift(planning, volume)
        if found.largest_mm > max_shift_mm:
            words, numbers = found.text(role, planning_role), {"largest_mm": found.largest_mm}
            findings.append(Finding(FindingCode.PHASES_APART, Severity.CHECK, "", words, None, numbers))
    return findings


def segment(
    engine: InferenceEngine, pipeline: Pipeline, contract: NetworkContract, volumes: Volumes, timings_s: Timings
) -> LabelMap:
    """Run one network of a pipeline.

    Raises:
        CaseRefused: the images cannot be read, or the network refuses them.
        InferenceError: Triton failed.
        NetworkAnswerError: the answer is out of the bounds of the network's contract.
    """
    use = next(use for use in pipeline.networks if use.network == contract.name)
    given = [volumes.of(role) for role in use.roles]
    grid = volumes.of(pipeline.planning_role).grid
    with timed(timings_s, f"segment {contract.name}"):
        answer = engine.segment(contract, given, grid)
        check_answer(answer, contract)
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the structure set of a case says beside its contours.

    Attributes:
        uid_seed: what its UIDs derive from.
        made_at: written into the object; fixed for a case, so that doing it twice gives the same bytes.
        notes: sentences of the router and others for the physicist.
        predecessor_sop_instance_uid: of the structure set whose place it takes; "" when there is none.
        image_findings: what was doubted of the images.
        second_opinions: where networks of other pipelines draw the same structures elsewhere.
    """

    pipeline: Pipeline
    contracts: Sequence[NetworkContract]
    planning: Series
    uid_seed: str
    made_at: datetime
    notes: tuple[str, ...] = ()
    predecessor_sop_instance_uid: str = ""
    image_findings: tuple[Finding, ...] = ()
    second_opinions: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Contoured:
    """A checked RTSTRUCT, the structure set it encodes, the masks it came from, where its contours run, the profile.

    Attributes:
        site: what the site's statistics keep of the images, as JSON values.
        expected_mm: by ROI, how far off its network expects the outline, of networks that say so.
    """

    structure_set: StructureSet
    masks: tuple[RoiMask, ...]
    encoded: EncodedStructureSet
    source: ContourSource
    profile: str
    site: Mapping[str, Any]
    expected_mm: Mapping[str, float] = field(default_factory=dict)


def contour(
    request: Request, label_maps: Mapping[str, LabelMap], volume: Volume, writer: StructureSetWriter, timings_s: Timings
) -> Contoured:
    """Turn label maps into a checked RTSTRUCT.

    Args:
        request: what is to be said.
        label_maps: by network, on the grid of `volume`.
        volume: the planning volume.
        writer: encodes and checks; its profile says how the site wants the ROIs.
        timings_s: seconds by step, added to.

    Raises:
        CaseRefused: the networks found nothing at all.
        GateError: the RTSTRUCT failed its own check.
    """
    pipeline = request.pipeline
    with timed(timings_s, "contour"):
        cleaned = without_far_pieces(roi_masks(label_maps, pipeline.rois), volume.grid)
        if all(mask.empty for mask in cleaned.masks):
            raise CaseRefused(
                f"the networks of {pipeline.name} found none of its {len(pipeline.rois)} ROIs in these images"
            )
        expected_mm = uncertainty_mm(cleaned.masks, label_maps, request.contracts)
        unsure = look_at_uncertainty(cleaned.masks, expected_mm, request.contracts)
        findings = [*look_at_contours(cleaned, volume), *unsure, *request.second_opinions]
        named = [_under_site_name(finding, writer.profile) for finding in findings]
        doubts = worst_first([*request.image_findings, *named])
        masks = apply_profile(writer.profile, cleaned.masks, volume)
    done = _by_best_source(request, masks, doubts, volume, writer, timings_s)
    of_site = {_site_name(name, writer.profile): distance_mm for name, distance_mm in expected_mm.items()}
    return replace(done, expected_mm=of_site)


def _by_best_source(
    request: Request,
    masks: Sequence[RoiMask],
    doubts: tuple[Finding, ...],
    volume: Volume,
    writer: StructureSetWriter,
    timings_s: Timings,
) -> Contoured:
    """Write contours from margins where the profile asks for them and they pass the check, else from masks."""
    source = writer.profile.contour_source
    if writer.profile.writer is Writer.RT_UTILS or all(mask.crossings is None for mask in masks):
        source = ContourSource.MASKS
    if source is ContourSource.MARGINS:
        try:
            return _written(request, masks, doubts, volume, writer, source, timings_s)
        except GateError as fault:
            logger.warning(Event.MARGINS_BLOCKED, extra={"uid_seed": request.uid_seed, "reason": str(fault)})
    return _written(request, masks, doubts, volume, writer, ContourSource.MASKS, timings_s)


def _written(
    request: Request,
    masks: Sequence[RoiMask],
    findings: tuple[Finding, ...],
    volume: Volume,
    writer: StructureSetWriter,
    source: ContourSource,
    timings_s: Timings,
) -> Contoured:
    pipeline = request.pipeline
    with timed(timings_s, "contour"):
        rois = writer.rois(masks, volume, source)
    doubts = [finding.text for finding in findings if finding.severity is not Severity.NOTE]
    taken = [finding.text for finding in findings if finding.severity is Severity.NOTE]
    structure_set = StructureSet(
        label=pipeline.label,
        description=pipeline.title,
        uid_seed=request.uid_seed,
        rois=rois,
        networks={contract.name: contract.provenance for contract in request.contracts},
        notes=(*doubts, *_not_found(rois), *request.notes, *taken),
        findings=findings,
        predecessor_sop_instance_uid=request.predecessor_sop_instance_uid,
    )
    with timed(timings_s, "write and check"):
        encoded = writer.write(structure_set, masks, volume, request.planning, request.made_at)
    first = request.planning.first
    site = {
        "scanner": f"{first.manufacturer} {first.manufacturer_model}".strip(),
        "kernel": first.kernel,
        "values": {name.value: round(value, 3) for name, value in site_values(masks, volume).items()},
    }
    return Contoured(structure_set, tuple(masks), encoded, source, writer.profile.name, site)


def findings_report(content: StructureSet, made_at: datetime) -> FindingsReport:
    """Return what the reports about a structure set's findings say."""
    return FindingsReport(
        findings=content.findings, label=content.label, demo=content.demo, uid_seed=content.uid_seed, made_at=made_at
    )


def report_of(contoured: Contoured, pipeline: Pipeline, timings_s: Mapping[str, float]) -> dict[str, Any]:
    """Return what is kept and shown of a structure set, as JSON values."""
    content = contoured.structure_set
    return {
        "pipeline": pipeline.name,
        "sop_instance_uid": contoured.encoded.sop_instance_uid,
        "segmentation_sop_instance_uid": contoured.encoded.segmentation_uid,
        "label": content.label,
        "demo": content.demo,
        "contour_source": contoured.source.value,
        "profile": contoured.profile,
        "min_dice_read_back": contoured.encoded.min_dice,
        "notes": list(content.notes),
        "findings": [finding.as_json() for finding in content.findings],
        "site": contoured.site,
        "rois": [
            {
                "name": roi.spec.name,
                "type": roi.spec.interpreted_type.value,
                "volume_cc": round(roi.volume_cc, 3),
                "found": bool(roi.contours),
                "contours": len(roi.contours),
                "network": roi.spec.network,
                "expected_mm": _rounded(contoured.expected_mm.get(roi.spec.name)),
            }
            for roi in content.rois
        ],
        "not_found": [roi.spec.name for roi in content.rois if not roi.contours],
        "networks": [
            {"name": n.name, "version": n.version, "weights_sha256": n.weights_sha256, "demo": n.demo}
            for n in content.networks.values()
        ],
        "timings_s": {step: round(seconds, 3) for step, seconds in timings_s.items()},
    }


def _under_site_name(finding: Finding, profile: Profile) -> Finding:
    return replace(finding, structure=_site_name(finding.structure, profile))


def _site_name(name: str, profile: Profile) -> str:
    change = profile.overrides.get(name)
    return change.name if change is not None and change.name else name


def _rounded(distance_mm: float | None) -> float | None:
    return None if distance_mm is None else round(distance_mm, 2)


def _not_found(rois: Sequence[Roi]) -> tuple[str, ...]:
    missing = [roi.spec.name for roi in rois if not roi.contours]
    return (f"not found: {', '.join(missing)}",) if missing else ()
