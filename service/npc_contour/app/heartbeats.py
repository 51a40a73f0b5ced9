"""Signs of life in the database, what readiness makes of them, and what becomes of the work of those who are silent.

A process tells as long as its main loop turns (`app.pulse`). One that hangs is ended and replaced by its supervisor,
which needs no database for that; a machine that hangs as a whole has nobody to do so, and its connections keep its
claims: workers elsewhere end them.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from npc_contour.app.pulse import Pulse
from npc_contour.app.runtime import Runtime
from npc_contour.application.checks import Check
from npc_contour.domain.status import ProcessRow
from npc_contour.errors import ProcessMissingError, StoreError
from npc_contour.logs import Event
from npc_contour.store.processes import Beats, Processes

logger = logging.getLogger(__name__)

TELL_EVERY_S = 5.0
SILENT_S = 20.0
"""Whoever was not heard for so long is named."""
CUT_OFF_S = 60.0
"""Whoever was not heard for so long was not ended by its own supervisor either: its work goes to others."""
WORKERS = "workers"
HEARTBEATS = "heartbeats"
"""Names of checks."""

Rows = Callable[[], Sequence[ProcessRow]]


def process_row(runtime: Runtime, role: str) -> ProcessRow:
    """Return what the database is told of this process."""
    return ProcessRow(name=Pulse.own().name, role=role, machine=socket.gethostname(), place=runtime.place)


def tell_of(pulse: Pulse, runtime: Runtime, role: str) -> None:
    """Tell the database, in a thread of its own, as long as the main loop turns; not without a supervisor."""
    if not pulse.name:
        return
    beats = Beats(runtime.database_url, process_row(runtime, role))
    threading.Thread(target=_report, args=(pulse, beats), name="heartbeat", daemon=True).start()


def _report(pulse: Pulse, beats: Beats) -> None:
    told = 0
    while True:
        turns = pulse.turns
        if turns != told:
            try:
                beats.report()
                told = turns
            except StoreError as error:
                # Readiness and the worker itself say that the database is down.
                logger.debug(Event.HEARTBEAT_FAILED, extra={"error": str(error)})
        time.sleep(TELL_EVERY_S)


def cut_off_silent(processes: Processes, own: ProcessRow) -> None:
    """End the connections, and with them the claims, of processes that hang together with their machine."""
    for row in processes.cut_off(own, CUT_OFF_S):
        logger.error(Event.CHILD_CUT_OFF, extra={"child": row.name, "machine": row.machine})


def workers_check(rows: Rows) -> Check:
    """Return the check that somebody takes jobs, on whatever machine."""

    def look() -> str:
        workers = [row for row in rows() if row.role == "worker"]
        working = [row for row in workers if row.silent_s < SILENT_S]
        if not working:
            raise ProcessMissingError(f"no worker takes jobs: {_named(workers) or 'none has started'}")
        return f"{len(working)} of {len(workers)} take jobs"

    remedy = (
        "one that hangs is replaced by itself within a minute; if none runs, start `npc-contour serve` with the role"
        " worker, and see its log for child.ended and child.hung"
    )
    return Check(WORKERS, look, remedy)


def heartbeats_check(rows: Rows, place: str = "") -> Check:
    """Return the check that names whoever hangs; the service stays ready while others do the work.

    Args:
        rows: of all processes.
        place: look at this place's alone; "" looks at all.
    """

    def look() -> str:
        all_rows = [row for row in rows() if place in {"", row.place}]
        silent = [row for row in all_rows if row.silent_s >= SILENT_S]
        if silent:
            raise ProcessMissingError(_named(silent))
        return f"{len(all_rows)} processes were heard within {SILENT_S:g} s"

    remedy = (
        "one that hangs is replaced by itself within a minute; else its machine or its supervisor hangs or is gone: its"
        " work goes to others, and it is forgotten after a day"
    )
    return Check(HEARTBEATS, look, remedy, required=False)


def _named(rows: Sequence[ProcessRow]) -> str:
    return "; ".join(f"{row.name} on {row.machine} has not been heard for {row.silent_s:.0f} s" for row in rows)
