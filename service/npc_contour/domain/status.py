"""What is shown of the service: checks, cases, series and deliveries, as rows to read.

Nothing here names a patient: no name, no Patient ID. Rows carry our own ids, DICOM UIDs and reasons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from npc_contour.domain.findings import Finding
from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState, SeriesState
from npc_contour.domain.pipelines import Verdict
from npc_contour.domain.timeline import WebhookState


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at.

    Attributes:
        detail: what was found.
        remedy: what to do; "" when it is ok.
        required: False leaves the service ready (degraded) when it is not ok.
        seconds: how long the look took.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True
    seconds: float = 0.0


class Place(NamedTuple):
    """Where a row stands in a list, newest first; rows of the same time stand in the order of their keys."""

    at: datetime
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which part of a list is asked for.

    Attributes:
        limit: at most this many rows.
        after: only rows that follow this place; None begins with the newest.
        since: only rows that changed at this time or later; None takes all.
        study: only rows of this Study Instance UID; "" takes all.
        patient: only rows of this Patient ID; "" takes all.
    """

    limit: int = 100
    after: Place | None = None
    since: datetime | None = None
    study: str = ""
    patient: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One case.

    Attributes:
        generation: 1, and one more each time that late images led to a new case.
        demo: whether a demo network takes part; None before the networks ran.
        reason: why it waits, was refused or failed; "" otherwise.
        urgent: goes before others.
        held: why a person keeps it from going on; "" when nobody does.
        held_for: codes of the findings that it is held for.
    """

    case_id: str
    pipeline: str
    state: CaseState
    study_instance_uid: str
    created_at: datetime
    updated_at: datetime
    generation: int = 1
    demo: bool | None = None
    reason: str = ""
    urgent: bool = False
    held: str = ""
    held_for: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A process of some machine.

    Attributes:
        name: among those of its supervisor, such as worker-0.
        place: of its supervisor among all.
        silent_s: since it was last heard of.
    """

    name: str
    role: str
    machine: str
    place: str
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Something that happened to a case or to its study.

    Attributes:
        seconds: how long a step took; None for a moment.
        series_instance_uid: the series that it happened to; "" for the case or the study.
        series: what a person knows that series by.
    """

    at: datetime
    event: str
    detail: str = ""
    seconds: float | None = None
    series_instance_uid: str = ""
    series: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """Where an object of a case stands at one destination.

    Attributes:
        attempts: tries so far.
        next_attempt_at: of the next try to send, or to ask whether it is there; None when none is planned.
        last_error: "" when the last try worked.
        status: the DICOM status of the last answer, in words; "" when there was none.
        verified_by: what proved that the destination holds it; "" before that.
        what: which object: the structure set or the measurements.
    """

    destination: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    last_error: str
    sop_instance_uid: str
    updated_at: datetime
    status: str = ""
    verified_by: str = ""
    what: Deliverable = Deliverable.RTSTRUCT


@dataclass(frozen=True, slots=True)
class RoiRow:
    """One region of interest of a finished structure set; `found` is False when the network marked nothing.

    Attributes:
        expected_mm: how far off the network expects the outline, mean over the surface; None where it does not say.
    """

    name: str
    interpreted_type: str
    volume_cc: float
    found: bool
    network: str = ""
    expected_mm: float | None = None


@dataclass(frozen=True, slots=True)
class CaseDetails:
    """All that is known of one case.

    Attributes:
        roles: role → Series Instance UID.
        reasons: the router's sentences.
        notes: sentences of the structure set for the physicist.
        rtstruct: path of the RTSTRUCT file; "" before it is written.
        verdicts: of every series of the study in every role, with the reasons.
        findings: what the service doubts about its contours, worst first.
        choices: role → Series Instance UID, while a person must choose.
        measurements: what was measured, see `measuring.measurement_rows`; None where nothing is.
        measurements_file: path of the SR file; "" where there is none.
        objects: which objects of the case are kept, to be downloaded.
    """

    job: JobRow
    roles: Mapping[str, str]
    reasons: Sequence[str]
    timeline: Sequence[TimelineEvent]
    rois: Sequence[RoiRow]
    deliveries: Sequence[DeliveryRow]
    notes: Sequence[str] = ()
    rtstruct: str = ""
    verdicts: Sequence[Verdict] = ()
    choices: Sequence[Mapping[str, str]] = ()
    measurements: Mapping[str, Any] | None = None
    measurements_file: str = ""
    findings: Sequence[Finding] = ()
    objects: Sequence[Deliverable] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One received series.

    Attributes:
        received_at: when its first image came.
        reasons: why it is held or excluded.
        came_again_at: since when a person is asked whether images that came again as another patient's count.
    """

    series_instance_uid: str
    study_instance_uid: str
    state: SeriesState
    modality: str
    images: int
    received_at: datetime
    updated_at: datetime
    description: str = ""
    reasons: Sequence[str] = ()
    came_again_at: datetime | None = None


