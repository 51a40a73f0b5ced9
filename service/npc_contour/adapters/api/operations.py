"""Operating the service over REST: what a person may do to cases and destinations, and the timeline of a study.

The routes know nothing of accounts: whoever reaches them has been let in, and `guard` says who that is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from npc_contour.adapters.api.problems import CHANGING, READING, problems
from npc_contour.adapters.api.texts import CASE_ID, NAME, STEP_KEY, STUDY_UID, UID_PATTERN, Known, Line
from npc_contour.adapters.api.views import JobView, SeriesView
from npc_contour.application.assignment import AssignRoles
from npc_contour.application.operations import Operations
from npc_contour.domain.findings import FindingCode
from npc_contour.domain.jobs import DeliveryState
from npc_contour.domain.work import JobKind
from npc_contour.store.work_board import WorkBoard

Guard = Callable[[Request], str]
"""Returns the caller's name."""


class Order(BaseModel):
    """Why something is done, for the timeline."""

    model_config = ConfigDict(extra="forbid")
    reason: Line = Field(default="", description="Never a patient's name", examples=["the planning system lost it"])


class ResendOrder(Order):
    """Where to send again."""

    to: tuple[Known, ...] = Field(
        default=(), max_length=32, description="Names of destinations; empty: all", examples=[["tps"]]
    )


class ReleaseOrder(Order):
    """Why a held case may go on, and which of its findings were looked at."""

    seen: tuple[FindingCode, ...] = Field(
        default=(),
        max_length=64,
        description="Codes of the findings that were looked at: all those in `held_for` of the job must be named",
        examples=[["side", "volume"]],
    )


class AssignOrder(Order):
    """Which series fills which role."""

    roles: dict[Known, Annotated[str, Field(pattern=UID_PATTERN)]] = Field(
        min_length=1,
        max_length=8,
        description="Role → Series Instance UID, or an ending of it that no other series of the study has",
        examples=[{"planning_ct": "1.2.826.0.1.3680043.8.498.1", "contrast_ct": "1.2.826.0.1.3680043.8.498.2"}],
    )
    pipeline: str = Field(
        default="",
        max_length=64,
        description="Another pipeline than the case's: it gets a case of its own on the same study",
        examples=["mediastinal_ln"],
    )


class Done(BaseModel):
    """What was done."""

    done: str = Field(examples=["case 3f2a: retried, it was failed"])


class DestinationView(BaseModel):
    """Where a destination stands."""

    model_config = ConfigDict(from_attributes=True)
    name: str
    paused: str = Field(description="Who paused it and why; empty when it is in use")
    down: str = Field(description="Why it could not be used when last tried; empty when it could")
    next_try_at: datetime | None
    deliveries: dict[DeliveryState, int]


class ParkedView(BaseModel):
    """A step that was given up."""

    model_config = ConfigDict(from_attributes=True)
    kind: str = Field(examples=["route_study"])
    key: str = Field(description="Series or Study Instance UID, or our id")
    reason: str
    tries: int
    parked_at: datetime


class StudyEventView(BaseModel):
    """Something that happened to a study."""

    model_config = ConfigDict(from_attributes=True)
    at: datetime
    event: str = Field(examples=["delivery.verified"])
    subject: str = Field(description="The series or case")
    detail: str
    seconds: float | None


class StudyView(BaseModel):
    """All that happened to one study, oldest first."""

    model_config = ConfigDict(from_attributes=True)
    study_instance_uid: str
    series: tuple[SeriesView, ...]
    cases: tuple[JobView, ...]
    timeline: tuple[StudyEventView, ...]


def operation_routes(
    operations: Operations, assignment: AssignRoles, board: WorkBoard, names: tuple[str, ...], guard: Guard
) -> APIRouter:
    """Return the routes.

    Args:
        operations: what can be done.
        assignment: takes a person's word on which series fills which role.
        board: what can be read.
        names: of the destinations of the settings.
        guard: returns the caller's name.
    """
    router = APIRouter(tags=["operations"])
    _add_reading(router, board, names)
    _add_cases(router, operations, guard)
    _add_assignment(router, assignment, guard)
    _add_destinations(router, operations, guard)
    _add_steps(router, operations, guard)
    return router


