"""Signs of life of a process: its main loop counts its turns in memory that its supervisor sees.

What counts is the loop that does the process's work: of a worker the one that takes jobs and holds them to their
deadlines, of a receiver the one that lets associations in, of the page the one that answers. A side thread would go on
counting over a dead loop. Memory needs neither the database nor a disk: whatever else is down, a process that turns is
left alone. A call into C that lets other threads run does not stop the loop, however long it takes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping

VARIABLE = "NPC_CONTOUR_PULSE"
NAME_VARIABLE = "NPC_CONTOUR_PROCESS"
_COUNT = 8
"""Bytes of the count."""
LONGEST_LOOK_S = 1.0
"""Time is only counted while somebody looks: a machine that was paused finds nobody guilty when it wakes."""


class Pulse:
    """The process's own end."""

    def __init__(self, memory: mmap.mmap, name: str = "") -> None:
        """Count in shared memory.

        Args:
            memory: at least eight bytes.
            name: of the process among those of its supervisor; "" without one.
        """
        self._memory = memory
        self.name = name

    @classmethod
    def own(cls, environment: Mapping[str, str] = os.environ) -> Pulse:
        """Return the pulse of this process; one that nobody sees where no supervisor started it."""
        descriptor = environment.get(VARIABLE)
        memory = mmap.mmap(-1 if descriptor is None else int(descriptor), _COUNT)
        return cls(memory, environment.get(NAME_VARIABLE, ""))

    @property
    def turns(self) -> int:
        """How often the main loop has turned."""
        return int.from_bytes(self._memory[:_COUNT], "little")

    def beat(self) -> None:
        """Count one turn of the main loop; it never waits."""
        self._memory[:_COUNT] = (self.turns + 1).to_bytes(_COUNT, "little")


class Watched:
    """The supervisor's end: how long there has been no turn."""

    def __init__(self) -> None:
        """Make the memory; one for each process, also when it is started again."""
        self.descriptor = os.memfd_create("npc-contour-pulse")
        os.ftruncate(self.descriptor, _COUNT)
        self._memory = mmap.mmap(self.descriptor, _COUNT)
        self._seen = bytes(_COUNT)
        self._looked_at = 0.0
        self.silent_s = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether the main loop has turned at all: before, the process is still starting."""
        return self._seen != bytes(_COUNT)

    def begin(self, now: float) -> None:
        """Forget the process before; the next one starts now, by the monotonic clock."""
        self._memory[:_COUNT] = self._seen = bytes(_COUNT)
        self._looked_at, self.silent_s = now, 0.0

    def look(self, now: float) -> None:
        """Look whether it has turned since the last look; call often."""
        count = self._memory[:_COUNT]
        self.silent_s = 0.0 if count != self._seen else self.silent_s + min(now - self._looked_at, LONGEST_LOOK_S)
        self._seen, self._looked_at = count, now
