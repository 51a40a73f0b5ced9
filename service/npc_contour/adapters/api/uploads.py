"""Uploads under limits: so many at once, and so many bytes that are not kept yet, in all and of one sender.

What is beyond them is answered 503 and posted again later: one sender, or many slow ones, take neither the memory nor
the disk from others. An address that many people share, for it is a proxy's that the site did not name, has no limit of
its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from npc_contour.errors import AutocontourError


class UploadRefusedError(AutocontourError):
    """There are too many uploads, or they hold too much: post again later."""

    retryable = True


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What uploads may take.

    Attributes:
        most: at once, in all.
        most_of_sender: at once, of one sender.
        held_bytes: of instances that are not whole yet, in all: in memory or, where they are large, on disk.
        held_bytes_of_sender: likewise of one sender.
    """

    most: int = 64
    most_of_sender: int = 16
    held_bytes: int = 2**30
    held_bytes_of_sender: int = 2**28


LIMITS = UploadLimits()


@dataclass(slots=True)
class Uploads:
    """All uploads of this process; used by its event loop alone."""

    limits: UploadLimits = LIMITS
    _running: Counter[str] = field(default_factory=Counter)
    _held: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def begin(self, sender: str) -> Iterator[Upload]:
        """Count an upload while the block runs.

        Args:
            sender: its address; "" where that is not known to be its own.

        Raises:
            UploadRefusedError: there are too many.
        """
        if self._running.total() >= self.limits.most:
            raise UploadRefusedError(f"{self.limits.most} uploads run already")
        if sender and self._running[sender] >= self.limits.most_of_sender:
            raise UploadRefusedError(f"{self.limits.most_of_sender} uploads of this address run already")
        self._running[sender] += 1
        upload = Upload(self, sender)
        try:
            yield upload
        finally:
            self._running.subtract([sender])
            self.hold(sender, -upload.held)
            if not self._running[sender]:
                del self._running[sender], self._held[sender]

    def hold(self, sender: str, more: int) -> None:
        """Count bytes that a sender's uploads hold now; raises UploadRefusedError when they are too many."""
        self._held[sender] += more
        if more <= 0:
            return
        if self._held.total() > self.limits.held_bytes:
            raise UploadRefusedError(f"uploads hold more than {self.limits.held_bytes} bytes that are not whole yet")
        if sender and self._held[sender] > self.limits.held_bytes_of_sender:
            raise UploadRefusedError(
                f"uploads of this address hold more than {self.limits.held_bytes_of_sender} bytes that are not whole"
            )


@dataclass(slots=True)
class Upload:
    """One of them.

    Attributes:
        held: bytes of an instance that is not whole yet.
    """

    uploads: Uploads
    sender: str
    held: int = 0

    def holds(self, size: int) -> None:
        """Note how many bytes it holds now; raises UploadRefusedError when there are too many."""
        more, self.held = size - self.held, size
        self.uploads.hold(self.sender, more)
