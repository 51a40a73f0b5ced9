"""The service and a planning system as child processes on this machine, for the demo, trials and benchmarks.

Each runs as a user would start it, `npc-contour serve` and `npc-contour inbox`, and is ended with the block.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from npc_contour.errors import AutocontourError
from npc_contour.lifetime import with_parent
from npc_contour.settings import read_settings

SITE = """\
# A trial on this machine: free ports, short waits.
[storage]
root = "data"
min_free_mb = 500

[dicom]
port = 0

[web]
port = 0

[completion]
quiet_released_s = 2
quiet_s = 5

[routing]
partner_wait_s = 60

[delivery]
first_retry_s = 1
"""
"""Settings to start from; append `[[destinations]]`, see `destination_toml`."""

START_DEADLINE_S = 600.0
STOP_DEADLINE_S = 60.0
_LOG_TAIL = 3000


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is ready.

    Attributes:
        process: its supervisor.
        log: file with all that it logs.
        triton_url: host:port of Triton's gRPC endpoint.
        triton_metrics_url: of Triton's metrics, which tell how far a network is.
    """

    process: subprocess.Popen[str]
    log: Path
    dicom_port: int
    web_port: int
    triton_url: str = ""
    triton_metrics_url: str = ""

    def get(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        """Return the JSON of a REST path.

        Raises:
            AutocontourError: the service has ended, or answers with an error.
        """
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{self.web_port}{path}", timeout=30, trust_env=False
            ).raise_for_status()
        except httpx.HTTPError as error:
            raise AutocontourError(f"{error}: see {self.log}") from error
        return answer.json()


def destination_toml(name: str, ae_title: str, port: int) -> str:
    """Return the TOML of a destination on this machine."""
    return f'\n[[destinations]]\nname = "{name}"\nae_title = "{ae_title}"\nhost = "127.0.0.1"\nport = {port}\n'


@contextmanager
def planning_system(folder: Path) -> Iterator[int]:
    """Run an inbox that keeps what it is sent in `folder`; yield its port."""
    with _child(["inbox", str(folder)], stdout=subprocess.PIPE) as process:
        first = process.stdout.readline() if process.stdout else ""
        if not first.startswith("listening on"):
            raise AutocontourError(f"the inbox did not start: it said {first!r}")
        yield int(first.split(":")[1].split()[0])


@contextmanager
def service(
    config: Path,
    *,
    timeout_s: float = START_DEADLINE_S,
    progress: Callable[[float], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Running]:
    """Run the service with these settings; its log goes to service.log beside them.

    Args:
        config: a site.toml.
        timeout_s: to become ready.
        progress: told the fraction of readiness checks that are ok.
        pass_fds: open files that it is to hold as long as it runs.

    Raises:
        AutocontourError: it ends, or is not ready in time; with the end of its log.
    """
    log = config.with_name("service.log")
    serve = ["serve", "--config", str(config)]
    with log.open("a", encoding="utf-8") as file, _child(serve, stderr=file, pass_fds=pass_fds) as process:
        runtime_file = read_settings(config).storage.root / "runtime.json"
        yield _wait_until_ready(process, runtime_file, log, timeout_s, progress)


def send(folder: Path, port: int) -> None:
    """Send a folder of DICOM to the service from a process of its own.

    Raises:
        AutocontourError: not everything was stored.
    """
    with _child(["send-test", str(folder), "--to", f"127.0.0.1:{port}"], stdout=subprocess.PIPE) as process:
        said, _ = process.communicate()
    if process.returncode:
        raise AutocontourError(f"sending {folder} failed:\n{said}")


@contextmanager
def _child(command: Sequence[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401 (as Popen)
    process = subprocess.Popen(
        [sys.executable, "-m", "npc_contour", *command],
        text=True,
        preexec_fn=with_parent(signal.SIGTERM),  # noqa: PLW1509 - one call into libc, no locks
        **streams,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(
    process: subprocess.Popen[str],
    runtime_file: Path,
    log: Path,
    timeout_s: float,
    progress: Callable[[float], None] | None,
) -> Running:
    deadline_s = time.monotonic() + timeout_s
    checks: list[dict[str, Any]] = []
    while time.monotonic() < deadline_s and process.poll() is None:
        if runtime_file.exists():
            runtime = json.loads(runtime_file.read_text(encoding="utf-8"))
            running = Running(
                process,
                log,
                int(runtime["dicom_port"]),
                int(runtime["web_port"]),
                runtime["triton_url"],
                runtime["triton_metrics_url"],
            )
            checks = _checks(running)
            # What was read before Triton was up does not say where it is.
            if running.triton_url and checks and all(check["ok"] or not check["required"] for check in checks):
                return running
            if progress is not None and checks:
                progress(sum(bool(check["ok"]) for check in checks) / len(checks))
        time.sleep(0.3)
    why = (
        f"ended with code {process.returncode}" if process.poll() is not None else f"is not ready after {timeout_s:g} s"
    )
    not_ok = "".join(f"\n  {check['name']}: {check['detail']}" for check in checks if not check["ok"])
    tail = log.read_text(encoding="utf-8")[-_LOG_TAIL:]
    raise AutocontourError(f"the service {why}{not_ok}\n{tail}")


def _checks(running: Running) -> list[dict[str, Any]]:
    try:
        answer = httpx.get(f"http://127.0.0.1:{running.web_port}/health/ready", timeout=15, trust_env=False)
    except httpx.TransportError:
        return []
    checks: list[dict[str, Any]] = answer.json()["checks"]
    return checks
