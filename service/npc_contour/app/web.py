"""The process that answers browsers and REST."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from fastapi import FastAPI

from npc_contour import __version__
from npc_contour.adapters.api.held_series import held_series_routes
from npc_contour.adapters.api.objects import object_routes
from npc_contour.adapters.api.operations import operation_routes
from npc_contour.adapters.api.pulls import pull_routes
from npc_contour.adapters.api.server import run as run_server
from npc_contour.adapters.api.statistics import statistics_routes
from npc_contour.adapters.api.stow import RECEIVER_NAME as STOW_NAME
from npc_contour.adapters.api.stow import Stow, stow_routes
from npc_contour.adapters.api.web import create_app
from npc_contour.adapters.api.webhooks import webhook_routes
from npc_contour.adapters.checks import destinations_of, free_bytes, own_receiver, service_checks
from npc_contour.adapters.dicom.read.headers import read_bytes
from npc_contour.adapters.dicom.read.planning_header import read_patient_name
from npc_contour.adapters.dicom.read.reader import read_plane, read_volume
from npc_contour.adapters.dicom.rtstruct.findings_report import pdf_of
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.web.pages import add_pages
from npc_contour.adapters.web.site import Readers, Site, name_of
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.archives import corrections_of, keeper_of
from npc_contour.app.clocks import clock_check
from npc_contour.app.engine import ServiceEngine
from npc_contour.app.forecast import days_until_full, forecast_check
from npc_contour.app.heartbeats import heartbeats_check, workers_check
from npc_contour.app.installation import installation_check
from npc_contour.app.probes import probes_of
from npc_contour.app.pulse import Pulse
from npc_contour.app.runtime import Runtime
from npc_contour.app.self_test import self_test_check
from npc_contour.app.shared import catalog_of, spool_of
from npc_contour.app.sign_in import sign_in_of
from npc_contour.app.study import study_reader
from npc_contour.application.accounts import Accounts
from npc_contour.application.artefacts import Artefacts
from npc_contour.application.assignment import AssignRoles
from npc_contour.application.checks import Checkup
from npc_contour.application.held_series import HeldSeries
from npc_contour.application.intake import Intake
from npc_contour.application.integrity import Integrity
from npc_contour.application.operations import Operations
from npc_contour.application.pull_requests import PullRequests
from npc_contour.application.review import ImageReaders, Review
from npc_contour.application.statistics import SiteStatistics
from npc_contour.application.webhooks import WebhookBoard
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import DamagedFileError
from npc_contour.store.accounts import AccountStore
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard
from npc_contour.store.processes import Processes
from npc_contour.store.work_board import WorkBoard
from npc_contour.store.worklist import WorkList

SWITCH_S = 0.0005
"""A request takes several turns of a few microseconds; at Python's 5 ms each would wait for whoever decodes images."""


def run(runtime: Runtime) -> None:
    """Answer until SIGTERM."""
    sys.setswitchinterval(SWITCH_S)
    with application(runtime) as app:
        web = runtime.settings.web
        run_server(app, web.host, runtime.web_port, beat=Pulse.own().beat, proxies=web.trusted_proxies)


@contextmanager
def application(runtime: Runtime) -> Iterator[FastAPI]:
    """Give everything that is served over HTTP, with its connections; they are closed with the block."""
    settings = runtime.settings
    catalog = catalog_of(settings)
    spool = spool_of(runtime)
    with Store(runtime.database_url, defer, timeout_s=3.0, process="web") as store:
        board = StatusBoard(store, lambda key: str(spool.open_path(key)))
        probes = probes_of(settings, catalog, database_url=runtime.database_url, engine=ServiceEngine(runtime).engine)
        receiver = own_receiver(settings, runtime.dicom_port) if "receiver" in runtime.roles else None
        checks = service_checks(settings, catalog, probes, receiver)
        integrity = Integrity(store, spool, store.clock)

        def read_image(header: InstanceHeader) -> bytes:
            try:
                return spool.read_image(header)
            except DamagedFileError as error:
                integrity.damaged(error)
                raise

        image_readers = ImageReaders(
            plane=partial(read_plane, read_image=read_image),
            volume=lambda series, before_slice: read_volume(series, read_image, before_slice=before_slice),
            structure_set=read_rtstruct,
        )
        readers = Readers(header=_header, patient_name=lambda key: read_patient_name(spool.open_path(key)))
        heard = Processes(store).rows
        checks = (*checks, workers_check(heard), heartbeats_check(heard), forecast_check(store, settings))
        checks = (*checks, installation_check(store, spool), clock_check(store))
        if settings.self_test.every_h:
            checks = (*checks, self_test_check(store, settings))
        with (
            Checkup(checks) as checkup,
            Review(store, spool, image_readers) as review,
        ):
            space = partial(free_bytes, settings.storage.spool)
            destinations = destinations_of(settings)
            routes = operation_routes(
                Operations(store, store.clock, destinations),
                AssignRoles(store, store.clock, catalog, study_reader(settings, catalog, read_image)),
                WorkBoard(store),
                tuple(destination.name for destination in destinations),
                name_of,
            )
            for more in (
                pull_routes(PullRequests(store, store.clock, [pacs.name for pacs in settings.pacs]), name_of),
                webhook_routes(WebhookBoard(store, store.clock)),
                statistics_routes(SiteStatistics(store, store.clock), name_of),
                object_routes(lambda case, what: Artefacts(store, spool, case).read_object(what), pdf_of),
            ):
                routes.include_router(more)
            held_series = HeldSeries(store, HeldSeriesBoard(store), store.clock, [p.name for p in settings.pacs])
            corrections = corrections_of(settings, store, spool)
            routes.include_router(held_series_routes(held_series, corrections, name_of))
            intake = Intake(store, store.clock, settings.completion)
            intake.receiver_started(STOW_NAME)
            posting = Stow(
                keeper_of(store, spool, intake),
                settings.dicom.ae_title,
                intake.association_ended,
                spool.temporary_file,
            )
            accounts = Accounts(AccountStore(store), store.clock, session_h=settings.web.session_h)
            full = partial(days_until_full, store, settings)
            app = create_app(board, checkup.run, catalog, __version__, space, routes, full)
            app.include_router(stow_routes(posting))
            add_pages(
                app,
                Site(
                    settings=settings,
                    catalog=catalog,
                    version=__version__,
                    worklist=WorkList(store, board),
                    review=review,
                    checks=checkup.run,
                    readers=readers,
                    held_series=held_series,
                    corrections=corrections,
                    parked=WorkBoard(store).parked,
                    statistics=SiteStatistics(store, store.clock),
                    destinations=partial(WorkBoard(store).destinations, [one.name for one in destinations]),
                ),
                accounts,
                sign_in_of(settings, AccountStore(store), accounts, store.clock),
            )
            yield app


def _header(head: bytes) -> InstanceHeader:
    return read_bytes(head, key="")[0]
