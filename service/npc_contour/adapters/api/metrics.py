"""The service's numbers for Prometheus, read from the database at each scrape: no counter lives in a process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState
from npc_contour.domain.status import STEP_BOUNDS_S, CheckResult, Counts
from npc_contour.domain.timeline import WebhookState
from npc_contour.domain.work import JobKind
from npc_contour.errors import StoreError
from npc_contour.store.board import StatusBoard

DAY_S = 86400


class StatusCollector(Collector):
    """Reads the board and the checks when asked.

    Args:
        board: the read side of the store.
        checks: the latest results of the readiness checks.
        spool_free_bytes: free bytes where images are stored.
        version: the service's version.
        disk_full_days: in how many days the disk is full; None when it does not fill, or it is too early to tell.
    """

    def __init__(
        self,
        board: StatusBoard,
        checks: Callable[[], tuple[CheckResult, ...]],
        spool_free_bytes: Callable[[], int],
        version: str,
        disk_full_days: Callable[[], float | None],
    ) -> None:
        self._board = board
        self._checks = checks
        self._spool_free_bytes = spool_free_bytes
        self._version = version
        self._disk_full_days = disk_full_days

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; without the database those that need it are left out, not shown as 0."""
        yield from _of_checks(self._checks(), self._version)
        yield GaugeMetricFamily(
            "npc_contour_spool_free_bytes", "Free bytes where images are stored", value=self._spool_free_bytes()
        )
        try:
            counts, days = self._board.counts(), self._disk_full_days()
        except StoreError:
            yield GaugeMetricFamily("npc_contour_database_readable", "1 when the counts could be read", value=0)
            return
        yield GaugeMetricFamily("npc_contour_database_readable", "1 when the counts could be read", value=1)
        if days is not None:
            yield GaugeMetricFamily(
                "npc_contour_disk_full_seconds",
                "Until the disk is full, as it filled in the last week; absent while it does not fill",
                value=days * DAY_S,
            )
        yield from _of_counts(counts)
        yield from _of_work(counts)


class RoleCollector(Collector):
    """What a machine tells of its own processes where the page, and with it all counts, runs elsewhere.

    Args:
        checks: the latest results of its checks.
        version: the service's version.
    """

    def __init__(self, checks: Callable[[], tuple[CheckResult, ...]], version: str) -> None:
        self._checks = checks
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Yield the version and every check."""
        yield from _of_checks(self._checks(), self._version)


def registry_of(collector: Collector) -> CollectorRegistry:
    """Return a registry with a collector and this process's memory, CPU and file descriptors."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Return the text that Prometheus reads."""
    return generate_latest(registry)


def _of_checks(results: tuple[CheckResult, ...], version: str) -> Iterator[Metric]:
    yield InfoMetricFamily("npc_contour", "The service", value={"version": version})
    up = GaugeMetricFamily("npc_contour_dependency_up", "1 when a dependency is ok", labels=["dependency"])
    for result in results:
        up.add_metric([result.name], float(result.ok))
    yield up


def _of_counts(counts: Counts) -> Iterator[Metric]:
    cases = GaugeMetricFamily("npc_contour_cases", "Cases by state", labels=["state"])
    for case_state in CaseState:
        cases.add_metric([case_state], counts.cases.get(case_state, 0))
    series = GaugeMetricFamily("npc_contour_series", "Received series by state", labels=["state"])
    for series_state in SeriesState:
        series.add_metric([series_state], counts.series.get(series_state, 0))
    deliveries = GaugeMetricFamily(
        "npc_contour_deliveries", "Structure sets by destination and state", labels=["destination", "state"]
    )
    for destination in sorted({destination for destination, _ in counts.deliveries}):
        for delivery_state in DeliveryState:
            deliveries.add_metric(
                [destination, delivery_state], counts.deliveries.get((destination, delivery_state), 0)
            )
    steps = HistogramMetricFamily("npc_contour_step_seconds", "Duration of the steps of a case", labels=["step"])
    for step, total in sorted(counts.steps.items()):
        upto = accumulate(total.within_s.get(bound, 0) for bound in STEP_BOUNDS_S)
        buckets = [
            ("+Inf" if math.isinf(bound) else str(bound), count)
            for bound, count in zip(STEP_BOUNDS_S, upto, strict=True)
        ]
        steps.add_metric([step], buckets, total.seconds)
    yield from (cases, series, deliveries, steps)


