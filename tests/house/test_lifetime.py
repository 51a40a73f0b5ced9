"""Children end with the process that started them, and a process that is told to end unwinds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PARENT = """
import signal, subprocess, sys, time
from npc_contour.lifetime import with_parent
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], preexec_fn=with_parent(signal.SIGTERM)
)
print(child.pid, flush=True)
time.sleep(60)
"""
UNWINDING = """
import sys, time
from pathlib import Path
from npc_contour.lifetime import leave_when_told
leave_when_told()
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    Path(sys.argv[1]).write_text("closed")
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_child_ends_with_its_parent_whatever_ends_it(ending: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(ending)
        parent.wait(20)

        assert psutil.wait_procs([child], timeout=20)[1] == []


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_told_to_end_closes_what_it_opened(tmp_path: Path, told: signal.Signals) -> None:
    mark = tmp_path / "mark"
    with subprocess.Popen([sys.executable, "-c", UNWINDING, str(mark)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(told)

        assert process.wait(20) == 128 + told
    assert mark.read_text() == "closed"


def test_nohup_is_respected(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = ["nohup", sys.executable, "-c", UNWINDING, str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 128 + signal.SIGTERM
