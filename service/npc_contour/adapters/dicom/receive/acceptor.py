"""Accepts connections and reads their association requests.

One thread accepts every connection, does the TLS handshake and reads the A-ASSOCIATE-RQ; no peer can make it wait.
A pending connection costs a socket and the bytes it sent, no thread. It has `associate_s` to send its request. When
there are too many, the oldest one of the address that holds most is closed first. A complete request is handed on.
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

from npc_contour.adapters.dicom.association.wire import HEAD, PduType, WireError, abort_pdu, checked_head
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

BACKLOG = 128
MAX_PENDING = 512
ACCEPTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection whose association request is complete.

    Attributes:
        connection: established, TLS where it came to a TLS port.
        address: the peer's.
        request: the A-ASSOCIATE-RQ PDU.
    """

    connection: socket.socket
    address: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket.

    Attributes:
        context: gives the TLS context for the next handshake; None for a plain port.
    """

    listening: socket.socket
    context: Callable[[], ssl.SSLContext] | None = None


@dataclass(slots=True, eq=False)
class _PendingConnection:
    connection: socket.socket
    address: str
    due: float
    handshaking: bool
    data: bytearray = field(default_factory=bytearray)
    wanted: int = HEAD


class Acceptor:
    """Runs in one thread from `start` to `stop`.

    Args:
        listeners: what to listen on; closed by `stop`.
        associate_s: seconds from the connection to its complete request.
        admit: called with each complete request, in this thread: it must not wait.
        beat: called in each pass of the loop, several times a second.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        associate_s: float,
        admit: Callable[[Arrival], None],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._listeners = listeners
        self._associate_s = associate_s
        self._admit = admit
        self._beat = beat
        self._pending: dict[socket.socket, _PendingConnection] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_send = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="dicom-acceptor", daemon=True)

    @property
    def pending(self) -> int:
        """How many connections are pending."""
        return len(self._pending)

    @property
    def is_open(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            listener.listening.setblocking(False)  # noqa: FBT003
            self._selector.register(listener.listening, selectors.EVENT_READ, listener)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """Close the listeners and all pending connections."""
        self._wakeup_send.send(b"x")
        self._thread.join()
        for pending in list(self._pending.values()):
            self._drop(pending)
        for listener in self._listeners:
            listener.listening.close()
        self._selector.close()
        self._wakeup.close()
        self._wakeup_send.close()

    def _run(self) -> None:
        while True:
            self._beat()
            for key, _ in self._selector.select(timeout=0.25):
                if key.fileobj is self._wakeup:
                    return
                if isinstance(key.data, Listener):
                    self._accept(key.data)
                elif isinstance(key.data, _PendingConnection) and key.data.connection in self._pending:
                    self._advance(key.data)
            self._drop_late()

    def _accept(self, listener: Listener) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, address = listener.listening.accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of descriptors: close the oldest pending ones; this one waits in the backlog.
                self._make_room(len(self._pending) // 2)
                return
            try:
                connection.setblocking(False)  # noqa: FBT003
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if listener.context is not None:
                    connection = listener.context().wrap_socket(
                        connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
                    )
            except (OSError, ValueError):
                connection.close()
                continue
            self._make_room(MAX_PENDING - 1)
            due = time.monotonic() + self._associate_s
            pending = _PendingConnection(connection, str(address[0]), due, listener.context is not None)
            self._pending[connection] = pending
            self._selector.register(connection, selectors.EVENT_READ, pending)
            self._advance(pending)

    def _advance(self, pending: _PendingConnection) -> None:
        """Read what has arrived; hand on a complete request."""
        try:
            if pending.handshaking:
                self._handshake(pending)
            complete = not pending.handshaking and self._collect(pending)
        except (ssl.SSLWantReadError, BlockingIOError):
            self._selector.modify(pending.connection, selectors.EVENT_READ, pending)
        except ssl.SSLWantWriteError:
            self._selector.modify(pending.connection, selectors.EVENT_WRITE, pending)
        except ssl.SSLError as error:
            reason = f"TLS: {error.reason or error}"
            logger.warning(Event.ASSOCIATION_REJECTED, extra={"peer": pending.address, "reason": reason})
            self._drop(pending)
        except WireError as error:
            logger.warning(Event.ASSOCIATION_REJECTED, extra={"peer": pending.address, "reason": str(error)})
            self._drop(pending, abort_pdu(error.reason))
        except OSError:
            self._drop(pending)
        else:
            if complete:
                self._leave(pending)
                self._admit(Arrival(pending.connection, pending.address, bytes(pending.data)))

    def _handshake(self, pending: _PendingConnection) -> None:
        if isinstance(pending.connection, ssl.SSLSocket):
            pending.connection.do_handshake()
        pending.handshaking = False
        self._selector.modify(pending.connection, selectors.EVENT_READ, pending)

    def _collect(self, pending: _PendingConnection) -> bool:
        """Read towards a whole request; True when it is there, BlockingIOError when more must come."""
        while len(pending.data) < pending.wanted:
            part = pending.connection.recv(pending.wanted - len(pending.data))
            if not part:
                raise ConnectionResetError("closed before it asked for anything")
            pending.data += part
            if len(pending.data) == HEAD == pending.wanted:
                kind, length = checked_head(pending.data)
                if kind is not PduType.ASSOCIATE_RQ:
                    raise WireError(f"the first PDU is a {kind.name}, not an A-ASSOCIATE-RQ")
                pending.wanted = HEAD + length
        return True

    def _leave(self, pending: _PendingConnection) -> None:
        del self._pending[pending.connection]
        self._selector.unregister(pending.connection)

    def _drop(self, pending: _PendingConnection, final_pdu: bytes = b"") -> None:
        self._leave(pending)
        if final_pdu:
            try:
                pending.connection.send(final_pdu)
            except OSError:
                final_pdu = b""  # the peer has closed it
        pending.connection.close()

    def _drop_late(self) -> None:
        now = time.monotonic()
        while self._pending and (oldest := next(iter(self._pending.values()))).due < now:
            self._drop(oldest)

    def _make_room(self, most: int) -> None:
        """Close pending connections until there are `most`: the oldest of the address that holds most of them."""
        while len(self._pending) > most:
            crowd = Counter(n.address for n in self._pending.values()).most_common(1)[0][0]
            self._drop(next(n for n in self._pending.values() if n.address == crowd))
