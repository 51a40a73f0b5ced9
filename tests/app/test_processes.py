"""Children are started again when they end, whatever their exit code, and none outlives the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from npc_contour.app.processes import KILLED_PAUSE_S, Child

SUPERVISOR = """
import sys, time
from npc_contour.app.processes import Child
child = Child("hangs", [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
child.keep_running()
print(child.pid, flush=True)
time.sleep(60)
"""


def keep_running_until(child: Child, what: str, timeout_s: float = 20.0) -> int:
    deadline_s = time.monotonic() + timeout_s
    before = child.pid
    while time.monotonic() < deadline_s:
        child.keep_running()
        if child.pid is not None and child.pid != before:
            return child.pid
        time.sleep(0.02)
    pytest.fail(f"not within {timeout_s:g} s: {what}")


@pytest.mark.parametrize("code", [0, 1])
def test_a_child_that_ends_is_started_again_even_with_exit_code_0(code: int) -> None:
    child = Child("short", [sys.executable, "-c", f"raise SystemExit({code})"])
    first = keep_running_until(child, "the first start")
    assert keep_running_until(child, "the second start") != first
    child.terminate()
    child.wait()
    assert child.pid is None


@pytest.mark.parametrize("ending", ["killed", "ends by itself"])
def test_only_a_child_that_ends_by_itself_again_and_again_waits_longer_each_time(
    caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    code = "import os; os.kill(os.getpid(), 9)" if ending == "killed" else "raise SystemExit(1)"
    child = Child("short-lived", [sys.executable, "-c", code])
    for number in range(4):
        keep_running_until(child, f"start {number}")
    child.wait()

    pauses = [vars(record)["again_in_s"] for record in caplog.records if "again_in_s" in vars(record)]
    assert len(pauses) >= 3
    assert (max(pauses) <= KILLED_PAUSE_S) == (ending == "killed")


def test_a_terminals_ctrl_c_reaches_the_supervisor_alone() -> None:
    child = Child("grouped", [sys.executable, "-c", "import time; time.sleep(60)"])
    pid = keep_running_until(child, "the start")

    assert os.getpgid(pid) == pid != os.getpgrp()

    child.terminate()
    child.wait()


def test_what_computes_gives_way_to_all_others_not_only_to_those_of_its_session() -> None:
    child = Child("calm", [sys.executable, "-c", "import time; time.sleep(60)"], nice=10)
    pid = keep_running_until(child, "the start")

    assert os.getsid(pid) == pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    group = Path(f"/proc/{pid}/autogroup")
    assert not group.exists() or group.read_text().split()[-1] == "10"

    child.terminate()
    child.wait()


def test_a_child_that_is_to_run_once_is_not(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    child = Child("once", [sys.executable, "-c", f"open({str(mark)!r}, 'a').write('x')"], once=True)
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s and not (mark.exists() and child.pid is None):
        child.keep_running()
        time.sleep(0.02)
    for _ in range(20):
        child.keep_running()
        time.sleep(0.02)
    assert mark.read_text() == "x"
    assert child.pid is None


def test_a_child_that_does_not_end_is_killed() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    )
    child = Child("stubborn", [sys.executable, "-c", stubborn], grace_s=0.5)
    child.keep_running()
    time.sleep(0.5)
    started = time.monotonic()
    child.terminate()
    child.wait()
    assert time.monotonic() - started < 10


def test_even_a_child_that_hangs_ends_when_its_supervisor_is_killed() -> None:
    roots = os.pathsep.join(path for path in sys.path if path)
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": roots},
    )
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    deadline_s = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
