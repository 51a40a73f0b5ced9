"""The audit trail hears what the service logs and makes of some of it audit messages.

So nothing has to be told twice, and what is not logged is not audited. An association's instances are one message, at
its end. Fields of a log record that begin with `audit_` are for this trail alone; the log withholds them.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from npc_contour.adapters.audit.messages import (
    MINOR_FAILURE,
    SERIOUS_FAILURE,
    SUCCESS,
    AuditMessage,
    EventId,
    EventType,
    Participant,
    Role,
    Study,
)
from npc_contour.adapters.audit.syslog import SyslogSender, syslog_frame
from npc_contour.logs import Event

MAX_OPEN = 1000
"""Associations whose instances are counted at the same time."""


@dataclass(slots=True)
class _Brought:
    """What one association brought so far."""

    studies: dict[str, Counter[str]] = field(default_factory=dict)
    patient_ids: set[str] = field(default_factory=set)


class AuditTrail(logging.Handler):
    """Writes audit messages.

    Args:
        ae_title: ours, which is also the audit source.
        file: every message is appended here, one a line; None writes none.
        sender: takes every message for the syslog server; None has none.
    """

    def __init__(self, ae_title: str, file: Path | None, sender: SyslogSender | None) -> None:
        super().__init__(logging.INFO)
        self._ae_title = ae_title
        self._host = socket.gethostname() or "localhost"
        self._file = file
        self._sender = sender
        self._brought: dict[str, _Brought] = {}
        self._counting = threading.Lock()
        self._makers: dict[str, Callable[[logging.LogRecord], AuditMessage | None]] = {
            Event.SERVICE_STARTED: lambda record: self._activity(record, EventType.APPLICATION_START),
            Event.SERVICE_STOPPING: lambda record: self._activity(record, EventType.APPLICATION_STOP),
            Event.INSTANCE_STORED: self._count,
            Event.ASSOCIATION_ENDED: self._received,
            Event.ASSOCIATION_REJECTED: self._alert,
            Event.DELIVERY_SENT: self._sent,
            Event.CASE_SEGMENTED: self._accessed,
            Event.STRUCTURE_SET_WRITTEN: self._written,
            Event.CASE_RELEASED: self._released,
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Make an audit message of a log record, where it is worth one."""
        maker = self._makers.get(str(record.msg))
        if maker is None:
            return
        try:
            message = maker(record)
            if message is not None:
                self._write(message.xml(), message.at)
        except Exception:  # noqa: BLE001 - a handler's edge: auditing must not break what is audited; logging tells it
            self.handleError(record)

    def close(self) -> None:
        """Send what waits, and end."""
        if self._sender is not None:
            self._sender.close()
        super().close()

    def _write(self, xml: bytes, at: datetime) -> None:
        if self._file is not None:
            # One write to a file opened for appending is whole, whichever process of the service does it.
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, xml.replace(b"\n", b"") + b"\n")
            finally:
                os.close(descriptor)
        if self._sender is not None:
            self._sender.send(syslog_frame(xml, at, self._host))

    def _us(self, role: Role | None, *, requestor: bool = False) -> Participant:
        return Participant(self._ae_title, self._host, role, requestor)

    def _activity(self, record: logging.LogRecord, kind: EventType) -> AuditMessage:
        return AuditMessage(
            event=EventId.APPLICATION_ACTIVITY,
            event_type=kind,
            action="E",
            at=_at(record),
            participants=[self._us(Role.APPLICATION)],
            source=self._ae_title,
        )

    def _count(self, record: logging.LogRecord) -> None:
        with self._counting:
            if len(self._brought) >= MAX_OPEN:
                self._brought.pop(next(iter(self._brought)))
            brought = self._brought.setdefault(_of(record, "association_id"), _Brought())
            classes = brought.studies.setdefault(_of(record, "study_instance_uid"), Counter())
            classes[_of(record, "sop_class_uid")] += 1
            if patient_id := _of(record, "audit_patient_id"):
                brought.patient_ids.add(patient_id)

    def _received(self, record: logging.LogRecord) -> AuditMessage | None:
        with self._counting:
            brought = self._brought.pop(_of(record, "association_id"), None)
        if brought is None:
            return None
        refused = getattr(record, "refused", 0)
        return AuditMessage(
            event=EventId.INSTANCES_TRANSFERRED,
            action="C",
            at=_at(record),
            outcome=MINOR_FAILURE if refused else SUCCESS,
            participants=[
                Participant(_of(record, "calling_ae_title"), _of(record, "peer"), Role.SOURCE, requestor=True),
                self._us(Role.DESTINATION),
            ],
            source=self._ae_title,
            studies=[Study(uid, classes) for uid, classes in sorted(brought.studies.items())],
            patient_ids=sorted(brought.patient_ids),
        )

    def _alert(self, record: logging.LogRecord) -> AuditMessage:
        peer = _of(record, "peer") or "unknown"
        return AuditMessage(
            event=EventId.SECURITY_ALERT,
            event_type=EventType.NODE_AUTHENTICATION,
            action="E",
            at=_at(record),
            outcome=SERIOUS_FAILURE if record.levelno >= logging.WARNING else MINOR_FAILURE,
            participants=[
                self._us(None),
                Participant(_of(record, "calling_ae_title") or peer, peer, requestor=True),
            ],
            source=self._ae_title,
            alert_uri=f"dicom://{peer}",
            alert_text=_of(record, "reason") or "the association was refused",
        )

    def _sent(self, record: logging.LogRecord) -> AuditMessage:
        return AuditMessage(
            event=EventId.INSTANCES_TRANSFERRED,
            action="C",
            at=_at(record),
            participants=[
                self._us(Role.SOURCE, requestor=True),
                Participant(_of(record, "destination"), role=Role.DESTINATION),
            ],
            source=self._ae_title,
            studies=[Study(_of(record, "study_instance_uid"))],
        )

    def _accessed(self, record: logging.LogRecord) -> AuditMessage:
        return AuditMessage(
            event=EventId.INSTANCES_ACCESSED,
            action="R",
            at=_at(record),
            participants=[self._us(None, requestor=True)],
            source=self._ae_title,
            studies=[Study(_of(record, "study_instance_uid"))],
        )

    def _written(self, record: logging.LogRecord) -> AuditMessage:
        return AuditMessage(
            event=EventId.INSTANCES_ACCESSED,
            action="C",
            at=_at(record),
            participants=[self._us(None, requestor=True)],
            source=self._ae_title,
            studies=[_with_findings(record)],
        )

    def _released(self, record: logging.LogRecord) -> AuditMessage:
        return AuditMessage(
            event=EventId.INSTANCES_ACCESSED,
            action="U",
            at=_at(record),
            participants=[Participant(_of(record, "by"), requestor=True), self._us(None)],
            source=self._ae_title,
            studies=[_with_findings(record)],
        )


def _with_findings(record: logging.LogRecord) -> Study:
    """The study, with the codes of what is doubtful and of a release the words."""
    told = {"findings": ",".join(getattr(record, "findings", ())), "detail": _of(record, "detail")}
    return Study(_of(record, "study_instance_uid"), details={name: words for name, words in told.items() if words})


def _at(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _of(record: logging.LogRecord, name: str) -> str:
    return str(getattr(record, name, ""))
