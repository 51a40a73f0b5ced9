"""The whole service as a user starts it: `npc-contour serve` in its own process, with a site.toml of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SITE = """
[storage]
root = "data"
min_free_mb = 200
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


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that is ready; `folder` holds its site.toml, log and data."""

    process: subprocess.Popen[str]
    folder: Path
    dicom_port: int
    web_port: int

    def get(self, path: str) -> Any:
        """Return the JSON of a REST path."""
        answer = httpx.get(f"http://127.0.0.1:{self.web_port}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def log(self) -> str:
        """Return all that the service wrote to its log."""
        return (self.folder / "service.log").read_text(encoding="utf-8")

    def wait_for_jobs(self, states: Mapping[str, str], *, timeout_s: float = 240.0) -> dict[str, dict[str, Any]]:
        """Wait until the newest case of each pipeline is in the state wanted; return them by pipeline."""
        deadline_s = time.monotonic() + timeout_s
        jobs: dict[str, dict[str, Any]] = {}
        while time.monotonic() < deadline_s:
            jobs = {job["pipeline"]: job for job in reversed(self.get("/jobs"))}
            if all(jobs.get(pipeline, {}).get("state") == state for pipeline, state in states.items()):
                return jobs
            time.sleep(0.5)
        found = {name: (job["state"], job["reason"]) for name, job in jobs.items()}
        raise TimeoutError(f"after {timeout_s:g} s the cases are {found}, wanted {dict(states)}\n{self.log()[-4000:]}")


def npc_contour(*arguments: str | Path, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run one command line to its end, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "npc_contour", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=timeout_s,
    )


@contextmanager
def service(
    folder: Path, *, destinations: Sequence[Mapping[str, object]], more: str = "", timeout_s: float = 180.0
) -> Iterator[RunningService]:
    """Run the service while the block runs.

    Args:
        folder: for its site.toml, log and data.
        destinations: tables of `[[destinations]]`.
        more: further TOML.
        timeout_s: to become ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = "".join(
        "[[destinations]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for table in destinations
    )
    config = folder / "site.toml"
    config.write_text(SITE + more + tables, encoding="utf-8")
    with (folder / "service.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "npc_contour", "serve", "--config", str(config)], stderr=log, text=True
        )
    try:
        yield _ready(process, folder, timeout_s)
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[str], folder: Path, timeout_s: float) -> RunningService:
    deadline_s = time.monotonic() + timeout_s
    runtime_file = folder / "data" / "runtime.json"
    said = ""
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        if runtime_file.exists():
            runtime = json.loads(runtime_file.read_text(encoding="utf-8"))
            running = RunningService(process, folder, runtime["dicom_port"], runtime["web_port"])
            try:
                answer = httpx.get(f"http://127.0.0.1:{running.web_port}/health/ready", timeout=10)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == httpx.codes.OK:
                return running
            said = answer.text if answer is not None else said
        time.sleep(0.3)
    log = (folder / "service.log").read_text(encoding="utf-8")[-4000:]
    raise TimeoutError(f"the service is not ready (exit code {process.poll()}): {said}\n{log}")
