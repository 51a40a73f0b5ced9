"""Looking at everything the service depends on, in parallel, within a time limit, and not too often."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import Self

from npc_contour.domain.status import CheckResult
from npc_contour.errors import AutocontourError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        probe: returns what it found; raises (AutocontourError, OSError) when that is not ok. It may be slow, but it
            must end by itself.
        remedy: what a person does when it is not ok.
        required: False: the service stays ready without it.
        remedies: what a person does in place of `remedy`, by what the probe raised; the first that fits.
    """

    name: str
    probe: Callable[[], str]
    remedy: str
    required: bool = True
    remedies: Mapping[type[Exception], str] = field(default_factory=dict)

    def remedy_of(self, error: BaseException) -> str:
        """Return what a person does about an error of the probe."""
        return next((words for kind, words in self.remedies.items() if isinstance(error, kind)), self.remedy)


class Checkup:
    """Runs checks together and keeps their results for a moment, so that a probe of ours never adds load.

    Args:
        checks: what to look at.
        deadline_s: a check that has not ended by then counts as not ok; it is not started again while it still runs.
        keep_s: how long results are kept.
    """

    def __init__(self, checks: Sequence[Check], *, deadline_s: float = 4.0, keep_s: float = 5.0) -> None:
        self._checks = tuple(checks)
        self._deadline_s = deadline_s
        self._keep_s = keep_s
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(max_workers=max(1, len(self._checks)), thread_name_prefix="check")
        self._running: dict[str, _Run] = {}
        self._kept: tuple[CheckResult, ...] = ()
        self._at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Start nothing more; a check that still runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def run(self) -> tuple[CheckResult, ...]:
        """Return one result per check, in their order, at most `keep_s` old; waits at most `deadline_s`."""
        with self._lock:
            if time.monotonic() - self._at >= self._keep_s:
                self._kept = self._look()
                self._at = time.monotonic()
            return self._kept

    def _look(self) -> tuple[CheckResult, ...]:
        for check in self._checks:
            if check.name not in self._running:
                self._running[check.name] = _Run(self._pool.submit(_timed, check.probe), time.monotonic())
        wait([run.future for run in self._running.values()], timeout=self._deadline_s)
        return tuple(self._result(check, self._running[check.name]) for check in self._checks)

    def _result(self, check: Check, run: _Run) -> CheckResult:
        if not run.future.done():
            seconds = time.monotonic() - run.started
            return _not_ok(check, f"no answer for {seconds:.1f} s", check.remedy, seconds)
        del self._running[check.name]
        error = run.future.exception()
        if error is None:
            detail, seconds = run.future.result()
            return CheckResult(name=check.name, ok=True, detail=detail, required=check.required, seconds=seconds)
        if isinstance(error, (AutocontourError, OSError)):
            return _not_ok(check, str(error), check.remedy_of(error))
        logger.error(Event.CHECK_BROKEN, extra={"check": check.name}, exc_info=error)
        return _not_ok(check, f"{type(error).__name__}: {error}", check.remedy)


@dataclass(frozen=True, slots=True)
class _Run:
    future: Future[tuple[str, float]]
    started: float


def is_ready(results: Sequence[CheckResult]) -> bool:
    """Whether everything required is ok."""
    return all(result.ok for result in results if result.required)


def _timed(probe: Callable[[], str]) -> tuple[str, float]:
    started = time.monotonic()
    return probe(), time.monotonic() - started


def _not_ok(check: Check, detail: str, remedy: str, seconds: float = 0.0) -> CheckResult:
    return CheckResult(
        name=check.name, ok=False, detail=detail, remedy=remedy, required=check.required, seconds=seconds
    )
