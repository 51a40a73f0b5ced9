"""PDUs over one connection (PS3.8 section 9.3), bounded in length and in time.

Nothing here trusts a length before it is bounded, and no read lasts longer than its deadline, however slowly a peer
drips bytes. Whatever is answered leaves in one `send`, so that no answer waits for a delayed acknowledgement.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAX_PDU = 131072
"""The largest P-DATA-TF offered; DCMTK sends no larger ones."""
MAX_ASSOCIATE_PDU = 2 * MAX_PDU
"""An A-ASSOCIATE-RQ of 128 contexts may exceed the data limit; nothing honest exceeds this."""
HEAD = 6
RELEASE_RP = struct.pack(">BBLL", 6, 0, 4, 0)
_PDV_HEAD = struct.Struct(">LBB")


class PduType(IntEnum):
    """First byte of a PDU (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(IntEnum):
    """Why a provider aborts (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_PARAMETER = 6


class WireError(Exception):
    """The peer broke the protocol or a bound, or was too slow: the association is aborted."""

    def __init__(self, message: str, reason: AbortReason = AbortReason.NOT_SPECIFIED) -> None:
        super().__init__(message)
        self.reason = reason


class PeerGoneError(Exception):
    """The connection is closed or reset."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One presentation data value (PS3.8 9.3.5.1 and annex E.2); `data` is valid until the next PDU is read."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


def abort_pdu(reason: AbortReason, *, by_provider: bool = True) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return struct.pack(">BBLBBBB", PduType.ABORT, 0, 4, 0, 0, 2 if by_provider else 0, reason if by_provider else 0)


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BBLBBBB", PduType.ASSOCIATE_RJ, 0, 4, 0, result, source, reason)


def checked_head(head: bytes | bytearray | memoryview) -> tuple[PduType, int]:
    """Type and length of a PDU from its first six bytes.

    Raises:
        WireError: no PDU, or one longer than any honest one.
    """
    kind, length = head[0], struct.unpack_from(">L", head, 2)[0]
    try:
        known = PduType(kind)
    except ValueError:
        raise WireError(f"PDU type {kind:02X} is none", AbortReason.UNRECOGNISED_PDU) from None
    limit = {PduType.P_DATA_TF: MAX_PDU, PduType.ASSOCIATE_RQ: MAX_ASSOCIATE_PDU}.get(known, 4)
    if length > limit:
        raise WireError(f"a PDU of {length} bytes, at most {limit} are taken", AbortReason.INVALID_PARAMETER)
    return known, int(length)


def fragments(body: memoryview) -> Iterator[Fragment]:
    """The presentation data values of one P-DATA-TF.

    Raises:
        WireError: lengths that do not add up.
    """
    if not body:
        raise WireError("a P-DATA-TF without a presentation data value", AbortReason.INVALID_PARAMETER)
    position = 0
    while position < len(body):
        if position + _PDV_HEAD.size > len(body):
            raise WireError("a presentation data value is cut off", AbortReason.INVALID_PARAMETER)
        length, context_id, control = _PDV_HEAD.unpack_from(body, position)
        end = position + 4 + length
        if length < 2 or end > len(body):
            raise WireError(f"a presentation data value of {length} bytes in a PDU of {len(body)}",
                            AbortReason.INVALID_PARAMETER)  # fmt: skip
        yield Fragment(context_id, bool(control & 1), bool(control & 2), body[position + _PDV_HEAD.size : end])
        position = end


def data_pdus(context_id: int, payload: bytes, *, is_command: bool, max_pdu: int) -> bytes:
    """A command or a data set as P-DATA-TF PDUs that a peer takes.

    Args:
        context_id: of the presentation context.
        payload: encoded elements.
        is_command: a command; otherwise a data set.
        max_pdu: longest PDU that the peer takes; 0 is any.
    """
    size = (min(max_pdu, MAX_PDU) if max_pdu else MAX_PDU) - _PDV_HEAD.size
    if size < 1:
        raise WireError(f"the peer takes PDUs of {max_pdu} bytes, no message fits", AbortReason.INVALID_PARAMETER)
    out = bytearray()
    for start in range(0, max(len(payload), 1), size):
        part = payload[start : start + size]
        control = int(is_command) | (2 if start + size >= len(payload) else 0)
        out += struct.pack(">BBLLBB", PduType.P_DATA_TF, 0, len(part) + 6, len(part) + 2, context_id, control)
        out += part
    return bytes(out)


def _timeval(seconds: float) -> bytes:
    """A struct timeval."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


class Wire:
    """Reads and sends PDUs over one established connection.

    Args:
        connection: a connected socket, TLS or not.
        silence_s: how long a whole PDU may take to arrive, and an answer to leave.
    """

    def __init__(self, connection: socket.socket, silence_s: float) -> None:
        self._socket = connection
        self._silence_s = silence_s
        self._buffer = bytearray(HEAD + MAX_PDU)
        self._view = memoryview(self._buffer)
        self._whole = 0
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(silence_s)
        else:
            # The kernel waits for whole PDUs and keeps the time: one call for each, instead of a look and a read for
            # every packet, each of which takes Python's lock from those who work.
            self._whole = socket.MSG_WAITALL
            connection.settimeout(None)
            for side in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, side, _timeval(silence_s))

    def read(self) -> tuple[PduType, memoryview]:
        """The next PDU; its body is valid until the next call.

        Raises:
            WireError: it is none, too long, or not whole in time.
            PeerGoneError: the connection ended.
        """
        deadline = time.monotonic() + self._silence_s
        self._fill(0, HEAD, deadline)
        kind, length = checked_head(self._view[:HEAD])
        if length > MAX_PDU:
            raise WireError("an A-ASSOCIATE-RQ within an association", AbortReason.UNEXPECTED_PDU)
        self._fill(HEAD, HEAD + length, deadline)
        return kind, self._view[HEAD : HEAD + length]

    def _fill(self, start: int, end: int, deadline: float) -> None:
        while start < end:
            try:
                count = self._socket.recv_into(self._view[start:end], 0, self._whole)
            except (TimeoutError, BlockingIOError):
                raise WireError(f"nothing came for {self._silence_s:g} s") from None
            except OSError as error:
                raise PeerGoneError(str(error)) from error
            if not count:
                raise PeerGoneError("closed by the peer")
            start += count
            if start < end and time.monotonic() > deadline:
                raise WireError(f"a PDU was not whole after {self._silence_s:g} s")

    def send(self, data: bytes) -> None:
        """Send whole PDUs at once.

        Raises:
            PeerGoneError: the connection ended, or the peer takes nothing.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise PeerGoneError(str(error)) from error

    def abort(self, reason: AbortReason) -> None:
        """Tell the peer that it is over, as far as it still listens."""
        try:
            self._socket.settimeout(1.0)
            self._socket.sendall(abort_pdu(reason))
        except OSError:
            return  # gone: what was wanted

    def shut(self) -> None:
        """End the connection from another thread: whoever reads from it finds the peer gone."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def linger(self, wait_s: float) -> None:
        """Let the peer close first (PS3.8 9.2.3, state 13), so that a last answer is not lost to a reset."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                if not select.select([self._socket], [], [], left)[0] or not self._socket.recv(65536):
                    return
            except (OSError, ValueError):
                return

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
