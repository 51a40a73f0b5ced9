"""How the receiver behaves; the site's settings become this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from npc_contour.adapters.dicom.association.tls import TlsFiles
from npc_contour.adapters.dicom.receive.access import AccessRule, PeerLimits


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a peer may take.

    Attributes:
        associate_s: from the connection to a whole A-ASSOCIATE-RQ, the TLS handshake included.
        silence_s: without a whole PDU; also within one.
        message_s: for one message, however steadily it drips.
    """

    associate_s: float = 10.0
    silence_s: float = 60.0
    message_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPort:
    """The port for TLS.

    Attributes:
        port: 0 takes a free one; `Receiver.tls_port` then says which.
        client_certificates: whether a peer must prove to hold a certificate of a trusted authority.
    """

    port: int
    files: TlsFiles
    client_certificates: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """How the receiver behaves.

    Attributes:
        port: 0 takes a free one; `Receiver.port` then says which.
        shared_port: other processes may listen on the same ports; the kernel spreads connections over them.
        called_ae_titles: further titles that peers may call, as routing rules tell apart by them.
        access: who may come in; our own title from this machine always may, for readiness asks by C-ECHO.
    """

    ae_title: str = "NPC_CONTOUR"
    host: str = "127.0.0.1"
    port: int = 11112
    shared_port: bool = False
    tls: TlsPort | None = None
    max_associations: int = 32
    called_ae_titles: tuple[str, ...] = ()
    access: tuple[AccessRule, ...] = (AccessRule(),)
    limits: PeerLimits = field(default_factory=PeerLimits)
    deadlines: Deadlines = field(default_factory=Deadlines)
    beat: Callable[[], None] = lambda: None
    stop_grace_s: float = 5.0
