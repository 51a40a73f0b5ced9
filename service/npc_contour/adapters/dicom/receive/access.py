"""Who may come in: decided from an association request alone, before anything is accepted (default: nobody).

A rule names all that must hold together; one rule that holds lets the peer in. An AE title proves nothing by itself,
for whoever calls may write any: bind it to a network, or better to a certificate.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
MAX_PEERS = 4096
"""Addresses that are remembered; the one not heard of for longest is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What must hold together; an empty list lets everything pass but for `networks`.

    Attributes:
        networks: the peer's address is in one of these.
        calling_ae_titles: what the peer calls itself.
        called_ae_titles: which of our titles it calls.
        tls_subjects: common name or a DNS name of the certificate that the peer proved to hold; `*` stands for any
            characters. With one, a connection without certificate never passes.
    """

    networks: tuple[Network, ...] = LOOPBACK
    calling_ae_titles: tuple[str, ...] = ()
    called_ae_titles: tuple[str, ...] = ()
    tls_subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who requests an association.

    Attributes:
        address: IP address as the socket tells it.
        certificate_names: common name and DNS names of the certificate it proved to hold; () without one.
    """

    address: str
    calling_ae_title: str
    called_ae_title: str
    certificate_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an association is rejected.

    Attributes:
        result: 1 rejected-permanent, 2 rejected-transient (PS3.8 table 9-21).
        source: 1 service user, 2 service provider (ACSE), 3 service provider (presentation).
        reason: of PS3.8 table 9-21, for that source.
        words: for the log.
    """

    result: int
    source: int
    reason: int
    words: str


NOT_ALLOWED = Refusal(1, 1, 1, "no access rule allows this network and certificate")
CALLING_UNKNOWN = Refusal(1, 1, 3, "no access rule allows this calling AE title from this address")
CALLING_NONE = Refusal(1, 1, 3, "the calling AE title is blank, or has letters that no AE title may have")
CALLED_UNKNOWN = Refusal(1, 1, 7, "the called AE title is not ours")
APPLICATION_CONTEXT_UNKNOWN = Refusal(1, 1, 2, "the application context is not DICOM's")
PROTOCOL_VERSION_UNKNOWN = Refusal(1, 2, 2, "it does not speak version 1 of the protocol")
LIMIT = Refusal(2, 3, 2, "the limit of associations is reached")
PEER_LIMIT = Refusal(2, 3, 2, "this address has as many associations as one may have")
PEER_RATE = Refusal(2, 3, 1, "this address asks for associations too often")


def refusal(caller: Caller, rules: Sequence[AccessRule], our_titles: frozenset[str]) -> Refusal | None:
    """Why a caller is not let in; None when it is."""
    near = [rule for rule in rules if _is_in(caller.address, rule.networks) and _has_name(caller, rule.tls_subjects)]
    if not near:
        return NOT_ALLOWED
    if caller.called_ae_title not in our_titles:
        return CALLED_UNKNOWN
    if not caller.calling_ae_title:
        return CALLING_NONE
    known = [rule for rule in near if not rule.calling_ae_titles or caller.calling_ae_title in rule.calling_ae_titles]
    if not known:
        return CALLING_UNKNOWN
    if not any(not rule.called_ae_titles or caller.called_ae_title in rule.called_ae_titles for rule in known):
        return CALLED_UNKNOWN
    return None


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    peer: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)


def _has_name(caller: Caller, subjects: Sequence[str]) -> bool:
    if not subjects:
        return True
    names = [name.lower() for name in caller.certificate_names]
    return any(fnmatchcase(name, subject.lower()) for name in names for subject in subjects)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """What one address may take of us; each receiving process counts for itself.

    Attributes:
        associations: at the same time.
        associations_per_minute: accepted within any minute; 0 is any number.
        mb_per_s: mebibytes a second over all its associations; faster peers are held back, not refused; 0 is any.
    """

    associations: int = 16
    associations_per_minute: int = 0
    mb_per_s: float = 0.0


@dataclass(slots=True)
class _Peer:
    open: int = 0
    accepted: deque[float] = field(default_factory=deque)
    paid_until: float = 0.0


class Gatekeeper:
    """Counts associations and bytes, in all and for each address.

    Args:
        max_associations: in all, at the same time.
        limits: for each address.
        clock: monotonic seconds.
    """

    def __init__(self, max_associations: int, limits: PeerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_associations
        self._limits = limits
        self._clock = clock
        self._peers: dict[str, _Peer] = {}
        self._open = 0
        self._lock = threading.Lock()

    def enter(self, address: str) -> Refusal | None:
        """Count one more association of an address, or say why it may not be; `leave` must follow the former."""
        with self._lock:
            if self._open >= self._max:
                return LIMIT
            peer = self._peer(address)
            if peer.open >= self._limits.associations:
                return PEER_LIMIT
            now = self._clock()
            while peer.accepted and peer.accepted[0] <= now - 60.0:
                peer.accepted.popleft()
            if 0 < self._limits.associations_per_minute <= len(peer.accepted):
                return PEER_RATE
            if self._limits.associations_per_minute:
                peer.accepted.append(now)
            peer.open += 1
            self._open += 1
        return None

    def leave(self, address: str) -> None:
        """An association of an address has ended."""
        with self._lock:
            self._peer(address).open -= 1
            self._open -= 1

    def wait_s(self, address: str, size: int) -> float:
        """How long to wait before more is read from an address that sent `size` bytes, to keep to its rate."""
        if not self._limits.mb_per_s:
            return 0.0
        with self._lock:
            now, peer = self._clock(), self._peer(address)
            peer.paid_until = max(peer.paid_until, now - 1.0) + size / (self._limits.mb_per_s * 2**20)
            return max(0.0, peer.paid_until - now)

    def _peer(self, address: str) -> _Peer:
        peer = self._peers.pop(address, None) or _Peer()
        self._peers[address] = peer
        if len(self._peers) > MAX_PEERS:
            idle = next((name for name, known in self._peers.items() if not known.open), None)
            if idle is not None:
                del self._peers[idle]
        return peer
