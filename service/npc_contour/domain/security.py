"""How we prove who we are, and whom we believe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What a call over TLS needs; PEM files, by path.

    Attributes:
        certificate: ours, followed by those between it and the root.
        key: its private key.
        trusted: certificate authorities whose peers are accepted.
        peer_name: the name that the peer's certificate must hold; "" takes the host that is called.
    """

    certificate: str
    key: str
    trusted: str
    peer_name: str = ""
