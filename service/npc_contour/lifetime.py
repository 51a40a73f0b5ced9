"""Children end with the process that started them, whatever ends it; and a process ends in order when it is told to."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What asks a program to end: a supervisor, the end of its terminal; Ctrl-C is Python's own to raise."""
_prctl = ctypes.CDLL(None).prctl
"""Found before any fork: a child of a process with threads may only make the call."""


def pid_namespace() -> int:
    """Return which namespace our process ids belong to: in another container the same number is another process."""
    return Path("/proc/self/ns/pid").stat().st_ino


def with_parent(number: signal.Signals) -> Callable[[], None]:
    """Return what a child runs first (`preexec_fn`), so that the kernel sends it this signal when its parent ends.

    The parent is the thread that starts it: start it from one that lives as long as the child should.
    """
    parent = os.getpid()

    def tie() -> None:
        _prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return tie


def asked_to_end() -> threading.Event:
    """Return what is set when this process is asked to end; call from the main thread.

    Whoever started it so that it outlives its terminal (nohup) has his way.
    """
    asked = threading.Event()
    for number in (*ENDINGS, signal.SIGINT):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: asked.set())
    return asked


def leave_when_told() -> None:
    """Let SIGTERM and SIGHUP unwind this process: what it opened is closed and removed; call from the main thread."""

    def leave(number: int, _: object) -> None:
        for told in ENDINGS:
            signal.signal(told, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
