"""Child processes: each is started again when it ends or hangs, with growing pauses; all end with the supervisor."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from npc_contour.app.priority import give_way
from npc_contour.app.pulse import NAME_VARIABLE, VARIABLE, Watched
from npc_contour.lifetime import with_parent
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

BACKOFF_S = (0.2, 1.0, 2.0, 5.0)
"""A process that is killed again and again is still there again within seconds."""
KILLED_PAUSE_S = 0.5
CALM_S = 60.0
"""A process that lived this long before it ended is started again without a pause."""
HUNG_S = 40.0
"""A process whose main loop has not turned for so long hangs: stopped, in a loop without end, or in a call into C that
lets no other thread run. What takes that long in earnest lets the loop turn."""
START_S = 180.0
"""How long it may take until its loop turns for the first time: imports from a slow disk on a busy machine."""
SAY_WHERE_S = 2.0
"""So long before it is killed it is asked to write down where its threads are (see `app.__main__`)."""
SAY_WHERE = signal.SIGUSR2


@dataclass(slots=True)
class Child:
    """One process of the service.

    Attributes:
        name: as logs tell it.
        command: what to run.
        grace_s: how long it may take to end after SIGTERM.
        once: it ends by itself and is not started again.
        nice: added to its priority, for itself and what it starts; more is less urgent. It then takes turns of the
            usual length; None leaves those that the supervisor asked for.
        place: of the supervisor among all, which its connections to the database are named by.
        watched: what its main loop tells of itself; None: it has none, and is only seen to end.
    """

    name: str
    command: Sequence[str]
    grace_s: float = 10.0
    once: bool = False
    nice: int | None = None
    place: str = ""
    watched: Watched | None = None
    _asked_where: bool = field(default=False, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _started: float = field(default=0.0, init=False)
    _failures: int = field(default=0, init=False)
    _again_at: float = field(default=0.0, init=False)
    _done: bool = field(default=False, init=False)

    @property
    def pid(self) -> int | None:
        """Process id; None while it does not run."""
        return self._process.pid if self._process is not None else None

    def keep_running(self) -> None:
        """Start it, or start it again when it has ended; call from the main thread, often."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                self._end_if_hung(self._process, now)
                return
            self._process = None
            if self.once:
                self._done = True
                level = logging.ERROR if code else logging.INFO
                logger.log(level, Event.CHILD_ENDED, extra={"child": self.name, "code": code})
                return
            self._failures = 0 if now - self._started > CALM_S else self._failures + 1
            pause_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
            if code < 0:
                # Killed from outside: no fault of its start. A step that kills it waits by itself.
                pause_s = min(pause_s, KILLED_PAUSE_S)
            self._again_at = now + pause_s
            logger.error(Event.CHILD_ENDED, extra={"child": self.name, "code": code, "again_in_s": pause_s})
        if not self._done and now >= self._again_at:
            self._started = now
            # A session of its own: Ctrl-C at a terminal goes to the supervisor alone, which ends its children in order,
            # and a priority counts against all others.
            self._process = self._start(now)
            if self.nice is not None:
                give_way(self._process.pid, self.nice)
            logger.info(Event.CHILD_STARTED, extra={"child": self.name, "pid": self._process.pid})

    def _start(self, now: float) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PGAPPNAME": connection_name(self.name, self.place)}
        seen: tuple[int, ...] = ()
        if self.watched is not None:
            self.watched.begin(now)
            self._asked_where = False
            seen = (self.watched.descriptor,)
            environment |= {VARIABLE: str(self.watched.descriptor), NAME_VARIABLE: self.name}
        # Whatever kills the supervisor kills it, too, even if it hangs: what it was doing will be done again.
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=with_parent(signal.SIGKILL),  # noqa: PLW1509 - one call into libc, no locks
            pass_fds=seen,
            env=environment,
        )

    def _end_if_hung(self, process: subprocess.Popen[bytes], now: float) -> None:
        if self.watched is None:
            return
        self.watched.look(now)
        limit_s, silent_s = HUNG_S if self.watched.has_begun else START_S, self.watched.silent_s
        if silent_s > limit_s - SAY_WHERE_S and not self._asked_where:
            self._asked_where = True
            process.send_signal(SAY_WHERE)
        if silent_s > limit_s:
            # Its connections to the database go with it, and its claims with them: another goes on with its work.
            logger.error(
                Event.CHILD_HUNG, extra={"child": self.name, "pid": process.pid, "silent_s": round(silent_s, 1)}
            )
            process.kill()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self) -> None:
        """Wait for its end; kill it when its grace is over."""
        if self._process is None:
            return
        try:
            self._process.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            # What it was doing is in the database and will be done again.
            self._process.kill()
            self._process.wait()
        self._process = None


def connection_name(name: str, place: str) -> str:
    """What the connections of a process to the database are called, so that others can end those of one that hangs."""
    return f"npc-contour {name} {place}"
