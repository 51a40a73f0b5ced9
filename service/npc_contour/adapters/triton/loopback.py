"""What the embedded server asks of the machine it runs on: ports, answers, processes, shared memory."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from npc_contour.adapters.triton import lifeline
from npc_contour.errors import EmbeddedServerError
from npc_contour.lifetime import pid_namespace

HOST = "127.0.0.1"
REGION_PREFIX = "npc_triton_"
SHARED_MEMORY_MB = 512
"""What two series of 512 x 512 x 150 voxels and their label maps take, and as much again for larger ones."""
_PREFIX = re.compile(rf"({REGION_PREFIX}(\d+)_(\d{{1,7}})_)")
"""Linux has no process number of more than seven digits."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks a URL without the proxy that the environment may name."""


def prefix_of(owner: int) -> str:
    """Return how the names of a server's shared memory begin: with its owner, in whose own namespace of processes."""
    return f"{REGION_PREFIX}{pid_namespace()}_{owner}_"


def _is_stale(prefix: re.Match[str]) -> bool:
    return int(prefix[2]) == pid_namespace() and not psutil.pid_exists(int(prefix[3]))


def refuse_small_shared_memory(folder: Path = lifeline.SHARED_MEMORY, needed_mb: int = SHARED_MEMORY_MB) -> None:
    """Return when there is enough shared memory for a pair of series and what is made of it.

    Raises:
        EmbeddedServerError: there is less free, or none; with the remedy.
    """
    free_mb = shutil.disk_usage(folder).free // 2**20 if folder.is_dir() else 0
    if free_mb < needed_mb:
        raise EmbeddedServerError(
            f"{folder} has {free_mb} MiB free, the networks need {needed_mb} MiB of shared memory: "
            f"in a container --shm-size 2g, else as root mount -o remount,size=2g {folder}"
        )


def has_dead_child(pid: int) -> bool:
    """Whether a child of this process has ended and was not taken note of."""
    try:
        return any(child.status() == psutil.STATUS_ZOMBIE for child in psutil.Process(pid).children())
    except psutil.NoSuchProcess:
        return False


def free_ports() -> tuple[int, int]:
    """Return two different ports that nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((HOST, 0))
        second.bind((HOST, 0))
        return int(first.getsockname()[1]), int(second.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a GET of a URL on this host is answered with 200."""
    try:
        with DIRECT.open(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def end_processes(prefix: str) -> None:
    """Kill the processes that a server left behind: each names the prefix of its shared memory on its command line.

    A network's process may wait for its server for ever, with the network in memory, when both the server and the
    lifeline are killed.
    """
    for process in psutil.process_iter(["cmdline"]):
        if any(argument.startswith(prefix) or f"={prefix}" in argument for argument in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()


def end_stale_processes() -> None:
    """Kill what servers of processes that are gone left running; those of other containers are theirs."""
    for process in psutil.process_iter(["cmdline"]):
        for prefix in _PREFIX.finditer(" ".join(process.info["cmdline"] or ())):
            if _is_stale(prefix):
                end_processes(prefix[1])


def remove_stale_regions() -> None:
    """Remove what servers of processes that are gone left in shared memory."""
    if not lifeline.SHARED_MEMORY.is_dir():
        return
    for region in lifeline.SHARED_MEMORY.glob(f"{REGION_PREFIX}*"):
        prefix = _PREFIX.match(region.name)
        if prefix and _is_stale(prefix):
            region.unlink(missing_ok=True)
