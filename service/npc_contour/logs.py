"""Structured logs: one JSON object a line, a constant event name and fields, never a patient's name.

A log call names an event from `Event` and puts facts into `extra`:

    logger.info(Event.INSTANCE_STORED, extra={"sop_instance_uid": uid})

Fields whose key is in `FORBIDDEN_FIELDS` are replaced before they are written: a patient's name never
leaves the house by a log, whoever forgot.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from datetime import UTC, datetime
from enum import StrEnum

FORBIDDEN_FIELDS = frozenset({"patient_name", "patientname", "patient", "birth_date", "patient_birth_date"})
AUDIT_PREFIX = "audit_"
"""Fields for the audit trail alone (`adapters.audit`): the log never writes them."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Event(StrEnum):
    """Names of what happens: alarms and searches hang on these, so they do not change."""

    SERVICE_STARTED = "service.started"
    SERVICE_STOPPING = "service.stopping"
    CHILD_STARTED = "child.started"
    CHILD_ENDED = "child.ended"
    CHILD_FAILED = "child.failed"
    HEARTBEAT_FAILED = "heartbeat.failed"
    CHILD_HUNG = "child.hung"
    CHILD_CUT_OFF = "child.cut_off"
    TRITON_STARTED = "triton.started"
    TRITON_DIED = "triton.died"
    TRITON_READY = "triton.ready"
    DATABASE_STARTED = "database.started"
    DATABASE_MIGRATED = "database.migrated"
    DATABASE_DIED = "database.died"
    PASSWORD_RELOADED = "password.reloaded"  # noqa: S105
    PASSWORD_UNREADABLE = "password.unreadable"  # noqa: S105
    ASSOCIATION_ACCEPTED = "association.accepted"
    ASSOCIATION_REJECTED = "association.rejected"
    ASSOCIATION_ENDED = "association.ended"
    INSTANCE_STORED = "instance.stored"
    INSTANCE_REFUSED = "instance.refused"
    INSTANCE_CONFLICT = "instance.conflict"
    INSTANCE_DISCARDED = "instance.discarded"
    REQUEST_FAILED = "request.failed"
    CERTIFICATE_RELOADED = "certificate.reloaded"
    CERTIFICATE_UNUSABLE = "certificate.unusable"
    SERIES_OPENED = "series.opened"
    SERIES_WAITING = "series.waiting"
    SERIES_READY = "series.ready"
    SERIES_HELD = "series.held"
    SERIES_ASIDE = "series.aside"
    SERIES_CAME_AGAIN = "series.came_again"
    SERIES_CORRECTED = "series.corrected"
    SERIES_NOT_SEEN = "series.not_seen"
    CASE_CREATED = "case.created"
    CASE_WAITING = "case.waiting"
    CASE_AMBIGUOUS = "case.ambiguous"
    CASE_ASSIGNED = "case.assigned"
    CASE_COMBINED = "case.combined"
    CASE_REFUSED = "case.refused"
    CASE_FAILED = "case.failed"
    CASE_SUPERSEDED = "case.superseded"
    CASE_SEGMENTED = "case.segmented"
    CASE_HELD = "case.held"
    CASE_RELEASED = "case.released"
    CASE_RETRIED = "case.retried"
    CASE_CANCELLED = "case.cancelled"
    CASE_VERIFIED = "case.verified"
    STRUCTURE_SET_WRITTEN = "structure_set.written"
    STRUCTURE_SET_BLOCKED = "structure_set.blocked"
    MARGINS_BLOCKED = "structure_set.margins_blocked"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_VERIFIED = "delivery.verified"
    DELIVERY_UNVERIFIED = "delivery.unverified"
    DELIVERY_MISSING = "delivery.missing"
    DELIVERY_RESENT = "delivery.resent"
    DELIVERY_RETRY = "delivery.retry"
    DELIVERY_BLOCKED = "delivery.blocked"
    DELIVERY_FAILED = "delivery.failed"
    DESTINATION_PAUSED = "destination.paused"
    DESTINATION_RESUMED = "destination.resumed"
    DESTINATION_BACK = "destination.back"
    CLOCK_STEPPED = "clock.stepped"
    SPOOL_RESCANNED = "spool.rescanned"
    SPOOL_COMPARED = "spool.compared"
    INSTANCES_ADOPTED = "instances.adopted"
    INSTANCES_LOST = "instances.lost"
    FILE_DAMAGED = "file.damaged"
    FILE_MADE_AGAIN = "file.made_again"
    FILE_REPAIRED = "file.repaired"
    FILES_EXPIRED = "files.expired"
    STEP_OVERDUE = "step.overdue"
    PIPELINES_UNCONCERNED = "pipelines.unconcerned"
    PARTNER_SOUGHT = "partner.sought"
    PHASES_SHIFTED = "phases.shifted"
    STEP_FAILED = "step.failed"
    STEP_PARKED = "step.parked"
    STEP_RETRIED = "step.retried"
    STEP_INTERRUPTED = "step.interrupted"
    SITE_SHIFTED = "site.shifted"
    SITE_SHIFT_ACCEPTED = "site.shift_accepted"
    SELF_TEST_PASSED = "self_test.passed"
    SELF_TEST_FAILED = "self_test.failed"
    JOBS_RECOVERED = "jobs.recovered"
    ACCESS_LOGIN = "access.login"
    ACCESS_REFUSED = "access.refused"
    ACCESS_ACTION = "access.action"
    ACCESS_OPEN = "access.open"
    CONNECTION_REFUSED = "connection.refused"
    CHECK_BROKEN = "check.broken"
    PULL_ASKED = "pull.asked"
    PULL_FOUND = "pull.found"
    PULL_MATCH_DROPPED = "pull.match_dropped"
    PULL_NOT_NAMED = "pull.not_named"
    SERIES_ANNOUNCED = "series.announced"
    COMMITMENT_REPORTED = "commitment.reported"
    COMMITMENT_FAILED = "commitment.failed"
    PULL_FETCHED = "pull.fetched"
    PULL_INCOMPLETE = "pull.incomplete"
    PULL_FAILED = "pull.failed"
    WEBHOOK_DELIVERED = "webhook.delivered"
    WEBHOOK_RETRY = "webhook.retry"
    WEBHOOK_FAILED = "webhook.failed"


