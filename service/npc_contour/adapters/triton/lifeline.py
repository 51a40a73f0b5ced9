"""Runs one server as a child and takes it down, whatever happens to the process that asked for it.

Run as a script, with the standard library alone: `lifeline.py OWNER PIPE SHM_PREFIX GRACE_S FOLDER COMMAND...`. OWNER
is the process that asked; PIPE the read end of a pipe that it holds, which closes when the owner closes it, dies, or is
killed. The server then gets SIGTERM, after GRACE_S seconds SIGKILL; its whole process group is killed and its shared
memory removed. FOLDER is a temporary one, or empty: it is removed where the owner is gone and cannot do it.
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
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory

TEMPORARY = Path("/tmp")  # noqa: S108 - where the server's Python backend makes a folder, whatever TMPDIR says
PROCESSES = Path("/proc")
SERVER = "tritonserver"
STARTING_S = 120.0
"""A server makes its folder in the first seconds of its start; on a machine that is very busy, later."""
CLOCKS_DIFFER_S = 2.0


def remove_left_folders(temporary: Path = TEMPORARY, processes: Path = PROCESSES) -> None:
    """Remove the empty folders that the Python backend of servers that were killed left.

    Nothing says whose a folder is: one made while a server that still runs may have been starting is left alone.
    """
    starts = _server_starts_s(processes)
    for folder in temporary.glob("python_env_??????"):
        # Another user's, in use, or gone meanwhile.
        with contextlib.suppress(OSError):
            seen = folder.stat()
            ages = [seen.st_mtime - start for start in starts]
            if seen.st_uid == os.getuid() and not any(-CLOCKS_DIFFER_S <= age <= STARTING_S for age in ages):
                folder.rmdir()


def _server_starts_s(processes: Path) -> list[float]:
    """Return when each server that runs was started, in seconds since the epoch."""
    booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    starts = []
    for entry in processes.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, fields = (entry / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
            if name == SERVER:
                # proc_pid_stat(5): starttime is field 22, in ticks since boot; the name is field 2.
                starts.append(booted_s + int(fields.split()[19]) / os.sysconf("SC_CLK_TCK"))
    return starts


def remove_shared_memory(prefix: str) -> int:
    """Remove the shared memory whose name begins with `prefix`; return how many regions there were."""
    regions = list(SHARED_MEMORY.glob(f"{prefix}*")) if SHARED_MEMORY.is_dir() else []
    for region in regions:
        region.unlink(missing_ok=True)
    return len(regions)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(owner: int, pipe: int, prefix: str, grace_s: float, folder: str, command: list[str]) -> int:
    # Taking the signal as a closed pipe leaves one way out. A terminal's Ctrl-C is the owner's to act on.
    wake_read, wake_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake_write, b"."))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # This process has one thread, so running code between fork and exec is safe.
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: PLW1509
    ended = os.pidfd_open(child.pid)
    # A process forked by the owner holds the pipe open as well, so the owner itself is watched too.
    parent = os.pidfd_open(os.getppid())
    if os.getppid() != owner:  # it was gone before it could be watched
        os.write(wake_write, b".")
    try:
        ready, _, _ = select.select([pipe, parent, wake_read, ended], [], [])
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
        remove_left_folders()
        if folder and os.getppid() != owner:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    code = _run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), sys.argv[5], sys.argv[6:])
    sys.exit(code if code >= 0 else 128 - code)
