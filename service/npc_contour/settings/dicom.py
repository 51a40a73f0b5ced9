"""The DICOM receiver, and when a received series is complete."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from npc_contour.domain.security import TlsIdentity
from npc_contour.settings.base import AeTitle, Port, Seconds, Strict
from npc_contour.settings.storage import Storage

Network = IPv4Network | IPv6Network


class AccessRuleSettings(Strict):
    """One rule of who may send; all of it must hold, an empty list lets everything pass but for `networks`."""

    networks: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    calling_ae_titles: tuple[AeTitle, ...] = ()
    called_ae_titles: tuple[AeTitle, ...] = ()
    tls_subjects: tuple[str, ...] = ()


class Tls(Strict):
    """DICOM over TLS, in and out: our certificate and whom we trust; no `port` means that no TLS port is opened."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    certificate: Path | None = None
    key: Path | None = None
    trusted: Path | None = None
    client_certificates: bool = True

    @property
    def is_set(self) -> bool:
        """Whether there are files to speak TLS with."""
        return self.certificate is not None and self.key is not None and self.trusted is not None

    def identity(self, peer_name: str) -> TlsIdentity:
        """Return how a peer is called over TLS."""
        return TlsIdentity(str(self.certificate), str(self.key), str(self.trusted), peer_name)

    @model_validator(mode="after")
    def _files_go_together(self) -> Tls:
        given = [path is not None for path in (self.certificate, self.key, self.trusted)]
        if any(given) is not all(given):
            raise ValueError("certificate, key and trusted go together: all three or none")
        if self.port is not None and not self.is_set:
            raise ValueError("a TLS port needs certificate, key and trusted")
        return self


class PeerLimitsSettings(Strict):
    """What one address may take of the receiver."""

    associations: int = Field(default=16, ge=1)
    associations_per_minute: int = Field(default=0, ge=0)
    mb_per_s: float = Field(default=0.0, ge=0)


class CommitmentPeer(Strict):
    """A sender that asks for storage commitment, and where it wants to be told."""

    ae_title: AeTitle
    host: str
    port: Port
    tls: bool = False
    tls_name: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.ae_title


class Dicom(Strict):
    """The DICOM receiver."""

    ae_title: AeTitle = "NPC_CONTOUR"
    host: str = "127.0.0.1"
    port: Port = 11112
    processes: int = Field(default=1, ge=1, le=16)
    max_associations: int = Field(default=32, ge=1, le=1000)
    associate_s: float = Field(default=10.0, gt=0)
    silence_s: float = Field(default=60.0, gt=0)
    access: tuple[AccessRuleSettings, ...] = ()
    tls: Tls = Tls()
    peer_limits: PeerLimitsSettings = PeerLimitsSettings()
    commitment: tuple[CommitmentPeer, ...] = ()

    def has_shared_port(self, storage: Storage) -> bool:
        """Whether several receivers may listen on the port: of this service, or of another with the same spool."""
        return self.processes > 1 or storage.shared_spool is not None


class Completion(Strict):
    """When a received series counts as complete."""

    quiet_released_s: Seconds = 10.0
    quiet_s: Seconds = 60.0
    quiet_aborted_s: Seconds = 300.0
    held_after_s: Seconds = 1800.0
