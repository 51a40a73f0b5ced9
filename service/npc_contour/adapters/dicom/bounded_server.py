"""pynetdicom's association server with bounds: what a silent, slow or hostile peer can take is limited.

Stock pynetdicom 3.0.4 reads with no time-out, believes any PDU length, queues messages without end and keeps a thread
for every connection that closes before it asks for an association. The bounds are put on from outside, through
`AE.make_server(server_class=...)`: a socket that caps and times what it reads, and a watchdog over all connections.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

MAX_PDU = 131072
"""The largest PDU offered; DCMTK sends no larger ones."""
MAX_PDU_READ = 2 * MAX_PDU
"""An A-ASSOCIATE-RQ of 128 contexts may exceed the data limit; nothing honest exceeds this."""
MAX_COMMAND_BYTES = 65536
MAX_DATA_SET_BYTES = 256 * 2**20
MAX_QUEUED_MESSAGES = 4
_P_DATA = 4


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a peer may take.

    Attributes:
        associate_s: from the connection to a whole A-ASSOCIATE-RQ.
        silence_s: without a whole PDU; also within one.
    """

    associate_s: float = 10.0
    silence_s: float = 60.0


@dataclass(slots=True)
class Connection:
    """One open connection, as the watchdog sees it."""

    association: Association
    opened_at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None


class BoundedSocket(AssociationSocket):
    """Reads PDUs up to a length, messages up to a size, and nothing while enough messages wait."""

    def __init__(self, assoc: Association, client_socket: socket.socket) -> None:
        self._head = b""
        self._command_bytes = 0
        self._data_bytes = 0
        super().__init__(assoc, client_socket=client_socket)

    @property
    def ready(self) -> bool:
        """Whether a PDU may be read; False holds the sender back while earlier messages are worked on."""
        if self.assoc.dimse.msg_queue.qsize() >= MAX_QUEUED_MESSAGES:
            return False
        return bool(super().ready)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, or what came before the peer closed.

        Raises:
            OSError: more than the bounds, or nothing in time.
        """
        if nr_bytes > MAX_PDU_READ:
            raise OSError(f"a PDU of {nr_bytes} bytes, at most {MAX_PDU_READ} are taken")
        if self.socket is None:
            raise OSError("the connection is closed")
        buffer = bytearray(nr_bytes)
        view, filled = memoryview(buffer), 0
        while filled < nr_bytes:
            count = self.socket.recv_into(view[filled:])
            if not count:
                break
            filled += count
        view.release()
        del buffer[filled:]
        if not self._head:
            self._head = bytes(buffer[:1])
            return buffer
        if self._head[0] == _P_DATA:
            self._count(buffer)
        self._head = b""
        return buffer

    def close(self) -> None:
        """Close for good: pynetdicom leaves a socket open whose peer is gone already."""
        connection = self.socket
        super().close()
        if connection is not None:
            connection.close()

    def _count(self, body: bytearray) -> None:
        """Add up the fragments of the message under way (PS3.8 9.3.5.1, E.2)."""
        position = 0
        while position + 6 <= len(body):
            length = struct.unpack_from(">L", body, position)[0]
            control = body[position + 5]
            if control & 1:
                self._command_bytes += length
            else:
                self._data_bytes += length
            if self._command_bytes > MAX_COMMAND_BYTES or self._data_bytes > MAX_DATA_SET_BYTES:
                raise OSError(f"a message beyond {MAX_DATA_SET_BYTES} bytes of data, {MAX_COMMAND_BYTES} of command")
            if control & 2 and control & 1:
                self._command_bytes = 0
            elif control & 2:
                self._data_bytes = 0
            position += 4 + length


class _Handler(RequestHandler):
    def _create_association(self) -> Association:
        association = super()._create_association()
        # The first wrapper announced the connection; ours announces it again, so the first word is taken back.
        association.dul.event_queue.get_nowait()
        association.dul.socket = BoundedSocket(association, self.request)
        return association


class BoundedServer(ThreadedAssociationServer):
    """Accepts, caps and watches connections.

    Args:
        ae: the entity; its time-outs and limit of associations apply.
        address: host and port.
        deadlines: enforced by a watchdog of one second.
        max_connections: more than these are closed at once, before any thread is made.
        on_lost: called with an association that is gone although neither release nor abort was seen.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        *args: Any,  # noqa: ANN401  handed on to pynetdicom as they come
        deadlines: Deadlines,
        max_connections: int,
        on_lost: Callable[[Association], None],
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self._deadlines = deadlines
        self._max_connections = max_connections
        self._on_lost = on_lost
        self._connections: dict[int, Connection] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads_of_server: list[threading.Thread] = []
        kwargs["request_handler"] = _Handler
        super().__init__(ae, address, *args, **kwargs)

    def start(self) -> None:
        """Accept connections in a thread of its own."""
        for name, work in (("dicom-accept", self._serve), ("dicom-watchdog", self._watch)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            self._threads_of_server.append(thread)
            thread.start()

    def stop(self, *, grace_s: float) -> None:
        """Accept no more, let running associations end for `grace_s`, then abort them."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()
        deadline = time.monotonic() + grace_s
        while self.active_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        for association in self.active_associations:
            association.abort(block=False)
            _shut(association)
        for association in self.active_associations:
            association.join(timeout=2.0)
        self._stopping.set()
        for thread in self._threads_of_server:
            thread.join(timeout=5.0)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept one connection; reads on it time out, answers leave at once."""
        if self.socket is None:
            raise OSError("the server is closed")
        client, address = self.socket.accept()
        client.settimeout(self._deadlines.silence_s)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002
        """Whether another connection is taken at all."""
        with self._lock:
            return sum(c.closed_at is None for c in self._connections.values()) < self._max_connections

    def opened(self, association: Association) -> None:
        """To be bound to EVT_CONN_OPEN."""
        with self._lock:
            self._connections[id(association)] = Connection(association)

    def closed(self, association: Association) -> None:
        """To be bound to EVT_CONN_CLOSE: frees the thread of a peer that never asked for an association."""
        with self._lock:
            connection = self._connections.get(id(association))
            if connection is not None:
                connection.closed_at = time.monotonic()
        # None is what pynetdicom's own reactor takes for "nothing more"; its annotations do not know that.
        queue: Any = association.dul.to_user_queue
        queue.put(None)

    def _serve(self) -> None:
        self.serve_forever(poll_interval=0.1)

    def _watch(self) -> None:
        while not self._stopping.wait(1.0):
            now = time.monotonic()
            with self._lock:
                connections = list(self._connections.items())
            for key, connection in connections:
                if self._is_over(connection, now):
                    with self._lock:
                        del self._connections[key]
                    self._on_lost(connection.association)
                elif self._is_too_slow(connection, now):
                    _shut(connection.association)

    def _is_over(self, connection: Connection, now: float) -> bool:
        alive = connection.association.is_alive() or connection.association.dul.is_alive()
        return not alive and now - connection.opened_at > 1.0

    def _is_too_slow(self, connection: Connection, now: float) -> bool:
        association = connection.association
        if association.requestor.primitive is None:
            return now - connection.opened_at > self._deadlines.associate_s
        # Restarted by each whole PDU, so a peer that drips bytes of one PDU runs it down.
        remaining = association.dul._idle_timer.remaining  # noqa: SLF001  no public clock of the last PDU
        return remaining < -1.0


def _shut(association: Association) -> None:
    """Close the connection under an association; its threads end by themselves."""
    wrapper = association.dul.socket
    if wrapper is None or wrapper.socket is None:
        return
    try:
        wrapper.socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed meanwhile: what was wanted
