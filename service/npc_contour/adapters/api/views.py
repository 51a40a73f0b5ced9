"""What REST answers, as pydantic models: the border between our rows and JSON.

No answer names a patient: no name, no Patient ID, no birth date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from npc_contour.application.checks import is_ready
from npc_contour.domain.findings import FindingCode, Severity
from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState, SeriesState
from npc_contour.domain.measurements import MeasurementKind
from npc_contour.domain.pipelines import NetworkContract, Pipeline
from npc_contour.domain.status import CaseDetails, CheckResult, JobRow, SeriesRow

CaseId = Annotated[str, Field(description="Our id of the case", examples=["c-2f6d1b9e"])]
Uid = Annotated[str, Field(description="DICOM UID", examples=["1.2.826.0.1.3680043.8.498.1"])]
Reason = Annotated[str, Field(description="Why it waits, was refused or failed; empty otherwise")]


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class Live(_View):
    """The process answers."""

    status: Literal["alive"] = "alive"


class CheckView(_View):
    """One dependency."""

    name: str = Field(examples=["destination:tps"])
    ok: bool
    detail: str = Field(description="What was found", examples=["tps (TPS at 10.0.0.9:104) cannot be reached"])
    remedy: str = Field(description="What to do; empty when it is ok")
    required: bool = Field(description="Whether the service is not ready without it")
    seconds: float = Field(description="How long the look took, in seconds")


class Ready(_View):
    """Whether the service can do its work, dependency by dependency."""

    status: Literal["ready", "degraded", "not ready"] = Field(
        description="degraded: ready, but something that is not required (a destination) does not work"
    )
    checks: tuple[CheckView, ...] = Field(description="Empty for those who have no account, where accounts are asked")

    @classmethod
    def of(cls, results: Sequence[CheckResult], *, details: bool) -> Self:
        """Judge results; without `details` only the verdict is told."""
        everything = all(result.ok for result in results)
        status: Literal["ready", "degraded", "not ready"] = "ready" if everything else "degraded"
        return cls(
            status=status if is_ready(results) else "not ready",
            checks=tuple(CheckView.model_validate(result) for result in results if details),
        )


class NetworkView(_View):
    """A network in use."""

    name: str = Field(examples=["npc_oar"])
    version: str = Field(examples=["demo-1"])
    demo: bool = Field(description="Trained on synthetic patients: never for treatment")
    channels: tuple[str, ...] = Field(examples=[["non-contrast CT", "contrast CT"]])
    weights_sha256: str
    contract_sha256: str = Field(description="Of the contract file; Triton must carry the same")


class PipelineView(_View):
    """A pipeline in use."""

    name: str = Field(examples=["npc_oar_gtv"])
    title: str
    roles: tuple[str, ...] = Field(description="Series that one case needs", examples=[["planning_ct", "contrast_ct"]])
    networks: tuple[str, ...]
    rois: tuple[str, ...] = Field(description="Names of the regions of interest")


class Version(_View):
    """What is installed and in use."""

    version: str = Field(examples=["0.1.0"])
    notice: str = "not a medical device; every structure set is UNAPPROVED and needs review by a radiation oncologist"
    networks: tuple[NetworkView, ...]
    pipelines: tuple[PipelineView, ...]

    @classmethod
    def of(cls, version: str, pipelines: Sequence[Pipeline], contracts: Mapping[str, NetworkContract]) -> Self:
        """Describe a catalogue."""
        return cls(
            version=version,
            networks=tuple(NetworkView.model_validate(contract) for contract in contracts.values()),
            pipelines=tuple(
                PipelineView(
                    name=pipeline.name,
                    title=pipeline.title,
                    roles=tuple(role.name for role in pipeline.roles),
                    networks=tuple(use.network for use in pipeline.networks),
                    rois=tuple(roi.name for roi in pipeline.rois),
                )
                for pipeline in pipelines
            ),
        )


class JobView(_View):
    """One case."""

    case_id: CaseId
    pipeline: str = Field(examples=["npc_oar_gtv"])
    state: CaseState
    study_instance_uid: Uid
    created_at: datetime
    updated_at: datetime
    generation: int = Field(description="1, and one more each time that late images led to a new case")
    demo: bool | None = Field(description="Whether a demo network takes part; null before the networks ran")
    reason: Reason
    urgent: bool = Field(description="Goes before others")
    held: str = Field(description="Who keeps it from going on and why; empty when nobody does")
    held_for: tuple[str, ...] = Field(
        description="Codes of the findings that it is held for: a release names them", examples=[["side"]]
    )

    @classmethod
    def of(cls, row: JobRow) -> Self:
        """Show a row."""
        return cls.model_validate(row)


class TimelineView(_View):
    """Something that happened."""

    at: datetime
    event: str = Field(examples=["case.segmented"])
    detail: str
    seconds: float | None = Field(description="How long the step took; null for a moment")
    series_instance_uid: str = Field(description="The series that it happened to; empty for the case or the study")


class RoiView(_View):
    """One region of interest of the structure set."""

    name: str = Field(examples=["Parotid_L"])
    interpreted_type: str = Field(examples=["ORGAN"])
    volume_cc: float = Field(description="Volume in cubic centimetres", examples=[27.4])
    found: bool = Field(description="false: the network marked nothing, so there is no contour")
    network: str = Field(examples=["npc_oar"])
    expected_mm: float | None = Field(
        default=None,
        description="How far off the network expects the outline, mean over its surface; null where it does not say",
        examples=[0.8],
    )


class DeliveryView(_View):
    """An object of the case at one destination."""

    destination: str = Field(examples=["tps"])
    what: Deliverable
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None = Field(description="null: no further try is planned")
    last_error: str = Field(description="Why the last try failed; empty otherwise")
    status: str = Field(description="DICOM status of the last answer, in words; empty when there was none")
    verified_by: str = Field(description="What proved that it is there; empty before that", examples=["C-FIND"])
    sop_instance_uid: Uid
    updated_at: datetime


class VerdictView(_View):
    """Why one series of the study can or cannot fill one role."""

    series_instance_uid: Uid
    role: str = Field(examples=["contrast_ct"])
    accepted: bool
    reasons: tuple[str, ...] = Field(
        examples=[["contrast-enhanced (Contrast/Bolus Agent is 'IOHEXOL')"]], description="Every source that was heard"
    )


class NodeView(_View):
    """One lymph node: axes in its axial slice, in millimetres."""

    node: int = Field(description="From 1 on, from the head to the feet")
    volume_cc: float
    long_axis_mm: float
    short_axis_mm: float
    enlarged: bool = Field(description="Whether the short axis is `enlarged_from_mm` or more")
    centre_lps_mm: tuple[float, float, float]
    slice: int = Field(description="From 1 on, from the feet: where the axes lie")


class ShapeView(_View):
    """The shape of an ROI from the mesh around it."""

    volume_cc: float
    surface_cm2: float
    diameter_mm: float = Field(description="The largest distance between two points of the largest piece's mesh")
    regularity: float = Field(description="Volume over that of the ball with the same surface, of the largest piece")
    pieces: int = Field(default=1, description="How many pieces there are")


class MeasurementsView(_View):
    """What was measured of one ROI."""

    kind: MeasurementKind
    roi: str
    ignore_below_mm: float = Field(description="Nodes with a smaller short axis are counted only")
    enlarged_from_mm: float
    ignored_nodes: int
    nodes: tuple[NodeView, ...]
    shape: ShapeView | None


class FindingView(_View):
    """One doubt about the contours."""

    code: FindingCode
    severity: Severity
    structure: str = Field(description="Name of the ROI; empty for the case as a whole", examples=["Parotid_L"])
    sentence: str = Field(description="What was found, with numbers, and what is usual")
    z_mm: float | None = Field(description="Where to look, patient z of a slice; null where it is no one slice")


class CaseView(_View):
    """All of one case."""

    job: JobView
    roles: dict[str, str] = Field(description="Role → Series Instance UID")
    reasons: tuple[str, ...] = Field(description="The router's sentences")
    notes: tuple[str, ...] = Field(description="For the physicist: not found, not confirmed, superseded")
    timeline: tuple[TimelineView, ...]
    rois: tuple[RoiView, ...]
    deliveries: tuple[DeliveryView, ...]
    rtstruct: str = Field(description="Path of the RTSTRUCT on the server; empty before it is written")
    verdicts: tuple[VerdictView, ...] = Field(description="Of every series of the study in every role")
    choices: tuple[dict[str, str], ...] = Field(
        description="While the case is ambiguous: ways to fill the roles, role → Series Instance UID. Decide with"
        " POST /jobs/{case_id}/assign"
    )
    measurements: MeasurementsView | None = Field(description="null: the pipeline measures nothing")
    measurements_file: str = Field(description="Path of the SR on the server; empty where there is none")
    findings: tuple[FindingView, ...] = Field(description="What the service doubts about its contours, worst first")
    objects: tuple[Deliverable, ...] = Field(description="What GET /jobs/{case_id}/objects/{what} has")

    @classmethod
    def of(cls, details: CaseDetails) -> Self:
        """Show a case."""
        return cls.model_validate(details)


class SeriesView(_View):
    """One received series."""

    series_instance_uid: Uid
    study_instance_uid: Uid
    state: SeriesState
    modality: str = Field(examples=["CT"])
    description: str = Field(description="Series Description (0008,103E)")
    images: int
    received_at: datetime = Field(description="When its first image came")
    updated_at: datetime
    reasons: tuple[str, ...] = Field(description="Why it is held or excluded; empty otherwise")
    came_again_at: datetime | None = Field(
        default=None,
        description="Since when images received again with another patient's identity wait for a decision:"
        " accept or discard them; null as a rule",
    )

    @classmethod
    def of(cls, row: SeriesRow) -> Self:
        """Show a row."""
        return cls.model_validate(row)