def _of_work(counts: Counts) -> Iterator[Metric]:
    yield GaugeMetricFamily("npc_contour_jobs_queued", "Jobs that wait to run", value=counts.queued)
    yield GaugeMetricFamily("npc_contour_jobs_running", "Jobs that run", value=counts.running)
    due = GaugeMetricFamily("npc_contour_jobs_due", "Jobs whose time has come, by queue", labels=["queue"])
    oldest = GaugeMetricFamily(
        "npc_contour_oldest_due_job_seconds", "Since the time of the oldest due job came, by queue", labels=["queue"]
    )
    for queue, jobs in sorted(counts.due.items()):
        due.add_metric([queue], jobs.count)
        oldest.add_metric([queue], jobs.oldest_s)
    undelivered = GaugeMetricFamily(
        "npc_contour_oldest_undelivered_seconds",
        "Age of the oldest structure set that waits to be sent, by destination; 0 when none does",
        labels=["destination"],
    )
    for destination, age_s in sorted(counts.undelivered_s.items()):
        undelivered.add_metric([destination], age_s)
    yield from (due, oldest, undelivered)
    yield GaugeMetricFamily(
        "npc_contour_worker_consumers",
        "Queue consumers of all workers with a sign of life within the last minute; 0: no worker lives",
        value=counts.consumers,
    )
    silent = GaugeMetricFamily(
        "npc_contour_process_silent_seconds",
        "Since a process of the service was last heard of; a living one is heard every few seconds",
        labels=["machine", "process"],
    )
    for (machine, process), silent_s in sorted(counts.silent_s.items()):
        silent.add_metric([machine, process], silent_s)
    yield silent
    parked = GaugeMetricFamily(
        "npc_contour_parked_steps", "Steps that were given up and wait for a person, by kind", labels=["step"]
    )
    for kind in JobKind:
        parked.add_metric([kind], counts.parked.get(kind, 0))
    dice = GaugeMetricFamily(
        "npc_contour_self_test_dice",
        "Mean Dice in the last self-test, by network on the phantom and by kept case",
        labels=["network"],
    )
    for network, value in sorted(counts.self_test_dice.items()):
        dice.add_metric([network], value)
    webhooks = GaugeMetricFamily(
        "npc_contour_webhook_messages", "Messages to other programs that are kept, by webhook and state",
        labels=["webhook", "state"],
    )  # fmt: skip
    for hook in sorted({hook for hook, _ in counts.webhooks}):
        for state in WebhookState:
            webhooks.add_metric([hook, state], counts.webhooks.get((hook, state), 0))
    clocks = GaugeMetricFamily(
        "npc_contour_clock_ahead_seconds", "How far a process's clock is ahead of the database's",
        labels=["machine", "process"],
    )  # fmt: skip
    for names, ahead_s in sorted(counts.clocks_ahead_s.items()):
        clocks.add_metric(names, ahead_s)
    findings = CounterMetricFamily(
        "npc_contour_findings", "What was found doubtful of images and contours, by code and severity",
        labels=["code", "severity"],
    )  # fmt: skip
    for labels, count in sorted(counts.findings.items()):
        findings.add_metric(labels, count)
    yield from (parked, dice, webhooks, clocks, findings)
    yield GaugeMetricFamily(
        "npc_contour_cases_held",
        "Cases that wait for a person to look at their findings and release them",
        value=counts.held_for_findings,
    )
    yield from _of_site(counts)


def _of_site(counts: Counts) -> Iterator[Metric]:
    names = ["measure", "structure", "network"]
    watch = GaugeMetricFamily(
        "npc_contour_site_watch", "How much speaks for a shift of the site's values; 1 is an alarm", labels=names
    )
    usual = GaugeMetricFamily(
        "npc_contour_site_usual", "What is usual at the site, in the unit of the measure", labels=names
    )
    for labels, value in sorted(counts.watch.items()):
        watch.add_metric(labels, value)
    for labels, value in sorted(counts.usual.items()):
        usual.add_metric(labels, value)
    yield from (watch, usual)
