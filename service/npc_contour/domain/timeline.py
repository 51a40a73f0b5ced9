"""What happened, and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from npc_contour.logs import Event


class WebhookState(StrEnum):
    """Where a message to another program stands."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """What one program is told once.

    Attributes:
        hook: the receiver's name in the settings.
        event: what happened.
        at: when it happened.
        status: HTTP status of the last answer; None while there was none.
        message: what became of the last try.
    """

    message_id: str
    hook: str
    event: str
    at: datetime
    study_instance_uid: str | None
    series_instance_uid: str | None
    case_id: str | None
    state: WebhookState
    attempts: int
    next_try_at: datetime | None
    status: int | None
    message: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """Something that happened.

    Attributes:
        detail: in words; never a patient's name.
        step: a step that took `seconds`, in a line of its own without detail; "" for a moment.
    """

    event: Event
    at: datetime
    study: str | None = None
    series: str | None = None
    case: str | None = None
    detail: str = ""
    step: str = ""
    seconds: float | None = None
