"""Peers and validators that nobody here wrote (DCMTK, dicom3tools, plastimatch, Orthanc, nnU-Net)."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ORTHANC_FOLDERS = "/usr/sbin:/usr/local/sbin"
"""Debian installs Orthanc and other daemons here, which is not on a user's PATH."""

PORTS = range(20_000, 30_000)
"""Below those that Linux gives to connections."""


def require_tool(name: str) -> str:
    """Return the path of a system tool, for example `storescu`.

    Without it the test is skipped on a developer's machine and fails in CI (environment variable CI set): a
    suite that silently leaves out its foreign peers proves nothing.
    """
    # Not those of an activated virtual environment: pynetdicom installs programs of DCMTK's names there.
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    foreign = [folder for folder in folders if folder != str(Path(sys.executable).parent)]
    path = shutil.which(name, path=os.pathsep.join([*foreign, ORTHANC_FOLDERS]))
    if path is not None:
        return path
    message = f"{name} is not installed: install with: make system-packages"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def require_package(name: str) -> None:
    """Go on only where a package of `make setup-dev` is there; absent as `require_tool` says."""
    if importlib.util.find_spec(name) is not None:
        return
    message = f"{name} is not installed: install with: make setup-dev"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def require_postgres() -> Path:
    """Return the folder of Debian's PostgreSQL programs; absent as `require_tool` says."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(require_tool("initdb")).parent


def require_foreign_python() -> Path:
    """Return the Python that has dcmrtstruct2nii, which needs an older pydicom; absent as `require_tool` says."""
    path = Path(__file__).parents[2] / ".venv-readers" / "bin" / "python"
    if path.is_file():
        return path
    message = "dcmrtstruct2nii is not installed: install with: make foreign-readers"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def require_nnunet_python() -> Path:
    """Return the Python of the environment with the real nnU-Net, versions 1 and 2; absent as `require_tool` says."""
    path = Path(__file__).parents[2] / ".venv-nnunet" / "bin" / "python"
    if (path.parent / "nnUNet_predict").is_file():
        return path
    message = "nnU-Net is not installed: install with: make nnunet-peers"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def peer_environment() -> dict[str, str]:
    """Environment for DCMTK and Orthanc processes.

    Debian's DCMTK leaves Nagle's algorithm on unless TCP_NODELAY=1: each store then waits 40 ms for a delayed ACK.
    """
    return {**os.environ, "TCP_NODELAY": "1", "LC_ALL": "C.UTF-8"}


def run_tool(name: str, *arguments: str | Path, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a system tool to its end; output is decoded text, the return code is the caller's to judge."""
    return subprocess.run(
        [require_tool(name), *map(str, arguments)],
        capture_output=True,
        check=False,
        env=peer_environment(),
        errors="replace",
        text=True,
        timeout=timeout_s,
    )


def start_tool(name: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a system tool; the caller waits for it or ends it."""
    return subprocess.Popen(
        [require_tool(name), *map(str, arguments)],
        env=peer_environment(),
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, for peers that cannot choose one themselves.

    It is none that the system gives to others by itself, such as to a connection of a test that runs beside this one.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"none of 100 ports from {PORTS[0]} to {PORTS[-1]} is free")


def wait_for_port(port: int, *, timeout_s: float = 20.0) -> None:
    """Return once something listens on 127.0.0.1:port.

    Raises:
        TimeoutError: nothing does in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on 127.0.0.1:{port} after {timeout_s:g} s")


@contextmanager
def storescp(folder: Path, *, ae_title: str = "TPS", options: Sequence[str] = (), port: int = 0) -> Iterator[int]:
    """Run DCMTK's storescp as the destination while the block runs.

    Args:
        folder: where it writes what it receives.
        ae_title: what it calls itself.
        options: further options, for example `--refuse`.
        port: 0 takes a free one.

    Yields:
        Its port on 127.0.0.1.
    """
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    # Its output goes into a pipe that nobody empties: a warning per image would fill it and stop the program.
    process = start_tool("storescp", "-q", *options, "-aet", ae_title, "-od", folder, str(port))
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)
