"""Who runs first where cores are scarce: what answers peers, before what computes.

Being nice is not enough: Linux lets a process that runs finish its turn, a few milliseconds, before one that was just
woken; a receiver is woken several times for each image, by the network, the disk and the database. So those who answer
ask for short turns, and the networks, which only compute, for long ones: whose turn ends sooner goes first (EEVDF; the
kernel takes the wish since 6.12, and groups of processes pass it on since 6.13). Older kernels ignore it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SHORT_TURN_NS = 100_000
LONG_TURN_NS = 100_000_000
"""The shortest and the longest that the kernel grants."""
USUAL_TURN_NS = 0
"""As long as the kernel thinks right."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, for which Python and older C libraries have no function."""
_ATTRIBUTES = struct.Struct("IIQiIQQQ")
"""struct sched_attr, see sched_setattr(2): size, policy, flags, nice, priority, runtime, deadline, period."""
_SCHED_OTHER = 0


def answer_soon() -> None:
    """Let the calling thread, and all that it will start, go before those who compute as soon as it is woken."""
    _ask_for_turns(0, SHORT_TURN_NS)


def give_way(pid: int, nice: int, turn_ns: int = USUAL_TURN_NS) -> None:
    """Lower the priority of a process that leads a session, of all that it has started, and of all that it will start.

    Args:
        pid: of the process.
        nice: added to our own; 0 leaves it as it is.
        turn_ns: how long its turns are to be.
    """
    wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + nice)
    for thread in _threads(pid):
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread, wanted)
            _ask_for_turns(thread, turn_ns)
    # Where the kernel groups each session's processes (sched(7), autogroup), only the group's own value counts. It lets
    # ordinary users set ten a second, all together.
    for _ in range(10):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return
        else:
            return


def compute_only(pid: int, nice: int) -> None:
    """Let a process, as `give_way` does, go after all others, in long turns: it answers nobody while it computes."""
    give_way(pid, nice, LONG_TURN_NS)


def _threads(pid: int) -> Iterator[int]:
    """Every thread of a process and of those that it started: to Linux each has a priority of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield from (thread.id for thread in process.threads())


def _ask_for_turns(pid: int, turn_ns: int) -> None:
    """Ask for turns of this length; a system that does not know them goes on without."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or os.sched_getscheduler(pid) != _SCHED_OTHER:
        return
    nice = os.getpriority(os.PRIO_PROCESS, pid)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, _SCHED_OTHER, 0, nice, 0, turn_ns, 0, 0)
    ctypes.CDLL(None).syscall(number, pid, attributes, 0)
