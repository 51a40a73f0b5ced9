"""python -m npc_contour.app ROLE RUNTIME_FILE: one process of a running service, started by its supervisor."""

from __future__ import annotations

import faulthandler
import logging
import sys
from pathlib import Path

from npc_contour import logs
from npc_contour.adapters.otlp import trace_to
from npc_contour.app.audit import audit
from npc_contour.app.heartbeats import tell_of
from npc_contour.app.processes import SAY_WHERE
from npc_contour.app.pulse import Pulse
from npc_contour.app.roles import run_role
from npc_contour.app.runtime import Runtime
from npc_contour.errors import AutocontourError
from npc_contour.logs import Event

role, runtime_file = sys.argv[1], Path(sys.argv[2])
runtime = Runtime.read(runtime_file)
pulse = Pulse.own()
runtime.settings.storage.logs.mkdir(parents=True, exist_ok=True)
# Written by C, whatever holds the interpreter; the supervisor asks for it before it ends a process that hangs.
threads = (runtime.settings.storage.logs / f"{pulse.name or role}-threads.txt").open("a", encoding="utf-8")
faulthandler.register(SAY_WHERE, file=threads)
logs.configure(runtime.settings.logs.level)
audit(runtime.settings)
try:
    if runtime.settings.tracing.endpoint:
        trace_to(runtime.settings.tracing.endpoint, role)
    tell_of(pulse, runtime, role.partition("-")[0])
    run_role(role, runtime)
except AutocontourError as error:
    logging.getLogger("npc_contour.app").error(  # noqa: TRY400 - expected, and said in full by its message
        Event.CHILD_FAILED, extra={"role": role, "kind": type(error).__name__, "error": str(error)}
    )
    sys.exit(1)
