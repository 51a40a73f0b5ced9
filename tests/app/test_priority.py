"""What computes gives way to what answers, which asks for short turns."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from npc_contour.app.priority import LONG_TURN_NS, SHORT_TURN_NS, answer_soon, compute_only, give_way

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
KERNEL = tuple(int(part) for part in platform.release().split(".")[:2])
knows_turns = pytest.mark.skipif(
    KERNEL < (6, 12) or platform.machine() not in SCHED_GETATTR, reason="Linux 6.12 and later take the length of a turn"
)


@contextmanager
def sleeping() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def turn_ns(pid: int) -> int:
    attributes = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(SCHED_GETATTR[platform.machine()], pid, attributes, len(attributes), 0) == 0
    return int(struct.unpack("IIQiIQQQ", attributes.raw)[5])


@knows_turns
def test_what_computes_does_not_ask_for_short_turns_as_the_one_that_started_it_did() -> None:
    seen: list[int] = []

    def supervising() -> None:
        answer_soon()
        with sleeping() as pid:
            seen.append(turn_ns(pid))
            give_way(pid, 10)
            seen.extend((turn_ns(pid), os.getpriority(os.PRIO_PROCESS, pid)))

    thread = threading.Thread(target=supervising)
    thread.start()
    thread.join()

    before, after, nice = seen
    assert before == SHORT_TURN_NS < after < LONG_TURN_NS
    assert nice == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


@knows_turns
def test_networks_ask_for_long_turns() -> None:
    with sleeping() as pid:
        compute_only(pid, 10)

        assert turn_ns(pid) == LONG_TURN_NS
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


def test_what_a_server_has_started_gives_way_with_it() -> None:
    code = (
        "import subprocess, sys, threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start();"
    )
    code += " child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as server:
        try:
            assert server.stdout is not None
            child = int(server.stdout.readline())
            give_way(server.pid, 7)

            wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)
            threads = [int(task.name) for task in Path(f"/proc/{server.pid}/task").iterdir()]
            assert len(threads) == 2
            assert {os.getpriority(os.PRIO_PROCESS, one) for one in (*threads, child)} == {wanted}
        finally:
            os.killpg(server.pid, signal.SIGKILL)


@knows_turns
def test_what_answers_asks_for_short_turns_and_hands_the_wish_on() -> None:
    seen: list[int] = []

    def answering() -> None:
        answer_soon()
        seen.append(turn_ns(0))
        with sleeping() as pid:
            seen.append(turn_ns(pid))

    thread = threading.Thread(target=answering)
    thread.start()
    thread.join()

    assert seen == [SHORT_TURN_NS, SHORT_TURN_NS]
