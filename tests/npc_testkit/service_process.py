"""The whole service as a user starts it, and the command line as a user types it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from npc_contour.cli import local_run
from npc_contour.cli.local_run import Running


def npc_contour(*arguments: str | Path, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run one command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "npc_contour", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=timeout_s,
    )


@contextmanager
def site(folder: Path, *destinations: str, more: str = "", pipelines: Sequence[str] = ()) -> Iterator[Running]:
    """Run the service with the trial settings in a folder of its own while the block runs.

    Args:
        folder: for its site.toml, log and data.
        destinations: TOML, see `local_run.destination_toml`.
        more: further TOML.
        pipelines: to run; none takes those that are on from the start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "site.toml"
    chosen = f"[routing]\npipelines = {list(pipelines)}" if pipelines else "[routing]"
    config.write_text(local_run.SITE.replace("[routing]", chosen) + more + "".join(destinations), encoding="utf-8")
    with local_run.service(config) as running:
        yield running


def wait_for_jobs(
    running: Running, states: Mapping[str, str], *, timeout_s: float = 240.0
) -> dict[str, dict[str, Any]]:
    """Wait until the newest case of each pipeline is in the state wanted; return them by pipeline.

    What is verified was sent.
    """
    deadline_s = time.monotonic() + timeout_s
    jobs: dict[str, dict[str, Any]] = {}
    while time.monotonic() < deadline_s:
        jobs = {job["pipeline"]: job for job in reversed(running.get("/jobs"))}
        found = {pipeline: jobs.get(pipeline, {}).get("state") for pipeline in states}
        if all(found[name] == state or (state, found[name]) == ("sent", "verified") for name, state in states.items()):
            return jobs
        time.sleep(0.5)
    reasons = {name: (job["state"], job["reason"]) for name, job in jobs.items()}
    raise TimeoutError(f"after {timeout_s:g} s the cases are {reasons}, wanted {dict(states)}: see {running.log}")
