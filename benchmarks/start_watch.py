"""Runs one command as a user would, and sees what it leaves behind: processes, files in TMPDIR, shared memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "NPC_START_CASE"
"""Environment variable by which a command's descendants are known, whoever their parent is now."""
GRACE_S = 10.0
REGION = re.compile(r"npc_triton_\d+_(\d+)_")
"""Namespace of processes, and the process that owns it."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at only


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit status; 124 when it ran past its limit.
        output: what it wrote, both streams in one.
        processes: command lines that still ran seconds after it had ended.
        files: what it left in TMPDIR, and in shared memory.
        killed: it was sent the signal that it was to be sent.
    """

    code: int
    output: str
    seconds: float
    processes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    killed: bool = False


def watched(
    command: Sequence[str | Path],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float = 900.0,
    kill: signal.Signals | None = None,
) -> Ended:
    """Run a command and look at what it leaves.

    Args:
        command: program and arguments.
        folder: to run in.
        environment: added to this process's; TMPDIR is a new folder unless given.
        limit_s: it is killed then.
        kill: once its Triton runs it, and it alone, is sent this signal.
    """
    before = set(_names(SHARED_MEMORY))
    with tempfile.TemporaryDirectory(prefix="start-") as scratch:
        temporary = Path(scratch) / "tmp"
        temporary.mkdir(mode=0o1777)
        temporary.chmod(0o1777)
        Path(scratch).chmod(0o755)
        mark = f"{MARK}={scratch}"
        given = {"TMPDIR": str(temporary), **(environment or {}), MARK: scratch}
        started = time.monotonic()
        with (Path(scratch) / "output").open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **given},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            killed = kill is not None and _comes_to_run_triton(process, mark, limit_s)
            if killed and kill is not None:
                process.send_signal(kill)
            code = _wait(process, limit_s)
        seconds = time.monotonic() - started
        processes = _left(mark)
        regions = [name for name in set(_names(SHARED_MEMORY)) - before if _is_nobodys(name)]
        files = [*_names(temporary), *(f"shm:{name}" for name in regions)]
        output = (Path(scratch) / "output").read_text(encoding="utf-8", errors="replace")
    return Ended(code, output, seconds, tuple(processes), tuple(files), killed)


def _comes_to_run_triton(process: subprocess.Popen[bytes], mark: str, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while process.poll() is None and time.monotonic() < deadline:
        if any("tritonserver" in line for line in _marked(mark).values()):
            return True
        time.sleep(0.2)
    return False


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 124


def _left(mark: str) -> list[str]:
    """Return the processes with this mark that do not end by themselves; they are killed."""
    deadline = time.monotonic() + GRACE_S
    while (found := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return list(found.values())


def _marked(mark: str) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def _is_nobodys(region: str) -> bool:
    """Whether shared memory of the product belongs to no process that runs: other services may run beside the case."""
    named = REGION.match(region)
    return named is not None and not Path(f"/proc/{named[1]}").exists()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
