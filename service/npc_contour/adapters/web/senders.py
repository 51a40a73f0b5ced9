"""Who sends a request where reverse proxies may stand between: only those that the site names are trusted.

A proxy that nobody named looks like a browser on its own machine. So what carries a proxy's headers and does not come
from a named one, or comes from this machine while accounts are asked for, has no address that proves anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
MARKS = frozenset({FOR, PROTO, b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip",
                   b"x-client-ip", b"true-client-ip", b"forwarded", b"via"})  # fmt: skip
"""What proxies add and no browser sends."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request.

    Attributes:
        address: the sender's, or the proxy's where that is all that is known; "" over a unix socket.
        scheme: http or https, as the sender's own connection is.
        is_own: whether the address is known to be the sender's own and nobody else's.
        forwarded: whether it came through a proxy.
    """

    address: str
    scheme: str
    is_own: bool
    forwarded: bool = False

    def is_in(self, networks: Sequence[Network]) -> bool:
        """Whether the address is the sender's own and in one of these networks."""
        address = parse_address(self.address)
        return self.is_own and address is not None and _within(address, networks)


def sender_of(scope: Scope, trusted: Sequence[Network], *, local_is_shared: bool) -> Sender:
    """Return who sends a request.

    Args:
        scope: of ASGI, as it came.
        trusted: the proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.
        local_is_shared: whether what comes from this machine may well be others', through a proxy that leaves no mark.
    """
    client, scheme = scope.get("client"), str(scope["scheme"])
    host = str(client[0]) if client else ""
    peer = parse_address(host)
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if peer is not None and _within(peer, trusted):
        return _behind(peer, scheme, headers, trusted)
    if any(name in MARKS for name, _ in headers):
        return Sender(host, scheme, is_own=False, forwarded=True)
    is_local = peer is None or peer.is_loopback
    return Sender(host, scheme, is_own=peer is not None and not (is_local and local_is_shared))


def parse_address(text: str) -> Address | None:
    """Return an address as proxies write it, with or without a port; None where it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _behind(peer: Address, scheme: str, headers: Sequence[tuple[bytes, bytes]], trusted: Sequence[Network]) -> Sender:
    """Go back from proxy to proxy, each of which has written down who asked it, to the first that is none of ours."""
    chain, schemes = _values(headers, FOR), _values(headers, PROTO)
    address: Address | None = peer
    for hops, text in enumerate(reversed(chain)):
        address = parse_address(text)
        if address is not None and _within(address, trusted):
            continue
        if address is None:
            break
        return Sender(str(address), _scheme(schemes, hops, scheme), is_own=True, forwarded=True)
    return Sender(str(address or peer), _scheme(schemes, len(chain), scheme), is_own=False, forwarded=True)


def _scheme(schemes: Sequence[str], hops: int, otherwise: str) -> str:
    """Return the scheme that the outermost of our proxies was asked by; each writes its own behind the others."""
    if not schemes:
        return otherwise
    found = schemes[max(0, len(schemes) - 1 - hops)].lower()
    return found if found in {"http", "https"} else otherwise


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    found = b",".join(value for key, value in headers if key == name).decode("latin-1")
    return [part.strip() for part in found.split(",") if part.strip()]


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
