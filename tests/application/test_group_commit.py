"""One piece of work serves all who wait; each gets its own result, and an error reaches those whom it concerns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from npc_contour.application.group_commit import GroupCommit


class Slow:
    """Doubles numbers; its first call waits until it is let go, so that others gather behind it."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def work(self, items: Sequence[int], meanwhile: Callable[[], None]) -> list[int]:
        self.calls.append(list(items))
        meanwhile()
        self.begun.set()
        assert self.go_on.wait(10)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


def test_alone_one_call_serves_one() -> None:
    slow = Slow()
    slow.go_on.set()

    assert GroupCommit(slow.work).run(21) == 42
    assert slow.calls == [[21]]


def test_who_waits_meanwhile_is_served_together() -> None:
    slow = Slow()
    group = GroupCommit(slow.work)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(group.run, 0)
        assert slow.begun.wait(10)
        others = [pool.submit(group.run, number) for number in range(1, 6)]
        while len(group._queue) < 5:
            threading.Event().wait(0.01)
        slow.go_on.set()
        assert first.result() == 0
        assert [other.result() for other in others] == [2, 4, 6, 8, 10]

    assert sorted(map(len, slow.calls)) == [1, 5]


def test_no_call_has_more_than_the_limit() -> None:
    slow = Slow()
    group = GroupCommit(slow.work, at_once=2)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(group.run, 0)]
        assert slow.begun.wait(10)
        running += [pool.submit(group.run, number) for number in range(1, 6)]
        while len(group._queue) < 5:
            threading.Event().wait(0.01)
        slow.go_on.set()
        assert [one.result() for one in running] == [0, 2, 4, 6, 8, 10]

    assert max(map(len, slow.calls)) <= 3


def test_an_error_reaches_everybody_in_its_call_and_the_next_goes_on() -> None:
    slow = Slow()
    slow.go_on.set()
    group = GroupCommit(slow.work)

    with pytest.raises(ValueError, match="thirteen"):
        group.run(13)
    assert group.run(1) == 2


def test_each_does_its_own_meanwhile_once_and_before_it_returns() -> None:
    slow = Slow()
    group = GroupCommit(slow.work)
    done: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(group.run, 0, partial(done.append, 0))]
        assert slow.begun.wait(10)
        running += [pool.submit(group.run, number, partial(done.append, number)) for number in range(1, 6)]
        while len(done) < 6:  # nobody needs to wait for the call under way to do its own
            threading.Event().wait(0.01)
        slow.go_on.set()
        assert [one.result() for one in running] == [0, 2, 4, 6, 8, 10]

    assert sorted(done) == [0, 1, 2, 3, 4, 5]


def test_what_fails_meanwhile_fails_for_its_caller_alone() -> None:
    slow = Slow()
    group = GroupCommit(slow.work)

    def broken() -> None:
        raise OSError("disk")

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(group.run, 0, broken)
        assert slow.begun.wait(10)
        good, bad = pool.submit(group.run, 1), pool.submit(group.run, 2, broken)
        while len(group._queue) < 2:
            threading.Event().wait(0.01)
        slow.go_on.set()
        assert good.result() == 2
        for one in (first, bad):
            with pytest.raises(OSError, match="disk"):
                one.result()


def test_hundreds_of_calls_by_many_threads_all_end() -> None:
    slow = Slow()
    slow.go_on.set()
    group = GroupCommit(slow.work, at_once=3)
    numbers = range(100, 2100)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(group.run, numbers, timeout=60)) == [2 * number for number in numbers]