BY_STRANGERS = frozenset(
    {"uvicorn.error", "asyncio", Event.ACCESS_REFUSED, Event.ACCESS_LOGIN, Event.CONNECTION_REFUSED}
)
"""Events, and loggers of libraries, of which anybody who can connect makes as many as he likes."""
LINES_S, MOST_LINES = 10.0, 20

_ENCODER = json.JSONEncoder(default=str, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        for key, value in vars(record).items():
            if key not in _STANDARD and not key.startswith(AUDIT_PREFIX):
                line[key] = "[withheld]" if key.lower() in FORBIDDEN_FIELDS else value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


class Seldom(logging.Filter):
    """Lets few lines of a kind through where others decide how many there would be.

    What anybody can make the service say by connecting is written `MOST_LINES` times in `LINES_S` seconds. The first
    line after that says how many of its kind were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.msg not in BY_STRANGERS and record.name not in BY_STRANGERS:
            return True
        kind = f"{record.name} {record.msg}" if record.name not in BY_STRANGERS else record.name
        with self._lock:
            since, count = self._kinds.get(kind, (-LINES_S, 0))
            if record.created - since < LINES_S:
                self._kinds[kind] = since, count + 1
                return count < MOST_LINES
            self._kinds[kind] = record.created, 1
        if count > MOST_LINES:
            record.left_out = count - MOST_LINES
        return True


def configure(level: str = "INFO") -> None:
    """Send this process's logs to standard error as JSON lines; call once, at start.

    Args:
        level: name of a logging level.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # pynetdicom and procrastinate narrate every message at INFO; their warnings matter, the rest is in our own log.
    for noisy in ("pynetdicom", "procrastinate", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # pydicom warns of each odd value in the words of whoever sent it: that is no line of ours, and Python would keep
    # every one of them in memory forever.
    warnings.filterwarnings("ignore", module=r"pydicom\.")
