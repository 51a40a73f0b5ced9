"""Submitting by reference: a program names a study that a PACS of the settings has, and follows what becomes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from npc_contour.adapters.api.operations import Guard
from npc_contour.adapters.api.problems import CHANGING, READING, Responses, leading_to, problems
from npc_contour.adapters.api.texts import NAME_PATTERN, UID_PATTERN
from npc_contour.application.pull_requests import PullProgress, PullRequests, PullStatus
from npc_contour.domain.pulls import PullState

Uid = Annotated[str, Field(pattern=UID_PATTERN, examples=["1.2.826.0.1.3680043.8.498.1"])]


class StudyOrder(BaseModel):
    """A study to fetch and contour."""

    model_config = ConfigDict(extra="forbid")
    pacs: str = Field(pattern=NAME_PATTERN, description="Name of a [[pacs]] of the settings", examples=["pacs"])
    study_instance_uid: Uid
    series_instance_uids: tuple[Uid, ...] = Field(
        default=(), max_length=64, description="Only these; empty: every CT, MR and registration", examples=[[]]
    )


class PullSeriesView(BaseModel):
    """One series that is fetched."""

    model_config = ConfigDict(from_attributes=True)
    series_instance_uid: Uid
    state: PullState
    images: int | None = Field(description="As the PACS counted; null where it does not count", examples=[150])
    attempts: int
    message: str = Field(description="What came of it, or why it waits", examples=["150 images fetched"])


class PullView(BaseModel):
    """Where a request for a study stands."""

    pull_id: int
    state: PullProgress = Field(description="asked: the PACS has not answered yet", examples=["done"])
    pacs: str = Field(examples=["pacs"])
    study_instance_uid: Uid
    asked_by: str = Field(examples=["local:ris"])
    asked_at: datetime
    message: str = Field(description="Why it failed, or why the PACS is asked again; empty otherwise")
    series: tuple[PullSeriesView, ...]
    study: str = Field(
        description="Path of the study's timeline", examples=["/api/v1/studies/1.2.826.0.1.3680043.8.498.1"]
    )

    @classmethod
    def of(cls, status: PullStatus, study_path: str) -> PullView:
        """Show a status."""
        request = status.request
        return cls(
            pull_id=request.request_id,
            state=status.progress,
            pacs=request.pacs,
            study_instance_uid=request.study_instance_uid,
            asked_by=request.asked_by,
            asked_at=request.asked_at,
            message=request.message,
            series=tuple(PullSeriesView.model_validate(one) for one in status.series),
            study=study_path,
        )


PullId = Annotated[int, Path(ge=1, le=2**62, description="From the answer to POST /studies", examples=[1])]
_LEADS = leading_to("pull", pull_id="$response.body#/pull_id")[200]["links"]
_ACCEPTED: Responses = {
    202: {
        "description": "It will be fetched; follow `Location`",
        "headers": {"Location": {"description": "Path of the request", "schema": {"type": "string"}}},
        "links": _LEADS,
    }
}


def pull_routes(pulls: PullRequests, guard: Guard) -> APIRouter:
    """Return `POST /studies` and `GET /pulls/{pull_id}`.

    Args:
        pulls: takes requests.
        guard: returns the caller's name.
    """
    router = APIRouter(tags=["work"])

    def view(request: Request, status: PullStatus) -> PullView:
        uid = status.request.study_instance_uid
        return PullView.of(status, str(request.app.url_path_for("study", study_instance_uid=uid)))

    @router.post("/studies", status_code=202, responses={**CHANGING, **problems(429), **_ACCEPTED})
    def submit(order: StudyOrder, request: Request, response: Response) -> PullView:
        """Fetch a study from a PACS of the settings, and contour it as if it had been sent: at once 202, then a job."""
        status = pulls.ask(order.pacs, order.study_instance_uid, order.series_instance_uids, guard(request))
        response.headers["Location"] = str(request.app.url_path_for("pull", pull_id=status.request.request_id))
        return view(request, status)

    @router.get("/pulls/{pull_id}", responses={**READING, **problems(404)})
    def pull(pull_id: PullId, request: Request) -> PullView:
        """Return how far the fetching of a study has come, series by series."""
        return view(request, pulls.status(pull_id))

    return router
