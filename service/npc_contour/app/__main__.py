"""python -m npc_contour.app ROLE RUNTIME_FILE: one process of a running service, started by its supervisor."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from npc_contour import logs
from npc_contour.adapters.otlp import trace_to
from npc_contour.app.audit import audit
from npc_contour.app.roles import run_role
from npc_contour.app.runtime import Runtime
from npc_contour.errors import AutocontourError
from npc_contour.logs import Event

role, runtime_file = sys.argv[1], Path(sys.argv[2])
runtime = Runtime.read(runtime_file)
logs.configure(runtime.settings.logs.level)
audit(runtime.settings)
try:
    if runtime.settings.tracing.endpoint:
        trace_to(runtime.settings.tracing.endpoint, role)
    run_role(role, runtime)
except AutocontourError as error:
    logging.getLogger("npc_contour.app").error(  # noqa: TRY400 - expected, and said in full by its message
        Event.CHILD_FAILED, extra={"role": role, "kind": type(error).__name__, "error": str(error)}
    )
    sys.exit(1)