def _add_reading(router: APIRouter, board: WorkBoard, names: tuple[str, ...]) -> None:
    @router.get("/studies/{study_instance_uid}", responses={**READING, **problems(404)})
    def study(study_instance_uid: STUDY_UID) -> StudyView:
        """Return series, cases and the timeline of a study: received, waiting, routed, refused, sent, verified."""
        details = board.study(study_instance_uid)
        if details is None:
            raise HTTPException(404, f"no study {study_instance_uid}")
        return StudyView.model_validate(details)

    @router.get("/destinations", responses=READING)
    def destinations() -> list[DestinationView]:
        """Return where destinations stand: paused, down, and how many deliveries are in each state."""
        return [DestinationView.model_validate(row) for row in board.destinations(names)]

    @router.get("/parked", responses=READING)
    def parked() -> list[ParkedView]:
        """Return the steps that were given up, oldest first; cases and deliveries that failed are not among them."""
        return [ParkedView.model_validate(row) for row in board.parked()]


def _add_steps(router: APIRouter, operations: Operations, guard: Guard) -> None:
    @router.post("/parked/{kind}/{key}/retry", responses=CHANGING)
    def retry_step(kind: JobKind, key: STEP_KEY, order: Order, request: Request) -> Done:
        """Begin a parked step again."""
        return Done(done=operations.retry_step(kind, key, by=signed(guard(request), order)))


def _add_cases(router: APIRouter, operations: Operations, guard: Guard) -> None:
    @router.post("/jobs/{case_id}/retry", responses=CHANGING)
    def retry(case_id: CASE_ID, order: Order, request: Request) -> Done:
        """Retry what failed: the case, or deliveries that were given up."""
        return Done(done=operations.retry(case_id, by=signed(guard(request), order)))

    @router.post("/jobs/{case_id}/cancel", responses=CHANGING)
    def cancel(case_id: CASE_ID, order: Order, request: Request) -> Done:
        """End a case that is not finished."""
        return Done(done=operations.cancel(case_id, by=guard(request), reason=order.reason))

    @router.post("/jobs/{case_id}/hold", responses=CHANGING)
    def hold(case_id: CASE_ID, order: Order, request: Request) -> Done:
        """Keep a case where it is until it is released."""
        return Done(done=operations.hold(case_id, by=guard(request), reason=order.reason))

    @router.post("/jobs/{case_id}/release", responses=CHANGING)
    def release(case_id: CASE_ID, order: ReleaseOrder, request: Request) -> Done:
        """Let a held case go on; one that is held for its findings needs them named as seen, and a reason."""
        by = guard(request)
        return Done(done=operations.release(case_id, by=by, reason=order.reason, seen=order.seen))

    @router.post("/jobs/{case_id}/supersede", responses=CHANGING)
    def supersede(case_id: CASE_ID, order: Order, request: Request) -> Done:
        """Re-contour the same images; the new structure set names its predecessor."""
        return Done(done=operations.supersede(case_id, by=guard(request), reason=order.reason))

    @router.post("/jobs/{case_id}/resend", responses=CHANGING)
    def resend(case_id: CASE_ID, order: ResendOrder, request: Request) -> Done:
        """Send the structure set again: the same object with the same UID."""
        return Done(done=operations.resend(case_id, by=signed(guard(request), order), to=order.to))


def _add_assignment(router: APIRouter, assignment: AssignRoles, guard: Guard) -> None:
    @router.post("/jobs/{case_id}/assign", responses=CHANGING)
    def assign(case_id: CASE_ID, order: AssignOrder, request: Request) -> Done:
        """Say which series fills which role, where the evidence does not tell or tells wrong (`choices` of the job)."""
        by = signed(guard(request), order)
        return Done(done=assignment.assign(case_id, order.roles, by=by, pipeline=order.pipeline))


def _add_destinations(router: APIRouter, operations: Operations, guard: Guard) -> None:
    @router.post("/destinations/{name}/pause", responses=CHANGING)
    def pause(name: NAME, order: Order, request: Request) -> Done:
        """Send nothing to a destination until it is resumed."""
        return Done(done=operations.pause(name, by=guard(request), reason=order.reason))

    @router.post("/destinations/{name}/resume", responses=CHANGING)
    def resume(name: NAME, order: Order, request: Request) -> Done:
        """Send to a paused destination again, at once."""
        return Done(done=operations.resume(name, by=signed(guard(request), order)))


def signed(who: str, order: Order) -> str:
    """Return the caller's name, with the reason where one is given."""
    return f"{who} ({order.reason})" if order.reason else who
