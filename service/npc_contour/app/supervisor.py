"""`npc-contour serve`: starts the embedded servers and the processes of the service, and keeps them running.

Order of starting: database, receiver and web, worker, Triton (which takes longest; images are taken meanwhile). Order
of ending: receiver, worker, web, Triton, database. Whoever kills this process takes everything down with it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import npc_contour
from npc_contour import __version__
from npc_contour.adapters.otlp import traces_url
from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
from npc_contour.adapters.triton.embedded import EmbeddedTriton, Endpoints
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_contour.app.outside import check_secrets
from npc_contour.app.passwords import PasswordFile
from npc_contour.app.priority import answer_soon, compute_only
from npc_contour.app.processes import Child
from npc_contour.app.pulse import Watched
from npc_contour.app.runtime import FILE, SERVED, Runtime
from npc_contour.app.shared import catalog_of, profile_of, spool_at
from npc_contour.application.installation import take_spool
from npc_contour.catalog import Catalog
from npc_contour.errors import AutocontourError, EmbeddedServerError, SettingsError, StoreError
from npc_contour.lifetime import asked_to_end
from npc_contour.logs import Event
from npc_contour.settings import Settings
from npc_contour.store.database import Store, migrate
from npc_contour.store.processes import forget_processes

logger = logging.getLogger(__name__)

FOR_US_ALONE = 0o077
LOOK_EVERY_S = 0.2
TRITON_PAUSE_S = 15.0
PORTS_S = 20.0
"""How long the processes of a service that was killed may hold its ports."""


def serve(settings: Settings, roles: Sequence[str] = SERVED) -> None:
    """Run the service, or some of its roles, until SIGTERM, SIGINT or SIGHUP; call from the main thread.

    Args:
        settings: the site's.
        roles: of `SERVED`; the others may run on other machines, against the same database and spool.

    Raises:
        SettingsError: another service uses `storage.root`, another program holds a port, or a secret cannot be read.
        CatalogError: a pipeline or a contract is wrong.
        EmbeddedServerError: the embedded database cannot start.
        StoreError: the database cannot be reached.
        SpoolForeignError: the spool belongs to another installation.
    """
    # Images, names and logs are for this user alone, in whatever all children write.
    os.umask(FOR_US_ALONE)
    answer_soon()
    stop = asked_to_end()
    root = _data_folder(settings)
    catalog = catalog_of(settings)
    profile_of(settings)
    check_secrets(settings, roles)
    with sole_user(root), ExitStack() as servers:
        _refuse_taken_ports(settings, roles, stop, wait_s=PORTS_S if (root / FILE).exists() else 0.0)
        (root / FILE).unlink(missing_ok=True)
        spool = spool_at(settings)
        if settings.storage.shared_spool is None:
            spool.remove_partial_files()
        password = PasswordFile(settings)
        password.renew()
        database = embedded_database(settings, servers)
        runtime = Runtime.of(settings, database_url=database.url if database else "", roles=roles)
        migrate(runtime.database_url, apply_queue_schema)
        with Store(runtime.database_url, defer, pool_size=1) as store:
            take_spool(store, spool)
        forget_processes(runtime.database_url, runtime.place)
        runtime.write()
        servers.callback((root / FILE).unlink, missing_ok=True)
        if settings.triton.url == "embedded" and "worker" in roles:
            servers.enter_context(_TritonKeeper(runtime, catalog))
        children = _children(settings, runtime)
        logger.info(
            Event.SERVICE_STARTED,
            extra={
                "version": __version__,
                "roles": list(roles),
                "dicom_port": runtime.dicom_port,
                "web_port": runtime.web_port,
            },
        )
        try:
            while not stop.wait(LOOK_EVERY_S):
                if database is not None and database.pid is None:
                    _restart(database)
                password.renew()
                for child in children:
                    child.keep_running()
        finally:
            logger.info(Event.SERVICE_STOPPING)
            _end(children)
            with suppress(StoreError):  # else they are told of as silent for a day
                forget_processes(runtime.database_url, runtime.place)


def _data_folder(settings: Settings) -> Path:
    """Make `storage.root`, where the processes also keep what they compile if somebody else installed the service."""
    root = settings.storage.root
    root.mkdir(parents=True, exist_ok=True)
    if not os.access(Path(npc_contour.__file__).parent, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(root / "kernels"))
    return root


def _children(settings: Settings, runtime: Runtime) -> list[Child]:
    def child(name: str, role: str, grace_s: float = 10.0, nice: int | None = None) -> Child:
        command = [sys.executable, "-m", "npc_contour.app", role, str(runtime.path)]
        return Child(name, command, grace_s, nice=nice, place=runtime.place, watched=Watched())

    grace_s = settings.workers.drain_s + 10.0
    # A worker decides and sends: at a low priority of its own it would not even start on a machine that others use.
    workers = [child(f"worker-{number}", "worker", grace_s, nice=0) for number in range(settings.workers.processes)]
    compiling = [sys.executable, "-m", "npc_contour.app", "warmup", str(runtime.path)]
    warmup = Child("warmup", compiling, once=True, nice=settings.triton.nice)
    receivers = [child(name, name, 15.0) for name in (f"receiver-{n}" for n in range(settings.dicom.processes))]
    by_role = {"receiver": receivers, "web": [child("web", "web")], "worker": [*workers, warmup]}
    status = [] if settings.status.port is None else [child("status", "status")]
    return [*status, *(child for role, children in by_role.items() if role in runtime.roles for child in children)]


def _end(children: list[Child]) -> None:
    """Let the receivers end first, so that nothing more is taken; then all others together."""
    receivers = [child for child in children if child.name.startswith("receiver")]
    others = [child for child in children if child not in receivers]
    for child in (*receivers, *others):
        if child.name not in {"web", "status"}:
            child.terminate()
    for child in receivers:
        child.wait()
    for child in others:
        child.terminate()
    for child in others:
        child.wait()


def embedded_database(settings: Settings, servers: ExitStack) -> EmbeddedPostgres | None:
    """Start the embedded database until the stack ends; None where the settings name another."""
    if settings.database.url != "embedded":
        return None
    log = settings.storage.logs / "postgres.log"
    return servers.enter_context(EmbeddedPostgres(settings.storage.database, log_file=log))


def _restart(database: EmbeddedPostgres) -> None:
    try:
        database.start()
    except EmbeddedServerError:
        logger.exception(Event.DATABASE_DIED)
        time.sleep(1.0)


class _TritonKeeper:
    """Starts the embedded Triton beside everything else, and tries again when it cannot start."""

    def __init__(self, runtime: Runtime, catalog: Catalog) -> None:
        settings = runtime.settings
        self._runtime = runtime
        self._server = EmbeddedTriton(
            settings.triton.model_repository,
            settings.storage.root / "triton",
            networks=catalog.contracts,
            log_file=settings.storage.logs / "triton.log",
            start_timeout_s=settings.triton.start_timeout_s,
            give_way=partial(compute_only, nice=settings.triton.nice),
            endpoints=Endpoints(traces_url=traces_url(settings.tracing.endpoint) if settings.tracing.endpoint else ""),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._start, name="triton-start", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.stop()
        self._thread.join()

    def _start(self) -> None:
        while not self._stopping.is_set():
            try:
                self._server.start()
            except AutocontourError:
                logger.exception(Event.TRITON_DIED)
                self._stopping.wait(TRITON_PAUSE_S)
                continue
            urls = self._server.urls
            self._runtime.with_triton(urls.grpc, urls.metrics).write()
            return


def _refuse_taken_ports(settings: Settings, roles: Sequence[str], stop: threading.Event, wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    shared = settings.dicom.has_shared_port(settings.storage)
    dicom, web, status = settings.dicom, settings.web, settings.status
    ports = {
        "receiver": (("dicom", dicom.host, dicom.port, shared), ("dicom.tls", dicom.host, dicom.tls.port or 0, shared)),
        "web": (("web", web.host, web.port, False),),
        "status": (("status", status.host, status.port or 0, False),),
    }
    wanted = (*roles, "status")
    for key, host, port, reuse in (port for role, group in ports.items() if role in wanted for port in group):
        while True:
            try:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                socket.create_server((host, port), family=family, reuse_port=reuse).close()
                break
            except OSError as error:
                if time.monotonic() >= deadline_s or stop.wait(LOOK_EVERY_S):
                    why = error.strerror or str(error)
                    raise SettingsError(f"{key}.host, {key}.port: cannot listen on {host}:{port}: {why}") from error


@contextmanager
def sole_user(root: Path) -> Iterator[None]:
    """Keep other services from using a folder while the block runs; SettingsError where one does already."""
    with (root / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"storage.root: another service is running with {root}") from error
        yield
