"""The life of a series, a case and a delivery, as rows of the database and as lines in the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from npc_contour.domain.findings import HoldFrom
from npc_contour.domain.security import TlsIdentity


class SeriesState(StrEnum):
    """Where a received series stands."""

    RECEIVING = "receiving"
    READY = "ready"
    HELD = "held"
    ASIDE = "aside"


class CaseState(StrEnum):
    """Where a case stands; every state but the last six is picked up again after a restart.

    `ambiguous` waits for a person; `combined` is part of another case's structure set.
    """

    WAITING = "waiting"
    AMBIGUOUS = "ambiguous"
    ROUTED = "routed"
    SEGMENTED = "segmented"
    CONTOURED = "contoured"
    SENT = "sent"
    VERIFIED = "verified"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    COMBINED = "combined"


class Deliverable(StrEnum):
    """What of a case is delivered."""

    RTSTRUCT = "rtstruct"
    MEASUREMENTS = "measurements"
    SEGMENTATION = "segmentation"
    FINDINGS = "findings"
    FINDINGS_PDF = "findings_pdf"


class DeliveryState(StrEnum):
    """Where one structure set stands at one destination."""

    QUEUED = "queued"
    SENT = "sent"
    VERIFIED = "verified"
    FAILED = "failed"
    BLOCKED = "blocked"


class Verify(StrEnum):
    """How hard the site insists that a destination proves what it holds."""

    REQUIRE = "require"
    TRY = "try"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Destination:
    """A DICOM node that takes RTSTRUCT; `tls` None calls it in the clear.

    Attributes:
        report_networks: addresses, beside those of `host`, from which it reports its storage commitment.
        measurements: whether it takes measurements (SR) too.
        segmentations: whether it takes the ROIs as voxels (SEG) too.
        findings: whether it takes findings (SR) too.
        findings_pdf: whether it takes findings with pictures (Encapsulated PDF) too.
        hold_doubtful: findings from which severity on wait for a person before they go there; None as the site says.
    """

    name: str
    ae_title: str
    host: str
    port: int
    allow_demo: bool = False
    verify: Verify = Verify.TRY
    tls: TlsIdentity | None = None
    measurements: bool = False
    segmentations: bool = False
    findings: bool = False
    findings_pdf: bool = False
    hold_doubtful: HoldFrom | None = None
    report_networks: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class WebDestination:
    """A DICOMweb server that takes RTSTRUCT by STOW-RS.

    Attributes:
        url: root of its DICOMweb services.
        token_file: file with the bearer token; "" sends none.
        ca_file: file with the certificates that it is judged by; "" takes the system's.
        measurements: whether it takes measurements (SR) too.
        segmentations: whether it takes the ROIs as voxels (SEG) too.
        findings: whether it takes findings (SR) too.
        findings_pdf: whether it takes findings with pictures (Encapsulated PDF) too.
        hold_doubtful: findings from which severity on wait for a person before they go there; None as the site says.
    """

    name: str
    url: str
    token_file: str = ""
    ca_file: str = ""
    allow_demo: bool = False
    verify: Verify = Verify.TRY
    measurements: bool = False
    segmentations: bool = False
    findings: bool = False
    findings_pdf: bool = False
    hold_doubtful: HoldFrom | None = None

    @property
    def host(self) -> str:
        """The host that the URL names."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class FolderDestination:
    """A folder that another program watches. It may lie on another machine, so it counts as one."""

    name: str
    path: str
    allow_demo: bool = False
    verify: Verify = Verify.TRY
    measurements: bool = False
    segmentations: bool = False
    findings: bool = False
    findings_pdf: bool = False
    hold_doubtful: HoldFrom | None = None

    @property
    def host(self) -> str:
        """Where it is, in words."""
        return f"folder {self.path}"


AnyDestination = Destination | WebDestination | FolderDestination


@dataclass(frozen=True, slots=True)
class StoreReceipt:
    """What a peer answered to one C-STORE: 0x0000 is success, 0xBxxx stored with a warning.

    Attributes:
        detail: in words, where it said more than the status.
    """

    destination: str
    sop_instance_uid: str
    status: int
    at: datetime
    detail: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether the peer says that it holds the object."""
        return self.status == 0x0000 or self.status & 0xF000 == 0xB000


class Proof(StrEnum):
    """What a destination says to the question whether it holds an object.

    `pending` has promised an answer (storage commitment), `not_offered` cannot be asked.
    """

    HELD = "held"
    MISSING = "missing"
    PENDING = "pending"
    NOT_OFFERED = "not_offered"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A destination's answer.

    Attributes:
        by: how it was asked: storage commitment, C-FIND, QIDO-RS, read back.
        detail: in words, where there is more to say.
    """

    proof: Proof
    by: str
    detail: str = ""
