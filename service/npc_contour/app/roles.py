"""The processes of the service by name; each loads only what it needs."""

from __future__ import annotations

from importlib import import_module

from npc_contour.app.runtime import SERVED, Runtime
from npc_contour.errors import SettingsError

ROLES = (*SERVED, "status", "warmup")


def run_role(role: str, runtime: Runtime) -> None:
    """Run one process of the service until SIGTERM; `warmup` ends by itself.

    Args:
        role: one of `ROLES`; of several receivers with its number, as receiver-1.
        runtime: of the service it belongs to.

    Raises:
        SettingsError: there is no such role.
        StoreError: the database is gone: start again.
    """
    name, _, number = role.partition("-")
    if name not in ROLES:
        raise SettingsError(f"no role {role!r}, there are {', '.join(ROLES)}")
    import_module(f"npc_contour.app.{name}").run(runtime, *([int(number)] if number else []))
