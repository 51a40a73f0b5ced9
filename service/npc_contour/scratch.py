"""Temporary folders that go with the process that made them: at its end or, where it was killed, at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "npc-contour-"
OWNED = ".owned"
"""The file in a folder that its owner holds a lock on: a lock ends with its owner, in whichever container that ran."""
OTHERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - where TMPDIR is of no use for what is wanted


class Scratch:
    """One temporary folder, only for us."""

    def __init__(
        self, suits: Callable[[Path], bool] = lambda _: True, wanted: str = "a folder for temporary files"
    ) -> None:
        """Make it in TMPDIR or, where that does not suit, in another usual place.

        Args:
            suits: whether a new folder does.
            wanted: what it is to be, in words.

        Raises:
            OSError: there is no such place; the message says which were tried.
        """
        places = tuple(dict.fromkeys((tempfile.gettempdir(), *OTHERS)))
        for place in places:
            with contextlib.suppress(OSError):
                _remove_abandoned(Path(place))
                if self._made_in(place, suits):
                    return
        raise OSError(f"{wanted} is needed, and neither of {', '.join(places)} is: let TMPDIR name one")

    def _made_in(self, place: str, suits: Callable[[Path], bool]) -> bool:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)).resolve()
        self._lock = (self.path / OWNED).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if suits(self.path):
            return True
        self.close()
        return False

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _remove_abandoned(place: Path) -> None:
    """Remove the folders whose owners are gone."""
    for lock in place.glob(f"{PREFIX}*/{OWNED}"):
        # Those of other users cannot be opened.
        with contextlib.suppress(OSError), lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
