"""The service under kill -9 of each of its parts while a patient is under way: the structure sets arrive all the same.

Real PostgreSQL, real Triton, a real DICOM node; the supervisor itself is killed last, and nothing may outlive it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from npc_contour.cli import local_run
from npc_contour.errors import AutocontourError
from npc_testkit.phantom_files import phantom_folder
from npc_testkit.service_process import site, wait_for_jobs

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]
BOTH_SENT = {"npc_oar_gtv": "sent", "ln_ctv": "sent"}
PARTS = (
    ("npc_contour.app receiver",),
    ("bin/tritonserver", "--model-repository"),
    ("npc_contour.app worker",),
    ("postgres", "-D"),
)


@pytest.fixture(scope="module")
def patient() -> Path:
    return phantom_folder("--seed", "5", "--slice-spacing", "5", "--slices", "60", "--matrix", "512")


def descendants(pid: int, *words: str) -> list[psutil.Process]:
    """The processes below one whose command line has all these words."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if all(word in command for word in words):
            found.append(process)
    return found


def kill_one(running: local_run.Running, *words: str) -> None:
    """Kill -9 the part with these words in its command line, and wait for its end."""
    victims = descendants(running.process.pid, *words)
    assert victims, f"no process {words} below the service"
    victims[0].send_signal(signal.SIGKILL)
    wait_until(lambda: not victims[0].is_running() or victims[0].status() == psutil.STATUS_ZOMBIE)


def states(running: local_run.Running) -> dict[str, str]:
    """The state of each pipeline's case; nothing while REST answers 503 because the database restarts."""
    try:
        return {job["pipeline"]: job["state"] for job in running.get("/jobs")}
    except AutocontourError:
        return {}


def wait_until(what: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s"
        time.sleep(0.2)


def test_parts_killed_while_a_case_is_under_way_delay_it_only(patient: Path, tmp_path: Path) -> None:
    with local_run.planning_system(tmp_path / "tps") as port:
        destination = local_run.destination_toml("tps", "TPS", port)
        with site(tmp_path / "site", destination) as running:
            local_run.send(patient, running.dicom_port)
            wait_until(lambda: any(job["state"] == "routed" for job in running.get("/jobs")))
            for words in PARTS:
                time.sleep(1.0)
                kill_one(running, *words)
            wait_until(lambda: states(running) == BOTH_SENT, 300)
            # The peer may be handed the same object twice; it is one object.
            assert len({path.stem for path in (tmp_path / "tps").glob("RS.*.dcm")}) == 2


def test_a_supervisor_that_is_killed_takes_everything_down_and_the_next_one_finishes_the_work(
    patient: Path, tmp_path: Path
) -> None:
    with local_run.planning_system(tmp_path / "tps") as port:
        destination = local_run.destination_toml("tps", "TPS", port)
        with site(tmp_path / "site", destination) as running:
            local_run.send(patient, running.dicom_port)
            wait_until(lambda: any(job["state"] == "routed" for job in running.get("/jobs")))
            family = psutil.Process(running.process.pid).children(recursive=True)
            os.kill(running.process.pid, signal.SIGKILL)
            _, left = psutil.wait_procs(family, timeout=30)
            assert [process.cmdline() for process in left] == []
        with site(tmp_path / "site", destination) as running:
            wait_for_jobs(running, BOTH_SENT)
            case_details = [running.get(f"/jobs/{job['case_id']}") for job in running.get("/jobs")]
            assert len(case_details) == 2
        assert json.dumps(case_details).count('"generation": 1') >= 2
