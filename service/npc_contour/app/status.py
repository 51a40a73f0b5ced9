"""The process that tells monitoring how the processes of this machine do: on a port of its own, asked without accounts.

A machine that runs receivers or workers only has no page to ask; its status port answers in the page's place. Where the
page runs, the port gives the same numbers as the page to those who have no account, such as a Prometheus beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import psutil

from npc_contour import __version__
from npc_contour.adapters.api.metrics import RoleCollector, StatusCollector, registry_of
from npc_contour.adapters.api.server import run as run_server
from npc_contour.adapters.api.status import status_app
from npc_contour.adapters.checks import free_bytes, own_receiver, rest_answers, service_checks
from npc_contour.adapters.workflow.queue import defer
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
from npc_contour.application.checks import Check, Checkup
from npc_contour.errors import ProcessMissingError
from npc_contour.settings import Settings, is_loopback
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_contour.store.processes import Processes

PROCESSES = "processes"
PAGE = "page"
"""Names of checks."""
_OF_ROLE = {
    "receiver": ("receiver",),
    "worker": ("triton", "network:", "destination:"),
    "web": ("triton", "network:", "destination:"),
}
_OF_ALL = ("database", "spool")


def run(runtime: Runtime) -> None:
    """Answer until SIGTERM."""
    settings, catalog, spool = runtime.settings, catalog_of(runtime.settings), spool_of(runtime)
    with Store(runtime.database_url, defer, timeout_s=3.0, process="status") as store:
        board = StatusBoard(store, lambda key: str(spool.open_path(key)))
        probes = probes_of(settings, catalog, database_url=runtime.database_url, engine=ServiceEngine(runtime).engine)
        checks = service_checks(settings, catalog, probes, own_receiver(settings, runtime.dicom_port))
        wanted = [*_of_roles(checks, runtime), processes_check(settings, runtime.roles, partial(_running, runtime.pid))]
        wanted += [installation_check(store, spool), clock_check(store)]
        heard = Processes(store).rows
        wanted.append(heartbeats_check(heard, runtime.place))
        if "web" in runtime.roles:
            wanted.append(workers_check(heard))
            wanted += [page_check(runtime), forecast_check(store, settings)]
            if settings.self_test.every_h:
                wanted.append(self_test_check(store, settings))
        with Checkup(wanted) as checkup:
            registry = registry_of(
                StatusCollector(
                    board,
                    checkup.run,
                    partial(free_bytes, settings.storage.spool),
                    __version__,
                    partial(days_until_full, store, settings),
                )
                if "web" in runtime.roles
                else RoleCollector(checkup.run, __version__)
            )
            # Whoever can ask from another machine has no account here.
            known = not settings.web.needs_accounts or is_loopback(settings.status.host)
            app = status_app(checkup.run, registry, __version__, lambda _: known)
            run_server(app, settings.status.host, runtime.status_port, beat=Pulse.own().beat)


def processes_check(settings: Settings, roles: tuple[str, ...], running: Callable[[], Counter[str]]) -> Check:
    """Return the check that every process of this machine's roles runs.

    Args:
        settings: the site's.
        roles: that this machine runs.
        running: how many processes of each role run now.
    """
    counts = {"receiver": settings.dicom.processes, "worker": settings.workers.processes, "web": 1}
    expected = Counter({role: counts[role] for role in roles})

    def look() -> str:
        missing = expected - running()
        words = ", ".join(f"{count} {role}" for role, count in sorted(expected.items()))
        if missing:
            gone = ", ".join(f"{count} {role}" for role, count in sorted(missing.items()))
            raise ProcessMissingError(f"not running: {gone}, of {words}")
        return f"running: {words}"

    return Check(PROCESSES, look, "the service starts it again by itself; the log says why it ended (child.ended)")


def page_check(runtime: Runtime) -> Check:
    """Return the check that the page of this machine answers."""
    web = runtime.settings.web.model_copy(update={"port": runtime.web_port})
    return Check(PAGE, partial(rest_answers, web), "see the log for the process `web`")


def _running(supervisor: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for child in psutil.Process(supervisor).children():
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        if line[1:3] == ["-m", "npc_contour.app"]:
            found[line[3].partition("-")[0]] += 1
    return found


def _of_roles(checks: tuple[Check, ...], runtime: Runtime) -> list[Check]:
    wanted = {*_OF_ALL, *(name for role in runtime.roles for name in _OF_ROLE[role])}
    return [check for check in checks if check.name.partition(":")[0] + ":" * (":" in check.name) in wanted]
