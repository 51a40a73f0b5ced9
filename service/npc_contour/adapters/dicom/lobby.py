"""Connections before they are associations: many, cheap and short-lived.

One thread accepts, shakes hands (TLS) and collects association requests of all newcomers, none of whom can make it
wait. A newcomer costs a socket and the bytes it sent, no thread. It has `associate_s` to be done; when there are too
many, the oldest of the address that holds most goes first. What is complete is handed on.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from npc_contour.adapters.dicom.wire import HEAD, PduType, WireError, abort_pdu, checked_head
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

BACKLOG = 128
MAX_NEWCOMERS = 512
ACCEPTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Arrival:
    """A newcomer that sent its whole association request.

    Attributes:
        connection: established, TLS where it came to a TLS port.
        address: the peer's.
        request: the A-ASSOCIATE-RQ PDU.
    """

    connection: socket.socket
    address: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Door:
    """One listening socket.

    Attributes:
        context: gives the TLS context for the next handshake; None for a plain port.
    """

    listener: socket.socket
    context: Callable[[], ssl.SSLContext] | None = None


@dataclass(slots=True, eq=False)
class _Newcomer:
    connection: socket.socket
    address: str
    due: float
    shaking: bool
    data: bytearray = field(default_factory=bytearray)
    wanted: int = HEAD


class Lobby:
    """Runs in one thread from `start` to `stop`.

    Args:
        doors: what to listen on; closed by `stop`.
        associate_s: how long a newcomer has from the connection to its whole request.
        admit: called with each arrival, in the lobby's thread: it must not wait.
        beat: called at each turn of the thread, several times a second.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        associate_s: float,
        admit: Callable[[Arrival], None],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._doors = doors
        self._associate_s = associate_s
        self._admit = admit
        self._beat = beat
        self._newcomers: dict[socket.socket, _Newcomer] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._bell_pull = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="dicom-lobby", daemon=True)

    @property
    def newcomers(self) -> int:
        """How many are in the lobby."""
        return len(self._newcomers)

    @property
    def is_open(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to accept."""
        for door in self._doors:
            door.listener.setblocking(False)  # noqa: FBT003
            self._selector.register(door.listener, selectors.EVENT_READ, door)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """Close the doors and send newcomers away."""
        self._bell_pull.send(b"x")
        self._thread.join()
        for newcomer in list(self._newcomers.values()):
            self._drop(newcomer)
        for door in self._doors:
            door.listener.close()
        self._selector.close()
        self._bell.close()
        self._bell_pull.close()

    def _run(self) -> None:
        while True:
            self._beat()
            for key, _ in self._selector.select(timeout=0.25):
                if key.fileobj is self._bell:
                    return
                if isinstance(key.data, Door):
                    self._accept(key.data)
                elif isinstance(key.data, _Newcomer) and key.data.connection in self._newcomers:
                    self._advance(key.data)
            self._drop_late()

    def _accept(self, door: Door) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, address = door.listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of descriptors: the oldest newcomers go, the connection waits in the backlog.
                self._make_room(len(self._newcomers) // 2)
                return
            try:
                connection.setblocking(False)  # noqa: FBT003
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if door.context is not None:
                    connection = door.context().wrap_socket(
                        connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
                    )
            except (OSError, ValueError):
                connection.close()
                continue
            self._make_room(MAX_NEWCOMERS - 1)
            due = time.monotonic() + self._associate_s
            newcomer = _Newcomer(connection, str(address[0]), due, door.context is not None)
            self._newcomers[connection] = newcomer
            self._selector.register(connection, selectors.EVENT_READ, newcomer)
            self._advance(newcomer)

    def _advance(self, newcomer: _Newcomer) -> None:
        """Take what has come; hand on what is complete."""
        try:
            if newcomer.shaking:
                self._shake(newcomer)
            complete = not newcomer.shaking and self._collect(newcomer)
        except (ssl.SSLWantReadError, BlockingIOError):
            self._selector.modify(newcomer.connection, selectors.EVENT_READ, newcomer)
        except ssl.SSLWantWriteError:
            self._selector.modify(newcomer.connection, selectors.EVENT_WRITE, newcomer)
        except ssl.SSLError as error:
            reason = f"TLS: {error.reason or error}"
            logger.warning(Event.ASSOCIATION_REJECTED, extra={"peer": newcomer.address, "reason": reason})
            self._drop(newcomer)
        except WireError as error:
            logger.warning(Event.ASSOCIATION_REJECTED, extra={"peer": newcomer.address, "reason": str(error)})
            self._drop(newcomer, abort_pdu(error.reason))
        except OSError:
            self._drop(newcomer)
        else:
            if complete:
                self._leave(newcomer)
                self._admit(Arrival(newcomer.connection, newcomer.address, bytes(newcomer.data)))

    def _shake(self, newcomer: _Newcomer) -> None:
        if isinstance(newcomer.connection, ssl.SSLSocket):
            newcomer.connection.do_handshake()
        newcomer.shaking = False
        self._selector.modify(newcomer.connection, selectors.EVENT_READ, newcomer)

    def _collect(self, newcomer: _Newcomer) -> bool:
        """Read towards a whole request; True when it is there, BlockingIOError when more must come."""
        while len(newcomer.data) < newcomer.wanted:
            part = newcomer.connection.recv(newcomer.wanted - len(newcomer.data))
            if not part:
                raise ConnectionResetError("closed before it asked for anything")
            newcomer.data += part
            if len(newcomer.data) == HEAD == newcomer.wanted:
                kind, length = checked_head(newcomer.data)
                if kind is not PduType.ASSOCIATE_RQ:
                    raise WireError(f"the first PDU is a {kind.name}, not an A-ASSOCIATE-RQ")
                newcomer.wanted = HEAD + length
        return True

    def _leave(self, newcomer: _Newcomer) -> None:
        del self._newcomers[newcomer.connection]
        self._selector.unregister(newcomer.connection)

    def _drop(self, newcomer: _Newcomer, last_words: bytes = b"") -> None:
        self._leave(newcomer)
        if last_words:
            try:
                newcomer.connection.send(last_words)
            except OSError:
                last_words = b""  # it does not listen any more
        newcomer.connection.close()

    def _drop_late(self) -> None:
        now = time.monotonic()
        while self._newcomers and (oldest := next(iter(self._newcomers.values()))).due < now:
            self._drop(oldest)

    def _make_room(self, most: int) -> None:
        """Send newcomers away until there are `most`: the oldest of the address that holds most of them."""
        while len(self._newcomers) > most:
            crowd = Counter(n.address for n in self._newcomers.values()).most_common(1)[0][0]
            self._drop(next(n for n in self._newcomers.values() if n.address == crowd))
