"""The process that does jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from npc_contour.adapters.checks import destinations_of
from npc_contour.adapters.workflow.queue import defer
from npc_contour.adapters.workflow.worker import Duties, Run, WorkerOptions, run_worker
from npc_contour.app.archives import commitments_of, keeper_of, pull_tools
from npc_contour.app.engine import ServiceEngine
from npc_contour.app.heartbeats import cut_off_silent, process_row
from npc_contour.app.pulse import Pulse
from npc_contour.app.runtime import Runtime
from npc_contour.app.self_test import scores
from npc_contour.app.senders import Senders
from npc_contour.app.shared import catalog_of, spool_of, writer_of
from npc_contour.app.study import study_reader
from npc_contour.app.tools import FileReader, SrWriter
from npc_contour.app.webhooks import webhook_calls
from npc_contour.application.cases import CaseSteps, Tools
from npc_contour.application.combining import CombineStudy
from npc_contour.application.completion import CloseSeries
from npc_contour.application.delivery import DeliveryTools, SendDelivery
from npc_contour.application.intake import Intake
from npc_contour.application.integrity import COMPARE_S, CompareFiles, Integrity
from npc_contour.application.mending import MendCase
from npc_contour.application.partners import FindPartner
from npc_contour.application.pull_requests import FindStudy
from npc_contour.application.pulling import FetchSeries, PollArchive
from npc_contour.application.routing import RouteStudy
from npc_contour.application.self_testing import TryNetworks, next_due
from npc_contour.application.steps import Handler, Steps
from npc_contour.application.upkeep import ALL, Rescan, Retain
from npc_contour.application.verification import VerifyDelivery
from npc_contour.domain.findings import HoldFrom
from npc_contour.domain.work import Job, JobKind
from npc_contour.settings import SelfTest
from npc_contour.store.database import Store
from npc_contour.store.processes import Processes
from npc_contour.store.transaction import Transaction

FIRST_RETENTION_S = 60.0
"""The first round after a start waits until work is taken up again."""


def run(runtime: Runtime, around: Callable[[Run], Run] = lambda run: run) -> None:
    """Do jobs until SIGTERM.

    Args:
        runtime: of the service it belongs to.
        around: given what does a job, returns what is called in its place: trials kill the process there.

    Raises:
        StoreError: the database is gone: start again.
    """
    settings = runtime.settings
    at_once = settings.workers.segmentations_at_once
    # Each claim and each slot holds a connection while its step runs.
    places = at_once + settings.workers.writings_at_once
    with Store(runtime.database_url, defer, pool_size=16 + 3 * places, process="worker") as store:
        pulling = pull_tools(runtime, store)
        poll = PollArchive(pulling, settings.pull)
        poll.start()
        partner = FindPartner(pulling, catalog_of(settings), settings.routing.partner_pacs)
        fetching = {
            JobKind.POLL_ARCHIVE: poll.run,
            JobKind.FIND_STUDY: FindStudy(pulling).run,
            JobKind.FETCH_SERIES: FetchSeries(pulling).run,
            JobKind.FIND_PARTNER: partner.run,
        }
        steps = _steps(runtime, store, fetching)

        own, processes = process_row(runtime, "worker"), Processes(store)

        def sweep() -> int:
            now = store.clock.now()
            cut_off_silent(processes, own)
            with store.transaction() as tx:
                missing = tx.jobs_missing()
                for job in missing:
                    tx.defer(job)
                _plan_upkeep(tx, now, settings.retention.every_s)
                _plan_self_test(tx, now, settings.self_test)
            return len(missing)

        now = store.clock.now()
        with store.transaction() as tx:
            tx.defer(Job(JobKind.RESCAN, ALL))
            _plan_upkeep(tx, now, FIRST_RETENTION_S)
        duties = Duties(around(steps.run), sweep, steps.interrupted, Pulse.own().beat)
        options = WorkerOptions(
            segmentations_at_once=at_once,
            writings_at_once=settings.workers.writings_at_once,
            drain_s=settings.workers.drain_s,
            deadlines_s={JobKind(kind): limit_s for kind, limit_s in settings.workers.deadlines_s},
        )
        run_worker(runtime.database_url, duties, options)


def _plan_upkeep(tx: Transaction, now: datetime, seconds: float) -> None:
    """Plan the next round of deleting and comparing, unless one is planned before."""
    due = now + timedelta(seconds=seconds)
    tx.defer(Job(JobKind.RETENTION, ALL, due))
    tx.defer(Job(JobKind.RESCAN, ALL, due))


def _plan_self_test(tx: Transaction, now: datetime, rules: SelfTest) -> None:
    if rules.every_h:
        last = tx.last_self_test()
        tx.defer(Job(JobKind.SELF_TEST, ALL, next_due(now.astimezone(), last.at if last else None, rules)))


def _steps(runtime: Runtime, store: Store, fetching: Mapping[JobKind, Handler]) -> Steps:
    settings, clock, spool, catalog = runtime.settings, store.clock, spool_of(runtime), catalog_of(runtime.settings)
    destinations = destinations_of(settings)
    integrity = Integrity(store, spool, clock)
    tools = Tools(
        store=store,
        spool=spool,
        clock=clock,
        catalog=catalog,
        reader=FileReader(spool.read_image, settings.mr),
        engine=ServiceEngine(runtime),
        writer=writer_of(settings, spool.read_image),
        report_writer=SrWriter(spool.read_image),
        destinations=destinations,
        segmentations_at_once=settings.workers.segmentations_at_once,
        max_shift_mm=settings.routing.max_shift_mm,
        combine=settings.results.combine == "one",
        hold_doubtful=HoldFrom(settings.delivery.hold_doubtful),
    )
    cases = CaseSteps(tools)
    mending = MendCase(tools, cases)
    senders = Senders(settings)
    delivery = DeliveryTools(store=store, spool=spool, clock=clock, destinations=destinations, rules=settings.delivery)
    sending, asking = SendDelivery(delivery, senders), VerifyDelivery(delivery, senders)
    intake = Intake(store, clock, settings.completion)
    keeper = keeper_of(store, spool, intake)
    rescan = Rescan(store, spool, clock, keeper, intake, settings.dicom.ae_title)
    compare = CompareFiles(store, spool, clock, integrity, COMPARE_S)

    def rescan_and_compare(key: str) -> None:
        rescan.run(key)
        compare.run()

    handlers = {
        JobKind.CLOSE_SERIES: CloseSeries(store, clock, settings.completion).run,
        JobKind.ROUTE_STUDY: RouteStudy(
            store,
            clock,
            catalog,
            partner_wait_s=settings.routing.partner_wait_s,
            reader=study_reader(settings, catalog, spool.read_image),
            seek_partners=bool(settings.routing.partner_pacs),
            urgent_called_ae_titles=settings.routing.urgent_called_ae_titles,
        ).run,
        JobKind.SEGMENT_CASE: cases.segment,
        JobKind.WRITE_STRUCTURE_SET: cases.write,
        JobKind.SEND: sending.run,
        JobKind.VERIFY: asking.run,
        JobKind.RESCAN: rescan_and_compare,
        JobKind.MEND_CASE: mending.run,
        JobKind.RETENTION: Retain(store, spool, clock, settings.retention).run,
        JobKind.REPORT_COMMITMENT: commitments_of(settings, store, spool).run,
        JobKind.SELF_TEST: TryNetworks(
            store, clock, partial(scores, settings), settings.self_test, settings.workers.segmentations_at_once
        ).run,
        JobKind.COMBINE_STUDY: CombineStudy(store, clock, catalog.pipelines, wait_s=settings.results.wait_s).run,
        JobKind.CALL_WEBHOOK: webhook_calls(settings, store).run,
        **fetching,
    }
    given_up = {
        JobKind.SEND: sending.given_up,
        JobKind.VERIFY: asking.given_up,
        JobKind.MEND_CASE: mending.given_up,
    }
    return Steps(store, clock, handlers, given_up, integrity.damaged)
