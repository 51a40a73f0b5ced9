"""One flush for all who wait for one: what several threads want made durable is made durable together.

A flush to disk costs a millisecond or more, however little is flushed. While one is under way, others queue; whoever
comes first then takes all of them. Alone, a caller waits for its own flush and nothing else, in its own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    """One caller.

    Attributes:
        asleep: it waits for `woken`, to find that it is done or that it leads now.
    """

    item: Item
    woken: threading.Lock = field(default_factory=threading.Lock)
    asleep: bool = False
    done: bool = False
    result: Result | None = None
    error: BaseException | None = None


def nothing() -> None:
    """Do nothing meanwhile."""


class GroupCommit(Generic[Item, Result]):
    """Runs one piece of work for many callers at a time.

    Args:
        work: does the work for several items, and returns the result of each in the same order; an exception is
            raised to all whose items were in it. It is handed what its own caller wants done meanwhile, and runs it.
        at_once: items at most.
    """

    def __init__(
        self, work: Callable[[Sequence[Item], Callable[[], None]], Sequence[Result]], *, at_once: int = 64
    ) -> None:
        self._work = work
        self._at_once = at_once
        self._lock = threading.Lock()
        self._queue: list[_Waiting[Item, Result]] = []
        self._busy = False

    def run(self, item: Item, meanwhile: Callable[[], None] = nothing) -> Result:
        """Have the work done for this item, together with others; return its result when all of it is done.

        Args:
            item: to work on.
            meanwhile: done once in this thread while the work is under way, for what waits for something else;
                finished on return. Its exception is raised when the work did not raise one.
        """
        mine: _Waiting[Item, Result] = _Waiting(item)
        failure: BaseException | None = None

        def guarded() -> None:
            """What is ours alone fails for us alone."""
            nonlocal failure
            try:
                meanwhile()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error

        with self._lock:
            self._queue.append(mine)
            leads = self._take_lead()
        if leads:
            self._lead(mine, guarded)
        else:
            # Somebody else's work is under way: what waits for something else need not wait for that.
            guarded()
            if self._sleep(mine):
                self._lead(mine, nothing)
        if mine.error is not None:
            raise mine.error
        if failure is not None:
            raise failure
        return mine.result  # type: ignore[return-value]  # set by whoever did the work

    def _take_lead(self) -> bool:
        leads = not self._busy
        self._busy = True
        return leads

    def _sleep(self, mine: _Waiting[Item, Result]) -> bool:
        """Wait until our item is done or nobody works on it; return whether to lead."""
        with self._lock:
            if mine.done:
                return False
            if self._take_lead():
                return True
            mine.asleep = True
            mine.woken.acquire()
        mine.woken.acquire()
        return not mine.done

    def _lead(self, mine: _Waiting[Item, Result], meanwhile: Callable[[], None]) -> None:
        """Work for those in the queue, ourselves among them, then hand the lead on."""
        with self._lock:
            taken, self._queue = self._queue[: self._at_once], self._queue[self._at_once :]
            if mine not in taken:  # only when more than `at_once` were before us
                taken.append(mine)
                self._queue.remove(mine)
        try:
            results = self._work([waiting.item for waiting in taken], meanwhile)
            for waiting, result in zip(taken, results, strict=True):
                waiting.result = result
        except BaseException as error:  # noqa: BLE001 - raised again, to each whose item it concerns
            for waiting in taken:
                waiting.error = error
        finally:
            with self._lock:
                for waiting in taken:
                    waiting.done = True
                    if waiting.asleep:
                        waiting.woken.release()
                # Who is awake looks for itself, when it has done what it does meanwhile.
                heir = next((waiting for waiting in self._queue if waiting.asleep), None)
                self._busy = heir is not None
                if heir is not None:
                    heir.asleep = False
                    heir.woken.release()
