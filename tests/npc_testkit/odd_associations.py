"""Association PDUs as odd implementations write them, and a node that answers with them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

VERIFICATION, IMPLICIT = b"1.2.840.10008.1.1", b"1.2.840.10008.1.2"
CONTEXT_NAME = b"1.2.840.10008.3.1.1.1"


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def context(identifier: int = 1, abstract: bytes = VERIFICATION, syntaxes: Sequence[bytes] = (IMPLICIT,)) -> bytes:
    names = item(0x30, abstract) + b"".join(item(0x40, one) for one in syntaxes)
    return item(0x20, bytes([identifier, 0, 0, 0]) + names)


@dataclass(frozen=True, kw_only=True)
class Odd:
    """An association PDU; what is not said is as usual."""

    called: bytes = b"NPC_CONTOUR     "
    calling: bytes = b"SCANNER         "
    version: int = 1
    reserved: bytes = bytes(32)
    context_name: bytes = CONTEXT_NAME
    contexts: bytes = context()
    information: bytes = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    more_information: bytes = b""
    tail: bytes = b""

    def pdu(self, kind: int) -> bytes:
        body = struct.pack(">HH", self.version, 0) + self.called + self.calling + self.reserved
        body += item(0x10, self.context_name) + self.contexts
        body += item(0x50, self.information + self.more_information) + self.tail
        return struct.pack(">BBL", kind, 0, len(body)) + body


def result(identifier: int, code: int, *syntaxes: bytes) -> bytes:
    return item(0x21, bytes([identifier, 0, code, 0]) + b"".join(item(0x40, one) for one in syntaxes))


@contextmanager
def odd_acceptor(answer: bytes) -> Iterator[int]:
    """A node that answers each association request with these bytes, and a C-ECHO with success; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_accept, args=(listener, answer), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _accept(listener: socket.socket, answer: bytes) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    with connection, connection.makefile("rb") as incoming:
        _pdu(incoming)
        connection.sendall(answer)
        while (kind := _pdu(incoming)) in {4, 5}:
            connection.sendall(_echo_answer() if kind == 4 else struct.pack(">BBLL", 6, 0, 4, 0))


def _pdu(incoming: object) -> int:
    head = incoming.read(6)  # type: ignore[attr-defined]
    if len(head) < 6:
        return 0
    incoming.read(struct.unpack(">L", head[2:])[0])  # type: ignore[attr-defined]
    return int(head[0])


def _echo_answer() -> bytes:
    elements = [(2, VERIFICATION + b"\0"), (0x100, b"\x30\x80"), (0x120, b"\1\0"), (0x800, b"\1\1"), (0x900, b"\0\0")]
    body = b"".join(struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements)
    command = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    value = struct.pack(">LBB", len(command) + 2, 1, 3) + command
    return struct.pack(">BBL", 4, 0, len(value)) + value
