"""What webhooks were told, and another try for what was given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from npc_contour.adapters.api.operations import Done
from npc_contour.adapters.api.paging import AskedPart, cut, listing
from npc_contour.adapters.api.problems import CHANGING, leading_to
from npc_contour.application.webhooks import WebhookBoard
from npc_contour.domain.status import Place
from npc_contour.domain.timeline import WebhookState

ID = "6f1c1b9e-6c0e-4b57-9d5e-5b1f0d1c2a3b"


class WebhookMessageView(BaseModel):
    """One message to one receiver."""

    model_config = ConfigDict(from_attributes=True)
    message_id: str = Field(description="The header `webhook-id`", examples=[ID])
    hook: str = Field(description="Name of a [[webhooks]] of the settings", examples=["ris"])
    event: str = Field(examples=["delivery.verified"])
    at: datetime
    study_instance_uid: str | None = Field(examples=["1.2.826.0.1.3680043.8.498.1"])
    series_instance_uid: str | None = Field(examples=[None])
    case_id: str | None = Field(examples=["c-2f6d1b9e"])
    state: WebhookState
    attempts: int
    next_try_at: datetime | None = Field(description="null: no further try is planned")
    status: int | None = Field(description="HTTP status of the last answer; null while there was none", examples=[502])
    message: str = Field(description="What came of the last try", examples=["answered 502"])


def webhook_routes(board: WebhookBoard) -> APIRouter:
    """Return `GET /webhooks/messages` and `POST /webhooks/messages/{message_id}/retry`."""
    router = APIRouter(tags=["webhooks"])

    @router.get(
        "/webhooks/messages",
        responses=listing(leading_to("retry_message", message_id="$response.body#/0/message_id")),
    )
    def messages(
        request: Request,
        response: Response,
        part: AskedPart,
        state: Annotated[WebhookState | None, Query(description="Only messages in this state")] = None,
    ) -> list[WebhookMessageView]:
        """Return what webhooks were told, newest first; the header Link leads to the next part."""
        kept = cut(
            request, response, part, board.messages(state, part), lambda row: Place(row.created_at, row.message_id)
        )
        return [WebhookMessageView.model_validate(row) for row in kept]

    @router.post("/webhooks/messages/{message_id}/retry", responses=CHANGING)
    def retry_message(
        message_id: Annotated[UUID, Path(description="Of a message that was given up", examples=[ID])],
    ) -> Done:
        """Deliver a message that was given up again, at once; its id stays."""
        return Done(done=board.retry(str(message_id)))

    return router
