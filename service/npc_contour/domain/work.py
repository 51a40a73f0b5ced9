"""What workers do: jobs, how often each was tried, and which were given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobKind(StrEnum):
    """What workers do; each job names one row and may be done twice without harm.

    New kinds go to the end: their order numbers the claims, and workers of two versions run beside each other.
    """

    CLOSE_SERIES = "close_series"
    ROUTE_STUDY = "route_study"
    SEGMENT_CASE = "segment_case"
    WRITE_STRUCTURE_SET = "write_structure_set"
    SEND = "send"
    POLL_ARCHIVE = "poll_archive"
    FETCH_SERIES = "fetch_series"
    VERIFY = "verify"
    RESCAN = "rescan"
    RETENTION = "retention"
    FIND_PARTNER = "find_partner"
    REPORT_COMMITMENT = "report_commitment"
    COMBINE_STUDY = "combine_study"
    FIND_STUDY = "find_study"
    CALL_WEBHOOK = "call_webhook"
    SELF_TEST = "self_test"
    MEND_CASE = "mend_case"


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do.

    Attributes:
        key: of the row: Series or Study Instance UID, case id, delivery id.
        run_at: not before; None is at once.
        urgent: before others of its kind.
        traceparent: of what causes it; "" takes the step that defers it.
    """

    kind: JobKind
    key: str
    run_at: datetime | None = None
    urgent: bool = False
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a step was begun, this time included, and how often it took its process down."""

    count: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Crashes:
    """How often a step took its process down since it last succeeded, and when it was begun last."""

    count: int
    begun_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedStep:
    """A step that was given up, and waits for something new or for a person.

    Attributes:
        kind: of job; a newer version's may be among them.
        key: of the row.
        tries: since it last succeeded.
    """

    kind: str
    key: str
    reason: str
    tries: int
    parked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestResult:
    """How a test of the networks ended.

    Attributes:
        at: when it ended.
        detail: in words.
        dice: network → mean Dice on the phantom; empty when a network did not answer.
    """

    at: datetime
    seconds: float
    ok: bool
    detail: str
    dice: Mapping[str, float]
