"""System shared memory that a Triton on this host reads and writes.

A region is a file below /dev/shm. Its name is removed as soon as the server has mapped it, so that nothing can be left
there whatever dies; the memory goes when the last of the two lets it go.
"""

from __future__ import annotations

import mmap
import os
import re
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from npc_contour.lifetime import pid_namespace

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
NAME_PREFIX = "npc_contour."

kept: set[str] = set()
"""Regions of this process that a server would not let go yet: whichever client calls next asks again."""


class Region:
    """A named piece of shared memory of this process."""

    def __init__(self, size: int) -> None:
        """Make a region of `size` bytes.

        Raises:
            OSError: there is no shared memory or not enough.
        """
        self.name = f"{NAME_PREFIX}{pid_namespace()}.{os.getpid()}.{uuid.uuid4().hex}"
        self.size = size
        path = SHARED_MEMORY / self.name
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Without the reservation a full /dev/shm shows as SIGBUS in whoever writes first.
            os.posix_fallocate(descriptor, 0, size)
            self.memory = mmap.mmap(descriptor, size)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)

    @property
    def key(self) -> str:
        """What shm_open takes."""
        return f"/{self.name}"

    def unlink(self) -> None:
        """Remove the name; who has mapped the memory keeps it."""
        (SHARED_MEMORY / self.name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unlink()
        self.memory.close()


def owner_pid(name: str) -> int | None:
    """Return the process that made the region of this name; None when it is none of this container's."""
    found = re.fullmatch(rf"{re.escape(NAME_PREFIX)}(\d+)\.(\d+)\.\w+", name)
    return int(found[2]) if found and int(found[1]) == pid_namespace() else None
