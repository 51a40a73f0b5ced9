"""The processes of the service: receiver, worker, web."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial

from npc_contour import __version__
from npc_contour.adapters.api.server import run as run_server
from npc_contour.adapters.api.web import create_app
from npc_contour.adapters.checks import destinations_of, free_bytes, own_receiver, service_checks
from npc_contour.adapters.dicom.scp import (
    LOOPBACK,
    AssociationEnd,
    AssociationEvent,
    AssociationInfo,
    Receiver,
    ReceiverSettings,
)
from npc_contour.adapters.dicom.scu import DicomSender
from npc_contour.adapters.dicom.spool import Spool
from npc_contour.adapters.store.board import PgBoard
from npc_contour.adapters.store.database import PgStore
from npc_contour.adapters.workflow.queue import defer
from npc_contour.adapters.workflow.worker import WorkerOptions, run_worker
from npc_contour.app.probes import probes_of
from npc_contour.app.runtime import Runtime
from npc_contour.app.tools import FileReader, RtstructWriter, ServiceEngine, SystemClock
from npc_contour.application.cases import CaseSteps, Tools
from npc_contour.application.checks import Checkup
from npc_contour.application.completion import CloseSeries
from npc_contour.application.delivery import SendDelivery
from npc_contour.application.intake import Intake
from npc_contour.application.records import AssociationRow, Ending, JobKind
from npc_contour.application.routing import RouteStudy
from npc_contour.application.steps import Steps
from npc_contour.catalog import Catalog, read_catalog
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import SettingsError

logger = logging.getLogger(__name__)

RECEIVER_NAME = "receiver"
RECEIVER_POOL = 16


def run_role(role: str, runtime: Runtime) -> None:
    """Run one process of the service until SIGTERM.

    Args:
        role: receiver, worker or web.
        runtime: of the service it belongs to.

    Raises:
        SettingsError: there is no such role.
        StoreError: the database is gone: start again.
    """
    if role not in ROLES:
        raise SettingsError(f"no role {role!r}, there are {', '.join(ROLES)}")
    ROLES[role](runtime)


def run_receiver(runtime: Runtime) -> None:
    """Take images until SIGTERM."""
    stop = _stop_signal()
    spool = _spool(runtime)
    catalog = _catalog(runtime)
    with PgStore(runtime.database_url, defer, pool_size=RECEIVER_POOL) as store:
        intake = Intake(store, SystemClock(), runtime.settings.completion)
        intake.receiver_started(RECEIVER_NAME)

        def keep(header: InstanceHeader, key: str, association: AssociationInfo) -> None:
            intake.keep(header, key, _association_row(association))

        def tell(event: AssociationEvent) -> None:
            if event.kind is not AssociationEnd.OPENED:
                intake.association_ended(event.association.association_id, Ending(event.kind.value))

        with Receiver(_receiver_settings(runtime, catalog), spool, keep, on_association=tell):
            stop.wait()


def run_worker_role(runtime: Runtime) -> None:
    """Do jobs until SIGTERM.

    Raises:
        StoreError: the database is gone: start again.
    """
    settings = runtime.settings
    at_once = settings.workers.segmentations_at_once
    # Each claim and each slot holds a connection while its step runs.
    with PgStore(runtime.database_url, defer, pool_size=12 + 3 * at_once) as store:
        steps = _steps(runtime, store)

        def sweep() -> int:
            with store.transaction() as tx:
                missing = tx.jobs_missing()
                for job in missing:
                    tx.defer(job)
            return len(missing)

        run_worker(runtime.database_url, steps.run, sweep, WorkerOptions(segmentations_at_once=at_once))


def run_web(runtime: Runtime) -> None:
    """Answer REST until SIGTERM."""
    settings = runtime.settings
    catalog = _catalog(runtime)
    spool = _spool(runtime)
    with PgStore(runtime.database_url, defer, timeout_s=3.0) as store:
        board = PgBoard(store, lambda key: str(spool.open_path(key)))
        probes = probes_of(settings, catalog, database=board.ping, engine=ServiceEngine(runtime).engine)
        receiver = own_receiver(settings, runtime.dicom_port)
        with Checkup(service_checks(settings, catalog, probes, receiver)) as checkup:
            space = partial(free_bytes, settings.storage.root)
            app = create_app(board, checkup.run, catalog, __version__, space)
            run_server(app, settings.web.host, runtime.web_port)


ROLES: Mapping[str, Callable[[Runtime], None]] = {
    "receiver": run_receiver,
    "worker": run_worker_role,
    "web": run_web,
}


def _steps(runtime: Runtime, store: PgStore) -> Steps:
    settings, clock, spool, catalog = runtime.settings, SystemClock(), _spool(runtime), _catalog(runtime)
    destinations = destinations_of(settings)
    cases = CaseSteps(
        Tools(
            store=store,
            spool=spool,
            clock=clock,
            catalog=catalog,
            reader=FileReader(spool.open_path),
            engine=ServiceEngine(runtime),
            writer=RtstructWriter(spool.open_path),
            destinations=destinations,
            segmentations_at_once=settings.workers.segmentations_at_once,
        )
    )
    sender = DicomSender(settings.dicom.ae_title, settings.delivery.timeout_s)
    handlers = {
        JobKind.CLOSE_SERIES: CloseSeries(store, clock, settings.completion).run,
        JobKind.ROUTE_STUDY: RouteStudy(store, clock, catalog, partner_wait_s=settings.routing.partner_wait_s).run,
        JobKind.SEGMENT_CASE: cases.segment,
        JobKind.WRITE_STRUCTURE_SET: cases.write,
        JobKind.SEND: SendDelivery(store, spool, clock, sender, destinations, settings.delivery).run,
    }
    return Steps(store, clock, handlers)


def _spool(runtime: Runtime) -> Spool:
    storage = runtime.settings.storage
    return Spool(storage.spool, min_free_mb=storage.min_free_mb)


def _catalog(runtime: Runtime) -> Catalog:
    settings = runtime.settings
    return read_catalog(settings.triton.model_repository, enabled=settings.routing.pipelines)


def _receiver_settings(runtime: Runtime, catalog: Catalog) -> ReceiverSettings:
    """Our own C-ECHO, by which readiness is judged, comes from this machine and must always be let in."""
    dicom = runtime.settings.dicom
    roles = [role for pipeline in catalog.pipelines.values() for role in pipeline.roles]
    allowed = dicom.allowed_calling_ae_titles
    return ReceiverSettings(
        ae_title=dicom.ae_title,
        host=dicom.host,
        port=runtime.dicom_port,
        max_associations=dicom.max_associations,
        called_ae_titles=tuple(sorted({title for role in roles for title in role.called_ae_titles})),
        allowed_calling_ae_titles=(*allowed, dicom.ae_title) if allowed else (),
        allowed_networks=tuple(dict.fromkeys((*dicom.allowed_networks, *LOOPBACK))),
    )


def _association_row(info: AssociationInfo) -> AssociationRow:
    return AssociationRow(
        info.association_id, RECEIVER_NAME, info.calling_ae_title, info.called_ae_title, info.peer_address
    )


def _stop_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
