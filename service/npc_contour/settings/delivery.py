"""Where results go."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from npc_contour.settings.base import AeTitle, Port, Seconds, Strict, is_loopback

Name = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,32}$")]
Insist = Literal["require", "try", "off"]
Hold = Literal["stop", "check", "never"]


class DicomDestination(Strict):
    """A DICOM node that takes the RTSTRUCTs; `allow_demo` lets demo networks' results go beyond this host."""

    kind: Literal["dicom"] = "dicom"
    name: Name
    ae_title: AeTitle
    host: str
    port: Port
    tls: bool = False
    tls_name: str = ""
    report_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    verify: Insist = "try"
    measurements: bool = False
    segmentations: bool = False
    findings: bool = False
    findings_pdf: bool = False
    hold_doubtful: Hold | None = None
    allow_demo: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by address or by the name localhost."""
        return is_loopback(self.host)


class DicomwebDestination(Strict):
    """A DICOMweb server that takes the RTSTRUCTs by STOW-RS."""

    kind: Literal["dicomweb"]
    name: Name
    url: str = Field(pattern=r"^https?://[^\s/]+")
    token_file: Path | None = None
    ca_file: Path | None = None
    verify: Insist = "try"
    measurements: bool = False
    segmentations: bool = False
    findings: bool = False
    findings_pdf: bool = False
    hold_doubtful: Hold | None = None
    allow_demo: bool = False


class FolderDestination(Strict):
    """A folder that another program watches."""

    kind: Literal["folder"]
    name: Name
    path: Path
    verify: Insist = "try"
    measurements: bool = False
    segmentations: bool = False
    findings: bool = False
    findings_pdf: bool = False
    hold_doubtful: Hold | None = None
    allow_demo: bool = False


def _kind(value: object) -> str:
    kind = value.get("kind", "dicom") if isinstance(value, dict) else getattr(value, "kind", "dicom")
    return str(kind)


DestinationSettings = Annotated[
    Annotated[DicomDestination, Tag("dicom")]
    | Annotated[DicomwebDestination, Tag("dicomweb")]
    | Annotated[FolderDestination, Tag("folder")],
    Discriminator(_kind),
]
"""What `kind` says decides which keys there are."""
DESTINATION_KINDS: dict[str, type[Strict]] = {
    "dicom": DicomDestination,
    "dicomweb": DicomwebDestination,
    "folder": FolderDestination,
}


class Delivery(Strict):
    """How results are sent, and how destinations are asked whether they hold them."""

    first_retry_s: Seconds = 5.0
    max_retry_s: Seconds = 3600.0
    give_up_after_h: float = Field(default=96.0, gt=0)
    timeout_s: Seconds = 60.0
    first_ask_s: Seconds = 1.0
    hold_doubtful: Hold = "stop"
    commitment_wait_s: Seconds = 5.0
    verify_within_h: float = Field(default=24.0, gt=0)
