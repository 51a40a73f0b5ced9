"""What is fetched from a PACS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PullState(StrEnum):
    """Where a series of a PACS stands: incomplete means that some images could not be fetched or were refused."""

    WANTED = "wanted"
    FETCHED = "fetched"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledSeries:
    """A series of a PACS that is or was to be fetched.

    Attributes:
        pacs: its name in the settings.
        images: as the PACS counted; None where it does not count.
    """

    pull_id: int
    pacs: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    images: int | None
    state: PullState
    attempts: int
    message: str


class PullRequestState(StrEnum):
    """Where a program's request for a study stands: no PACS has answered yet, its series are known, or it failed."""

    ASKED = "asked"
    FOUND = "found"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A study that a program asks us to fetch.

    Attributes:
        pacs: its name in the settings.
        series_instance_uids: only these; empty takes all that a pipeline may take.
        pull_ids: of the series that are fetched for it.
    """

    request_id: int
    pacs: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    state: PullRequestState
    attempts: int
    message: str
    pull_ids: tuple[int, ...]
