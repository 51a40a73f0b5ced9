"""The life of a series, a case and a delivery, as rows of the database and as lines in the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SeriesState(StrEnum):
    """Where a received series stands."""

    RECEIVING = "receiving"
    READY = "ready"
    HELD = "held"
    ASIDE = "aside"


class CaseState(StrEnum):
    """Where a case stands; every state but the last four is picked up again after a restart."""

    WAITING = "waiting"
    ROUTED = "routed"
    SEGMENTED = "segmented"
    CONTOURED = "contoured"
    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class DeliveryState(StrEnum):
    """Where one structure set stands at one destination."""

    QUEUED = "queued"
    SENT = "sent"
    VERIFIED = "verified"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Destination:
    """A DICOM node that takes RTSTRUCT."""

    name: str
    ae_title: str
    host: str
    port: int
    allow_demo: bool = False


@dataclass(frozen=True, slots=True)
class StoreReceipt:
    """What a peer answered to one C-STORE: 0x0000 is success, 0xBxxx stored with a warning."""

    destination: str
    sop_instance_uid: str
    status: int
    at: datetime

    @property
    def is_stored(self) -> bool:
        """Whether the peer says that it holds the object."""
        return self.status == 0x0000 or self.status & 0xF000 == 0xB000
