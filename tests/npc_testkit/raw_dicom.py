"""A DICOM client that says what it is told to say, right or wrong: PDUs (PS3.8 9.3) and commands (PS3.7 E) by hand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Self

ECHO_RQ, STORE_RQ = 0x0030, 0x0001
NO_DATA_SET, WITH_DATA_SET = 0x0101, 0x0000
FRAGMENT_BYTES = 16000


class Rejected(Exception):
    """The association was rejected, or no presentation context was accepted."""


class RawAssociation(AbstractContextManager["RawAssociation"]):
    """An association with one presentation context, which is number 1.

    Args:
        port: of the peer on 127.0.0.1.
        sop_class: abstract syntax.
        transfer_syntaxes: proposed for it.
        called: AE title of the peer.
        timeout_s: for every read.
    """

    def __init__(
        self,
        port: int,
        sop_class: str,
        transfer_syntaxes: Sequence[str],
        *,
        called: str = "NPC_CONTOUR",
        timeout_s: float = 10.0,
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(associate_rq(sop_class, transfer_syntaxes, called=called))
        try:
            kind, body = self.read_pdu()
        except (ConnectionError, TimeoutError):
            kind, body = 0, b""
        if kind != 2 or not _is_accepted(body):
            self.socket.close()
            raise Rejected(f"PDU type {kind}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read_pdu(self) -> tuple[int, bytes]:
        """Read one PDU: type and body.

        Raises:
            ConnectionError: the peer closed the connection.
        """
        head = self._read(6)
        return head[0], self._read(int(struct.unpack(">L", head[2:])[0]))

    def store(self, sop_class: bytes, instance: bytes, data_set: bytes | None) -> int | None:
        """C-STORE with exactly these UIDs; returns the status, or None when the peer aborts or closes."""
        kind = NO_DATA_SET if data_set is None else WITH_DATA_SET
        command = command_set(STORE_RQ, sop_class, kind, instance=instance)
        try:
            self.socket.sendall(p_data(command, is_command=True))
            if data_set is not None:
                for start in range(0, max(len(data_set), 1), FRAGMENT_BYTES):
                    last = start + FRAGMENT_BYTES >= len(data_set)
                    self.socket.sendall(
                        p_data(data_set[start : start + FRAGMENT_BYTES], is_command=False, is_last=last)
                    )
            return self.read_status()
        except (ConnectionError, TimeoutError):
            return None

    def read_status(self) -> int | None:
        """The status of the next response; None when the peer aborts."""
        response = b""
        while True:
            kind, body = self.read_pdu()
            if kind != 4:
                return None
            length, control = struct.unpack_from(">L", body)[0], body[5]
            response += body[6 : 4 + length]
            if control & 2:
                break
        at = response.find(struct.pack("<HHL", 0x0000, 0x0900, 2))
        return None if at < 0 else int(struct.unpack_from("<H", response, at + 8)[0])

    def release(self) -> None:
        """Release the association and wait for the answer."""
        self.socket.sendall(struct.pack(">BBL4x", 5, 0, 4))
        self.read_pdu()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed by the peer")
            data += more
        return data


def associate_rq(sop_class: str, transfer_syntaxes: Sequence[str], *, called: str, calling: str = "TESTSCU") -> bytes:
    """An A-ASSOCIATE-RQ with one presentation context."""
    syntaxes = b"".join(_item(0x40, syntax.encode()) for syntax in transfer_syntaxes)
    context = _item(0x20, b"\x01\0\0\0" + _item(0x30, sop_class.encode()) + syntaxes)
    user = _item(0x50, _item(0x51, struct.pack(">L", 131072)) + _item(0x52, b"2.25.1"))
    body = struct.pack(">H2x16s16s32x", 1, called.ljust(16).encode(), calling.ljust(16).encode())
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BBL", 1, 0, len(body)) + body


def command_set(field: int, sop_class: bytes, data_set_type: int, *, instance: bytes | None = None) -> bytes:
    """A request's command set, in implicit VR little endian."""
    elements = _element(0x0002, _even(sop_class)) + _element(0x0100, struct.pack("<H", field))
    elements += _element(0x0110, struct.pack("<H", 1))
    if field == STORE_RQ:
        elements += _element(0x0700, struct.pack("<H", 2))
    elements += _element(0x0800, struct.pack("<H", data_set_type))
    if instance is not None:
        elements += _element(0x1000, _even(instance))
    return _element(0x0000, struct.pack("<L", len(elements))) + elements


def p_data(fragment: bytes, *, is_command: bool, is_last: bool = True) -> bytes:
    """A P-DATA-TF with one fragment."""
    control = int(is_command) | int(is_last) << 1
    return struct.pack(">BBLLBB", 4, 0, len(fragment) + 6, len(fragment) + 2, 1, control) + fragment


def _is_accepted(body: bytes) -> bool:
    """Whether the first presentation context of an A-ASSOCIATE-AC was accepted."""
    position = 68
    while position + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, position)
        if kind == 0x21:
            return body[position + 6] == 0
        position += 4 + length
    return False


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)
