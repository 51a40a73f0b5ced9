"""What a hostile, broken or clumsy peer does to a DICOM port, one attack after another.

Each attack gets a `Battlefield`, opens what it likes from 127.0.0.2 and leaves its sockets open in it: who attacks does
not clean up. What the node under attack must do is judged by others.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from npc_testkit.ct_series import CtPlan, ct_datasets
from npc_testkit.malformed import encoded
from npc_testkit.raw_dicom import ECHO_RQ, NO_DATA_SET, STORE_RQ, WITH_DATA_SET, associate_rq, command_set, p_data

ATTACKER = "127.0.0.2"
CT, EXPLICIT = str(CTImageStorage), str(ExplicitVRLittleEndian)
MEBIBYTE = 2**20

Attack = Callable[["Battlefield"], None]
ATTACKS: dict[str, Attack] = {}
"""By name, in the order of the table."""


def attack(name: str) -> Callable[[Attack], Attack]:
    """Enter an attack into the table."""

    def enter(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return enter


@dataclass
class Battlefield:
    """The node under attack and what was opened to it.

    Attributes:
        most_mb: how much an endless sender sends before it gives up.
        until: attacks that go on by themselves stop then (monotonic seconds).
    """

    port: int
    called: str
    until: float
    most_mb: int = 300
    sockets: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """One more connection; refused ones are closed sockets."""
        peer = socket.socket()
        self.sockets.append(peer)
        peer.settimeout(3.0)
        peer.bind((ATTACKER, 0))
        with contextlib.suppress(OSError):
            peer.connect(("127.0.0.1", self.port))
        return peer

    def send(self, peer: socket.socket, data: bytes) -> bool:
        """Send what the node takes; False once it takes no more."""
        try:
            peer.sendall(data)
        except OSError:
            return False
        return True

    def associate(self, sop_class: str = CT) -> socket.socket:
        """One more association."""
        peer = self.connect()
        self.send(peer, associate_rq(sop_class, [EXPLICIT], called=self.called))
        with contextlib.suppress(OSError):
            peer.recv(65536)
        return peer

    def pour(self, peer: socket.socket, data: bytes) -> int:
        """Send the same bytes again and again until the node takes no more; returns how many mebibytes it took."""
        sent = 0
        while sent < self.most_mb * MEBIBYTE and time.monotonic() < self.until and self.send(peer, data):
            sent += len(data)
        return sent // MEBIBYTE

    def closed(self, wait_s: float) -> int:
        """How many of its sockets the node closes within some seconds."""
        deadline, count = time.monotonic() + wait_s, 0
        for peer in self.sockets:
            count += _is_closed(peer, max(0.05, deadline - time.monotonic()))
        return count

    def leave(self) -> None:
        """Close what is still open."""
        for peer in self.sockets:
            peer.close()


def _is_closed(peer: socket.socket, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    try:
        while (left := deadline - time.monotonic()) > 0:
            peer.settimeout(left)
            if not peer.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def store_command(instance: bytes = b"1.2.3.4.5") -> bytes:
    """The command of a C-STORE whose data set is to follow."""
    return p_data(command_set(STORE_RQ, CT.encode(), WITH_DATA_SET, instance=instance), is_command=True)


def echo_command() -> bytes:
    """A whole C-ECHO."""
    return p_data(command_set(ECHO_RQ, str(Verification).encode(), NO_DATA_SET), is_command=True)


def half_a_store(field: Battlefield) -> socket.socket:
    """An association in the middle of a C-STORE, between two PDUs."""
    peer = field.associate()
    field.send(peer, store_command() + p_data(bytes(100_000), is_command=False, is_last=False))
    return peer


def _flood(name: str, count: int, data: bytes) -> None:
    @attack(name)
    def _(field: Battlefield) -> None:
        for _ in range(count):
            field.send(field.connect(), data)


def _first_bytes(name: str, data: bytes) -> None:
    @attack(name)
    def _(field: Battlefield) -> None:
        for _ in range(5):
            field.send(field.connect(), data)


def _within_association(name: str, *pdus: bytes) -> None:
    @attack(name)
    def _(field: Battlefield) -> None:
        for _ in range(3):
            peer = field.associate()
            for pdu in pdus:
                field.send(peer, pdu)


_REQUEST = associate_rq(CT, [EXPLICIT], called="NPC_CONTOUR")

_flood("200 silent connections", 200, b"")
_flood("50 x 3 bytes", 50, _REQUEST[:3])
_flood("50 x half a request", 50, _REQUEST[:100])


@attack("20 x 1 byte each 0.3 s")
def _(field: Battlefield) -> None:
    peers = [field.connect() for _ in range(20)]
    for number in range(len(_REQUEST)):
        for peer in peers:
            field.send(peer, _REQUEST[number : number + 1])
        time.sleep(0.3)
        if time.monotonic() > field.until:
            return


@attack("300 health checks")
def _(field: Battlefield) -> None:
    for _ in range(300):
        field.connect().close()


_first_bytes("HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
_first_bytes("TLS hello to the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
_first_bytes("random bytes", os.urandom(4096))
_first_bytes("P-DATA first", p_data(bytes(100), is_command=True))
_first_bytes("release first", struct.pack(">BBL4x", 5, 0, 4))
_first_bytes("abort first", struct.pack(">BBL4x", 7, 0, 4))
_first_bytes("request without contexts", _REQUEST[:2] + struct.pack(">L", 68) + _REQUEST[6:74])
_first_bytes("request that lies about its items", _REQUEST[:100] + b"\xff\xff" + _REQUEST[102:])
_first_bytes("titles beyond ASCII", _REQUEST[:10] + b"\xe9" * 32 + _REQUEST[42:])


@attack("request of 4 GiB")
def _(field: Battlefield) -> None:
    peer = field.connect()
    field.send(peer, b"\x01\x00\xff\xff\xff\xff")
    field.pour(peer, bytes(MEBIBYTE))


@attack("P-DATA of 4 GiB")
def _(field: Battlefield) -> None:
    peer = field.associate()
    field.send(peer, b"\x04\x00\xff\xff\xff\xff")
    field.pour(peer, bytes(MEBIBYTE))


@attack("data set without end")
def _(field: Battlefield) -> None:
    peer = field.associate()
    field.send(peer, store_command())
    field.pour(peer, p_data(bytes(100_000), is_command=False, is_last=False))


@attack("command without end")
def _(field: Battlefield) -> None:
    peer = field.associate()
    field.pour(peer, p_data(bytes(16_000), is_command=True, is_last=False))


@attack("empty P-DATA without end")
def _(field: Battlefield) -> None:
    peer = field.associate()
    field.pour(peer, struct.pack(">BBL", 4, 0, 0) * 10_000)


@attack("400 stores sent ahead, answers not read")
def _(field: Battlefield) -> None:
    peer = field.associate()
    data_set = encoded(ct_datasets(CtPlan(rows=256, columns=256, slices=1))[0], EXPLICIT)
    for number in range(400):
        uid = f"1.2.3.{number + 1}".encode()
        body = [p_data(data_set[at : at + 100_000], is_command=False, is_last=at + 100_000 >= len(data_set))
                for at in range(0, len(data_set), 100_000)]  # fmt: skip
        if time.monotonic() > field.until or not field.send(peer, store_command(uid) + b"".join(body)):
            return


@attack("echoes without end, answers not read")
def _(field: Battlefield) -> None:
    peer = field.associate(str(Verification))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    field.pour(peer, echo_command() * 200)


@attack("abort in mid store")
def _(field: Battlefield) -> None:
    for _ in range(5):
        field.send(half_a_store(field), struct.pack(">BBL4x", 7, 0, 4))


@attack("reset in mid store")
def _(field: Battlefield) -> None:
    for _ in range(5):
        peer = half_a_store(field)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()


@attack("release in mid store")
def _(field: Battlefield) -> None:
    for _ in range(5):
        field.send(half_a_store(field), struct.pack(">BBL4x", 5, 0, 4))


@attack("silence between PDUs of a store")
def _(field: Battlefield) -> None:
    for _ in range(5):
        half_a_store(field)


@attack("silence within a PDU of a store")
def _(field: Battlefield) -> None:
    for _ in range(5):
        field.send(half_a_store(field), p_data(bytes(100_000), is_command=False)[:5000])


@attack("a store that drips")
def _(field: Battlefield) -> None:
    peers = [half_a_store(field) for _ in range(5)]
    while time.monotonic() < field.until:
        for peer in peers:
            field.send(peer, p_data(b"x", is_command=False, is_last=False)[:1])
        time.sleep(0.3)


@attack("associations held open, as many as go")
def _(field: Battlefield) -> None:
    for _ in range(40):
        field.associate()


@attack("connections and requests as fast as they go")
def _(field: Battlefield) -> None:
    while time.monotonic() < field.until:
        peer = field.connect()
        field.send(peer, _REQUEST)
        peer.close()


_within_association("presentation data value of length 0", struct.pack(">BBLLBB", 4, 0, 6, 0, 1, 3))
_within_association("presentation data value beyond its PDU", struct.pack(">BBLLBB", 4, 0, 6, 9999, 1, 3))
_within_association("context that was not accepted", struct.pack(">BBLLBB", 4, 0, 6, 2, 99, 3))
_within_association("command of random bytes", p_data(os.urandom(500), is_command=True))
_within_association("data set before its command", p_data(bytes(500), is_command=False))
_within_association("answer to nothing", p_data(command_set(0x8001, CT.encode(), NO_DATA_SET), is_command=True))
_within_association("second request within an association", _REQUEST)
_within_association("PDU of an unknown type", b"\x63\x00\x00\x00\x00\x04abcd")
_within_association("two commands at once", store_command(), store_command())