STEP_BOUNDS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 900.0, 3600.0, math.inf)
"""Durations of steps are counted by the smallest of these that they do not exceed."""


@dataclass(frozen=True, slots=True)
class StepTotal:
    """How long a step took in all, and how often it ran, by the bound of `STEP_BOUNDS_S`."""

    seconds: float
    within_s: Mapping[float, int]


@dataclass(frozen=True, slots=True)
class DueJobs:
    """Jobs of one queue whose time has come; `oldest_s` is how long ago it came for the first of them."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers for monitoring.

    Attributes:
        deliveries: by (destination, state).
        steps: by name of the step.
        queued: jobs that wait to run, those with a later time included.
        running: jobs that run.
        due: by queue; a queue without such jobs is left out.
        undelivered_s: destination → age of its oldest queued delivery since it was last asked for, 0 without one; a
            case that a person holds does not count.
        consumers: of job queues, one a queue and worker, that gave a sign of life within the last minute.
        silent_s: process, as (machine, name), → since it was last heard of.
        parked: by kind of job.
        self_test_dice: network → mean Dice of the last self-test that had an answer.
        webhooks: messages that are kept, by (hook, state).
        findings: (code, severity) → how often it was told.
        held_for_findings: cases that wait for a person to look at their findings.
        watch: (measure, structure, network) → how much speaks for a shift of the site's values; 1 is an alarm.
        usual: the same keys → what is usual at the site, in the unit of the measure.
        clocks_ahead_s: (machine, process) → how far its clock is ahead of the database's; negative is behind.
    """

    cases: Mapping[CaseState, int] = field(default_factory=dict)
    series: Mapping[SeriesState, int] = field(default_factory=dict)
    deliveries: Mapping[tuple[str, DeliveryState], int] = field(default_factory=dict)
    steps: Mapping[str, StepTotal] = field(default_factory=dict)
    queued: int = 0
    running: int = 0
    due: Mapping[str, DueJobs] = field(default_factory=dict)
    undelivered_s: Mapping[str, float] = field(default_factory=dict)
    consumers: int = 0
    silent_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    self_test_dice: Mapping[str, float] = field(default_factory=dict)
    webhooks: Mapping[tuple[str, WebhookState], int] = field(default_factory=dict)
    clocks_ahead_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    findings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    held_for_findings: int = 0
    watch: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    usual: Mapping[tuple[str, str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRow:
    """Where a destination stands.

    Attributes:
        paused: who paused it and why; "" when it is in use.
        down: why it could not be used when it was last tried; "" when it could.
        next_try_at: when a destination that is down is tried again.
        deliveries: how many are in each state.
    """

    name: str
    paused: str = ""
    down: str = ""
    next_try_at: datetime | None = None
    deliveries: Mapping[DeliveryState, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StudyEvent:
    """Something that happened to a study; `subject` is the series or case that it happened to."""

    at: datetime
    event: str
    subject: str
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StudyDetails:
    """All that happened to one study, oldest first."""

    study_instance_uid: str
    series: Sequence[SeriesRow]
    cases: Sequence[JobRow]
    timeline: Sequence[StudyEvent]
