"""Runs one server as a child and takes it down, whatever happens to the process that asked for it.

Run as a script, with the standard library alone: `lifeline.py PIPE SHM_PREFIX GRACE_S FOLDER COMMAND...`. PIPE is the
read end of a pipe whose write end the owner holds: it closes when the owner closes it, dies, or is killed. The server
then gets SIGTERM, after GRACE_S seconds SIGKILL; its whole process group is killed and its shared memory removed.
FOLDER is a temporary one, or empty: it is removed where the owner is gone and cannot do it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory


def remove_shared_memory(prefix: str) -> int:
    """Remove the shared memory whose name begins with `prefix`; return how many regions there were."""
    regions = list(SHARED_MEMORY.glob(f"{prefix}*")) if SHARED_MEMORY.is_dir() else []
    for region in regions:
        region.unlink(missing_ok=True)
    return len(regions)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(pipe: int, prefix: str, grace_s: float, folder: str, command: list[str]) -> int:
    # Taking the signal as a closed pipe leaves one way out. A terminal's Ctrl-C is the owner's to act on.
    wake_read, wake_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake_write, b"."))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # This process has one thread, so running code between fork and exec is safe.
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: PLW1509
    ended = os.pidfd_open(child.pid)
    # A process forked by the owner holds the pipe open as well, so the owner itself is watched too.
    owner = os.pidfd_open(os.getppid())
    try:
        ready, _, _ = select.select([pipe, owner, wake_read, ended], [], [])
        if ended not in ready:
            child.terminate()
            try:
                child.wait(grace_s)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        remove_shared_memory(prefix)
        if folder and select.select([owner], [], [], 0)[0]:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    code = _run(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5:])
    sys.exit(code if code >= 0 else 128 - code)
