"""The process that answers REST."""

from __future__ import annotations

from functools import partial

from npc_contour import __version__
from npc_contour.adapters.api.server import run as run_server
from npc_contour.adapters.api.web import create_app
from npc_contour.adapters.checks import free_bytes, own_receiver, service_checks
from npc_contour.adapters.store.board import PgBoard
from npc_contour.adapters.store.database import PgStore
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.engine import ServiceEngine
from npc_contour.app.probes import probes_of
from npc_contour.app.runtime import Runtime
from npc_contour.app.shared import catalog_of, spool_of
from npc_contour.application.checks import Checkup


def run(runtime: Runtime) -> None:
    """Answer REST until SIGTERM."""
    settings = runtime.settings
    catalog = catalog_of(runtime.settings)
    spool = spool_of(runtime)
    with PgStore(runtime.database_url, defer, timeout_s=3.0) as store:
        board = PgBoard(store, lambda key: str(spool.open_path(key)))
        probes = probes_of(settings, catalog, database=board.ping, engine=ServiceEngine(runtime).engine)
        receiver = own_receiver(settings, runtime.dicom_port)
        with Checkup(service_checks(settings, catalog, probes, receiver)) as checkup:
            space = partial(free_bytes, settings.storage.root)
            app = create_app(board, checkup.run, catalog, __version__, space)
            run_server(app, settings.web.host, runtime.web_port)
