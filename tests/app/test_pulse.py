"""A process whose main loop does not turn is ended and replaced; one that works for long, or was paused, is not."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from npc_contour.app import processes
from npc_contour.app.processes import Child
from npc_contour.app.pulse import NAME_VARIABLE, VARIABLE, Pulse, Watched
from npc_contour.logs import Event

WORKING = "import faulthandler, signal; faulthandler.register(signal.SIGUSR2)\n"
WORKING += "import time; from npc_contour.app.pulse import Pulse; pulse = Pulse.own(); beat = pulse.beat; beat()\n"
TURNING = "while True: beat(); time.sleep(0.02)\n"
IN_C = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 3_000_000)\n"
"""A second or more in C, in which other threads run."""
HOLDING = "import re; re.match(r'^(\\w+\\s?)+$', 'THORAX_NATIVE_WITHOUT_CONTRAST_5_0_B31f -')\n"
"""A call into C that lets no other thread run, and does not end."""


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setattr(processes, "HUNG_S", 1.0)
    monkeypatch.setattr(processes, "SAY_WHERE_S", 0.5)


def watched(code: str) -> Child:
    return Child("worker-0", [sys.executable, "-c", WORKING + code], place="here", watched=Watched())


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        if child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)
        child.wait()


def look_until(child: Child, pid: int | None, timeout_s: float) -> bool:
    """Whether another process has taken the place of `pid` in time."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        child.keep_running()
        if child.pid not in {None, pid}:
            return True
        time.sleep(0.02)
    return False


def begun(child: Child) -> int:
    child.keep_running()
    deadline_s = time.monotonic() + 60
    while child.watched is not None and not child.watched.has_begun:
        assert time.monotonic() < deadline_s
        child.keep_running()
        time.sleep(0.02)
    assert child.pid is not None
    return child.pid


@pytest.mark.parametrize("how", ["stopped", "loop without end", "call into C that lets nobody run"])
def test_a_process_that_hangs_is_ended_and_replaced(
    how: str, children: list[Child], caplog: pytest.LogCaptureFixture
) -> None:
    endless = {"stopped": TURNING, "loop without end": "while True: pass\n"}.get(
        how, "import threading; threading.Thread(target=lambda: [beat() or time.sleep(0.02) for _ in range(9999)],"
        " daemon=True).start()\n" + HOLDING
    )  # fmt: skip
    child = watched(endless)
    children.append(child)
    pid = begun(child)
    if how == "stopped":
        os.kill(pid, signal.SIGSTOP)

    assert look_until(child, pid, 20)
    # Its successor hangs as well, and may be found so before we look.
    hung = next(vars(record) for record in caplog.records if record.getMessage() == Event.CHILD_HUNG)
    assert (hung["child"], hung["pid"]) == ("worker-0", pid)
    assert hung["silent_s"] >= 1.0


def test_long_work_in_a_thread_that_lets_the_loop_turn_is_left_alone(children: list[Child]) -> None:
    work = f"import threading; threading.Thread(target=exec, args=({IN_C * 4!r},), daemon=True).start()\n"
    child = watched(work + TURNING)
    children.append(child)

    assert not look_until(child, begun(child), 4)


def test_a_supervisor_that_was_stopped_itself_finds_nobody_guilty() -> None:
    pulse = Watched()
    own = Pulse.own({VARIABLE: str(pulse.descriptor), NAME_VARIABLE: "web"})
    pulse.begin(0.0)
    own.beat()
    pulse.look(1.0)
    assert (pulse.has_begun, pulse.silent_s, own.name) == (True, 0.0, "web")

    pulse.look(1000.0)
    assert pulse.silent_s <= 1.0
    for second in range(1001, 1005):
        pulse.look(second)
    assert pulse.silent_s == 5.0
    own.beat()
    pulse.look(1005.0)
    assert pulse.silent_s == 0.0


def test_a_process_that_still_starts_has_more_time(children: list[Child]) -> None:
    child = Child("slow", [sys.executable, "-c", "import time; time.sleep(60)"], watched=Watched())
    children.append(child)
    child.keep_running()

    assert not look_until(child, child.pid, 2.5)


def test_without_a_supervisor_nobody_looks_and_nothing_breaks() -> None:
    alone = Pulse.own({})
    alone.beat()

    assert (alone.turns, alone.name) == (1, "")
