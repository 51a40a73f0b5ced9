"""What computes gives way to what answers, which asks for short turns."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
            give_way(pid)
            seen.extend((turn_ns(pid), os.getpriority(os.PRIO_PROCESS, pid)))

    thread = threading.Thread(target=supervising)
    thread.start()
    thread.join()

    before, after, nice = seen
    assert before == SHORT_TURN_NS < after < LONG_TURN_NS
    assert nice == 19


@knows_turns
def test_networks_ask_for_long_turns() -> None:
    with sleeping() as pid:
        compute_only(pid)

        assert turn_ns(pid) == LONG_TURN_NS
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19


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
