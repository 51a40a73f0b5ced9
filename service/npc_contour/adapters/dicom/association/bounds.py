"""What a peer that we call may cost us: memory, time and disk.

pynetdicom's requestor (3.0.4) reads whatever length a PDU claims, waits for ever within one, collects a message however
long it grows, and queues messages without end. A PACS is asked by us and still need not be honest, or sane. What is
read from it passes here first; one bound crossed ends the connection, and the error says which.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from npc_contour.adapters.dicom.association.wire import MAX_ASSOCIATE_PDU

_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one association that we open.

    Attributes:
        pdu_bytes: longest PDU; we offer half of it, and an association's acceptance may be longer.
        message_bytes: longest message, as an image that is stored.
        waiting_bytes: of messages that came and are not worked on yet; the peer is held back meanwhile.
        waiting: messages that came and are not worked on yet.
        objects: images that one retrieval may bring.
        whole_s: how long the association may last.
    """

    pdu_bytes: int = MAX_ASSOCIATE_PDU
    message_bytes: int = 256 * _MEBIBYTE
    waiting_bytes: int = 32 * _MEBIBYTE
    waiting: int = 64
    objects: int = 20_000
    whole_s: float = 7200.0


USUAL = Bounds()


class OutOfBoundsError(ConnectionError):
    """The peer crossed a bound; for pynetdicom the connection is lost."""


class Meter:
    """Counts what one peer sends.

    Args:
        bounds: that it keeps to.
        timeout_s: how long one PDU may take to arrive, and how long a full queue may stay so.
    """

    def __init__(self, bounds: Bounds, timeout_s: float) -> None:
        self.bounds = bounds
        self.timeout_s = timeout_s
        self.broken: str | None = None
        self._end = time.monotonic() + bounds.whole_s
        self._message = 0
        self._sizes: deque[int] = deque(maxlen=bounds.waiting)

    def refuse(self, words: str) -> OutOfBoundsError:
        """Note the bound that was crossed, and return the error."""
        self.broken = words
        return OutOfBoundsError(words)

    def expect(self, size: int, queued: Callable[[], int]) -> None:
        """Before `size` bytes are read: wait while too much waits already.

        Args:
            size: as the peer claims.
            queued: how many messages wait.

        Raises:
            OutOfBoundsError: a bound is crossed.
        """
        bounds = self.bounds
        if size > bounds.pdu_bytes:
            raise self.refuse(f"sent a PDU of {size} bytes, at most {bounds.pdu_bytes} are taken")
        self._message += size
        if self._message > bounds.message_bytes:
            raise self.refuse(f"sent a message beyond {bounds.message_bytes} bytes")
        full_until = time.monotonic() + self.timeout_s
        while self._is_full(queued()):
            if time.monotonic() > full_until:
                raise self.refuse("sent messages ahead that nobody asked for")
            time.sleep(0.005)
        if time.monotonic() > self._end:
            raise self.refuse(f"kept the association busy for more than {bounds.whole_s:g} s")

    def message_came(self) -> None:
        """A message is whole: the next one is counted from zero."""
        self._sizes.append(self._message)
        self._message = 0

    def _is_full(self, queued: int) -> bool:
        if queued >= self.bounds.waiting:
            return True
        return queued > 0 and sum(list(self._sizes)[-queued:]) > self.bounds.waiting_bytes
