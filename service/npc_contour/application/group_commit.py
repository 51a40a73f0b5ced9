"""One flush for all who wait for one: what several threads want made durable is made durable together.

A flush to disk costs a millisecond or more, however little is flushed. While one is under way, others queue; whoever
comes first then takes all of them. Alone, a caller waits for its own flush and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    done: bool = False
    result: Result | None = None
    error: BaseException | None = None


class GroupCommit(Generic[Item, Result]):
    """Runs one piece of work for many callers at a time.

    Args:
        work: does the work for several items, and returns the result of each in the same order; an exception is
            raised to all whose items were in it.
        at_once: items at most.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], *, at_once: int = 64) -> None:
        self._work = work
        self._at_once = at_once
        self._changed = threading.Condition()
        self._queue: list[_Waiting[Item, Result]] = []
        self._busy = False

    def run(self, item: Item) -> Result:
        """Have the work done for this item, together with others; return its result when all of it is done."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._changed:
            self._queue.append(mine)
            while self._busy and not mine.done:
                self._changed.wait()
            if mine.done:
                return _outcome(mine)
            self._busy = True
            taken, self._queue = self._queue[: self._at_once], self._queue[self._at_once :]
            if mine not in taken:  # only when more than `at_once` were before us
                taken.append(mine)
                self._queue.remove(mine)
        try:
            results = self._work([waiting.item for waiting in taken])
            for waiting, result in zip(taken, results, strict=True):
                waiting.result = result
        except BaseException as error:  # noqa: BLE001 - raised again, to each whose item it concerns
            for waiting in taken:
                waiting.error = error
        finally:
            with self._changed:
                for waiting in taken:
                    waiting.done = True
                self._busy = False
                self._changed.notify_all()
        return _outcome(mine)


def _outcome(waiting: _Waiting[Item, Result]) -> Result:
    if waiting.error is not None:
        raise waiting.error
    return waiting.result  # type: ignore[return-value]  # set by whoever did the work
