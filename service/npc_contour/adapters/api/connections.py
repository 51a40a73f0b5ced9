"""Connections of HTTP under limits: what comes too slowly, or too much at once, takes nothing away from others.

A connection waits for the head of a request, for its body, or for our answer to be read. All three are up to the other
side, so each has a time limit. Where there are too many connections, the one that has waited longest for a head makes
room for a new one: a thousand half-sent requests keep nobody out.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from npc_contour.logs import Event

logger = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may take.

    Attributes:
        head_s: a request's head must be whole this soon after its connection, or the answer before it.
        body_stall_s: while a body is waited for, `body_least_bytes` must come within this, or its end.
        stalled_s: a body of which nothing came for longer makes room where connections are scarce, the longest first.
        unheard_s: so does one whose first part nobody has looked at yet, for all are busy.
        unread_s: an answer is given up when the other side reads nothing of it for so long.
        most: connections at once, in all.
        most_of_address: connections at once from one address.
        look_every_s: how often each is looked at.
    """

    head_s: float = 10.0
    body_stall_s: float = 15.0
    body_least_bytes: int = 4096
    stalled_s: float = 0.0
    unheard_s: float = 1.0
    unread_s: float = 60.0
    most: int = 800
    most_of_address: int = 200
    look_every_s: float = 1.0


LIMITS = Limits()
OTHER_FILES = 200
"""File descriptors that are left for the database, files and the rest."""
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


class LimitedProtocol(H11Protocol):
    """One connection, as uvicorn's own, under limits.

    Attributes:
        limits: what it may take.
        shared: networks of reverse proxies, each of which brings many people's requests from one address.
    """

    limits: ClassVar[Limits] = LIMITS
    shared: ClassVar[Sequence[Network]] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection where there is room, or make room."""
        super().connection_made(transport)
        self.address = str(self.client[0]) if self.client else ""
        self.waits_since = self.came_at = self._counts_since = self.loop.time()
        self._came_bytes = 0
        self._unread_since: float | None = None
        self._look_task: asyncio.TimerHandle | None = None
        if self._has_room():
            self._look_task = self.loop.call_later(self.limits.look_every_s, self._look)
        else:
            logger.warning(Event.CONNECTION_REFUSED, extra={"peer": self.address, "open": len(self.connections)})
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._look_task is not None:
            self._look_task.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        if self.transport.is_closing():
            return
        self.came_at = self.loop.time()
        self._came_bytes += len(data)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        self.waits_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the other side does not read."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does."""
        self._unread_since = None
        super().resume_writing()

    @property
    def waits_for_head(self) -> bool:
        """Whether the next thing is up to the other side: a whole head, or anything after an answer."""
        cycle = self._cycle()
        return cycle is None or cycle.response_complete

    @property
    def waits_for_body(self) -> bool:
        """Whether whoever answers waits for more of a body."""
        cycle = self._cycle()
        return self.lacks_body and cycle is not None and not cycle.message_event.is_set()

    @property
    def lacks_body(self) -> bool:
        """Whether more of a body must come, whoever waits for it."""
        cycle = self._cycle()
        if cycle is None or cycle.response_complete or not cycle.more_body or cycle.waiting_for_100_continue:
            return False
        return not self.flow.read_paused

    def _cycle(self) -> RequestResponseCycle | None:
        """Return the request in hand, or the last one; None before the first, which uvicorn's types do not tell."""
        return self.cycle

    def _look(self) -> None:
        """End what takes too long."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._unread_since is not None and now - self._unread_since > self.limits.unread_s:
            self.transport.abort()
        elif self.waits_for_head and now - self.waits_since > self.limits.head_s:
            self._time_out()
        elif not self.waits_for_body:
            self._count_anew(now)
        elif now - self._counts_since > self.limits.body_stall_s:
            if self._came_bytes < self.limits.body_least_bytes:
                self._time_out()
            self._count_anew(now)
        self._look_task = self.loop.call_later(self.limits.look_every_s, self._look)

    def _count_anew(self, now: float) -> None:
        self._counts_since, self._came_bytes = now, 0

    def _time_out(self) -> None:
        cycle = self._cycle()
        if cycle is None or not cycle.response_started:
            self.transport.write(_TIMEOUT)
        self.transport.close()

    def _has_room(self) -> bool:
        others = [one for one in _limited(self.connections) if one is not self and not one.transport.is_closing()]
        if len(others) >= _most(self.limits) and not _make_room(others, self.loop.time()):
            return False
        if _within(self.address, self.shared):
            return True
        neighbours = [one for one in others if one.address == self.address and not one.transport.is_closing()]
        return len(neighbours) < self.limits.most_of_address or _make_room(neighbours, self.loop.time())


def protocol_of(shared: Sequence[Network] = (), limits: Limits = LIMITS) -> type[LimitedProtocol]:
    """Return the protocol of a server behind these reverse proxies."""
    return type("Protocol", (LimitedProtocol,), {"shared": tuple(shared), "limits": limits})


def _most(limits: Limits) -> int:
    """Return how many connections there may be: fewer where this process may not open many files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits.most if files == resource.RLIM_INFINITY else min(limits.most, max(20, files - OTHER_FILES))


def _make_room(connections: Sequence[LimitedProtocol], now: float) -> bool:
    """End what has waited longest for the other side; return False where nothing waits."""
    idle = [one for one in connections if one.waits_for_head]
    stalled = [one for one in connections if one.waits_for_body and now - one.came_at > one.limits.stalled_s]
    if not stalled:
        stalled = [one for one in connections if one.lacks_body and now - one.came_at > one.limits.unheard_s]
    if not idle and not stalled:
        return False
    longest = min(idle or stalled, key=lambda one: one.waits_since if idle else one.came_at)
    longest.transport.abort()
    return True


def _limited(connections: Iterable[Any]) -> list[LimitedProtocol]:
    return [one for one in connections if isinstance(one, LimitedProtocol)]


def _within(text: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
