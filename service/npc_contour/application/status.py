"""What the service knows, to be read: for REST, the command line and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStatus:
    """One received series.

    Attributes:
        reasons: why it is held or left aside; empty otherwise.
        instances: how many images are stored.
    """

    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    modality: str
    description: str
    state: SeriesState
    reasons: tuple[str, ...]
    instances: int
    first_instance_at: datetime
    last_instance_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """One structure set at one destination.

    Attributes:
        next_try_at: when it will be tried again; None when it will not.
        status: the peer's last C-STORE status; None while there was no answer.
        message: why it is not sent, in words; "" otherwise.
    """

    delivery_id: int
    case_id: str
    pipeline: str
    study_instance_uid: str
    sop_instance_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    next_try_at: datetime | None
    status: int | None
    message: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseStatus:
    """One case.

    Attributes:
        generation: 1 for the first; a late slice or partner makes a new case with the next generation.
        series: role → Series Instance UID; empty while no series fill the roles.
        waiting_for: roles that no series fills yet.
        reasons: why it waits, was refused or failed, in words.
        superseded_by: the case that took its place; None otherwise.
        demo: whether a demo network took part.
        timings_s: seconds by step: segment.<network>, read, structure_set, ...
    """

    case_id: str
    study_instance_uid: str
    patient_id: str
    pipeline: str
    generation: int
    state: CaseState
    planning_series_uid: str | None
    series: Mapping[str, str]
    waiting_for: tuple[str, ...]
    reasons: tuple[str, ...]
    attempts: int
    superseded_by: str | None
    demo: bool
    sop_instance_uid: str | None
    timings_s: Mapping[str, float]
    created_at: datetime
    updated_at: datetime
    deliveries: tuple[DeliveryStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """One line of the story; `name` is one of `logs.Event`."""

    at: datetime
    name: str
    study_instance_uid: str | None
    series_instance_uid: str | None
    case_id: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseStory:
    """Everything about one case.

    Attributes:
        series: the series of its study.
        events: of the case, its series and its study, oldest first.
        report: what the write step found: ROI volumes, what was not found, provenance, timings; None before.
    """

    case: CaseStatus
    series: tuple[SeriesStatus, ...]
    events: tuple[TimelineEvent, ...]
    report: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many there are by state; states with none are there with 0."""

    series: Mapping[SeriesState, int]
    cases: Mapping[CaseState, int]
    deliveries: Mapping[DeliveryState, int]
    instances: int


class StatusBoard(Protocol):
    """Reads the database; every method raises StoreError when it does not answer."""

    def ping(self) -> None:
        """Return when the database answers."""
        ...

    def counts(self) -> Counts:
        """Count by state."""
        ...

    def cases(
        self,
        *,
        state: CaseState | None = None,
        pipeline: str | None = None,
        study_instance_uid: str | None = None,
        patient_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[CaseStatus, ...]:
        """Return cases, newest first, with their deliveries."""
        ...

    def case(self, case_id: str) -> CaseStory | None:
        """Return one case's story; None when there is no such case."""
        ...

    def series(
        self,
        *,
        state: SeriesState | None = None,
        study_instance_uid: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[SeriesStatus, ...]:
        """Return series, newest first."""
        ...

    def deliveries(
        self, *, state: DeliveryState | None = None, destination: str | None = None, limit: int = 100, offset: int = 0
    ) -> tuple[DeliveryStatus, ...]:
        """Return deliveries, newest first."""
        ...

    def events(self, *, study_instance_uid: str | None = None, limit: int = 200) -> tuple[TimelineEvent, ...]:
        """Return the latest events, newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One line of the doctor and of `/health/ready`.

    Attributes:
        name: database, spool, triton, network:<name>, scp, destination:<name>, ...
        ok: whether it works.
        message: what was found.
        remedy: what to do when it does not work; "" otherwise.
        required: whether readiness depends on it (a destination that is down does not stop us from working).
        seconds: how long the check took.
    """

    name: str
    ok: bool
    message: str
    remedy: str = ""
    required: bool = True
    seconds: float = 0.0


class HealthChecks(Protocol):
    """Tries every dependency."""

    def run(self) -> tuple[CheckResult, ...]:
        """Try all and return what was found; never raises for a dependency that is down."""
        ...
