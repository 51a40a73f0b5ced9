"""The worker: takes jobs from Procrastinate and sweeps for work that rows ask for but no job stands for.

A process that dies loses its claims at once (PostgreSQL drops them with the connection), so the sweep of any other,
or of its successor, queues its work again within seconds: Procrastinate's heartbeats are only used to tidy up.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn

import procrastinate
import psycopg
from procrastinate import jobs as procrastinate_jobs

from npc_contour import tracing
from npc_contour.adapters.workflow.queue import (
    FETCH_QUEUE,
    SEGMENT_QUEUE,
    SEND_QUEUE,
    TELL_QUEUE,
    WORK_QUEUE,
    WRITE_QUEUE,
)
from npc_contour.domain.work import JobKind
from npc_contour.errors import StoreError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

POLL_S = 0.5
WATCH_S = 0.5
HEARTBEAT_S = 10.0
STALLED_S = 60.0
LAST_WORDS_S = 3.0

Run = Callable[[JobKind, str], None]
Sweep = Callable[[], int]
Running = dict[tuple[JobKind, str], float]
"""What runs, and since when by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Duties:
    """What a worker does; each is called in a thread.

    Attributes:
        run: does one job.
        sweep: defers what is missing and returns how many.
        interrupted: told of each job that a stop of the worker cuts short.
        beat: called twice a second by the loop that takes jobs and holds them to their deadlines, not in a thread.
    """

    run: Run
    sweep: Sweep
    interrupted: Run
    beat: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works.

    Attributes:
        segmentations_at_once: in this process.
        writings_at_once: structure sets contoured and written in this process.
        light_at_once: short jobs in this process.
        fetches_at_once: queries and retrievals from a PACS in this process.
        sends_at_once: jobs that wait for destinations in this process.
        calls_at_once: webhooks called in this process.
        sweep_every_s: how often rows are compared with jobs.
        drain_s: how long a stop waits for the jobs that run; then they are cut short and done again later.
        deadlines_s: a job of this kind that takes longer ends the process, for a thread cannot be stopped; that counts
            as a crash of its step. A kind without one has no deadline.
    """

    segmentations_at_once: int = 1
    writings_at_once: int = 1
    light_at_once: int = 4
    fetches_at_once: int = 2
    sends_at_once: int = 4
    calls_at_once: int = 2
    sweep_every_s: float = 5.0
    drain_s: float = 5.0
    deadlines_s: Mapping[JobKind, float] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """How many it takes: one for each job at once, and some for the sweep."""
        at_once = self.segmentations_at_once + self.writings_at_once + self.light_at_once
        return at_once + self.fetches_at_once + self.sends_at_once + self.calls_at_once + 2


def run_worker(url: str, duties: Duties, options: WorkerOptions) -> None:
    """Work until SIGTERM or SIGINT; a lost database ends the whole process at once, with exit code 1.

    A stop waits a moment for running jobs, then ends the process too: what was cut short is done again.

    Its claims went with its connections, so what it was doing may already be done elsewhere: only a fresh process,
    which the supervisor starts, knows where it stands.

    Args:
        url: of the database.
        duties: what to do.
        options: how to work.

    Raises:
        StoreError: the database cannot be reached at the start.
    """
    try:
        asyncio.run(_work(url, duties, options))
    except (procrastinate.exceptions.ConnectorException, psycopg.Error) as error:
        raise StoreError(f"the worker cannot reach the database: {error}") from error


async def _work(url: str, duties: Duties, options: WorkerOptions) -> None:
    running: Running = {}
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=8))
    for kind in JobKind:
        app.task(name=kind.value, pass_context=False)(_task(kind, duties.run, running))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # As many threads as jobs may run, or jobs that wait for other machines would keep all others waiting.
    loop.set_default_executor(ThreadPoolExecutor(options.threads, thread_name_prefix="job"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with app.open_async():
        tasks = [
            asyncio.create_task(_consume(app, SEGMENT_QUEUE, options.segmentations_at_once, options.drain_s)),
            asyncio.create_task(_consume(app, WRITE_QUEUE, options.writings_at_once, options.drain_s)),
            asyncio.create_task(_consume(app, WORK_QUEUE, options.light_at_once, options.drain_s)),
            asyncio.create_task(_consume(app, FETCH_QUEUE, options.fetches_at_once, options.drain_s)),
            asyncio.create_task(_consume(app, SEND_QUEUE, options.sends_at_once, options.drain_s)),
            asyncio.create_task(_consume(app, TELL_QUEUE, options.calls_at_once, options.drain_s)),
            asyncio.create_task(_watch(running, options.deadlines_s, duties.beat)),
            asyncio.create_task(_sweep_for_ever(app, duties.sweep, options.sweep_every_s)),
        ]
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            _end_process(tasks)
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=options.drain_s + 1.0)
        if running or pending:
            await _cut_short(running, duties.interrupted)
        await asyncio.gather(*tasks, return_exceptions=True)


def _end_process(tasks: list[asyncio.Task[None]]) -> NoReturn:
    """Say why and end: a shutdown in good order would wait for the database."""
    errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    reasons = [str(error).strip() or type(error).__name__ for error in errors if error is not None]
    logger.error(Event.DATABASE_DIED, extra={"reasons": reasons or ["a consumer ended by itself"]})
    logging.shutdown()
    os._exit(1)


async def _cut_short(running: Running, interrupted: Run) -> NoReturn:
    """End the process although something still runs: threads cannot be stopped, and may wait for a server long gone."""
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            for kind, key in list(running):
                await asyncio.to_thread(interrupted, kind, key)
    except (TimeoutError, StoreError):
        logger.warning(Event.STEP_INTERRUPTED, extra={"jobs": sorted(f"{kind}:{key}" for kind, key in running)})
    logging.shutdown()
    os._exit(0)


def _task(kind: JobKind, run: Run, running: Running) -> Callable[..., object]:
    def work(key: str, traceparent: str) -> None:
        running[kind, key] = time.monotonic()
        try:
            with tracing.span(kind, parent=traceparent):
                run(kind, key)
        finally:
            running.pop((kind, key), None)

    async def task(key: str, traceparent: str = "") -> None:
        await asyncio.to_thread(work, key, traceparent)

    return task


async def _consume(app: procrastinate.App, queue: str, concurrency: int, drain_s: float) -> None:
    await app.run_worker_async(
        queues=[queue],
        name=queue,
        concurrency=concurrency,
        fetch_job_polling_interval=POLL_S,
        shutdown_graceful_timeout=drain_s,
        delete_jobs="always",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT_S,
        stalled_worker_timeout=STALLED_S,
    )


async def _watch(running: Running, deadlines_s: Mapping[JobKind, float], beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(WATCH_S)
        now = time.monotonic()
        late = [(job, now - since) for job, since in running.items() if now - since > deadlines_s.get(job[0], math.inf)]
        if late:
            logger.error(
                Event.STEP_OVERDUE,
                extra={
                    "jobs": [f"{kind}:{key}" for (kind, key), _ in late],
                    "deadline_s": deadlines_s[late[0][0][0]],
                },
            )
            logging.shutdown()
            os._exit(1)


async def _sweep_for_ever(app: procrastinate.App, sweep: Sweep, every_s: float) -> None:
    while True:
        deferred = await asyncio.to_thread(sweep)
        if deferred:
            logger.info(Event.JOBS_RECOVERED, extra={"jobs": deferred})
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_S):
            # Its worker is gone; its work has been queued again by the sweep.
            await app.job_manager.finish_job(job, procrastinate_jobs.Status.FAILED, delete_job=True)
        await asyncio.sleep(every_s)
