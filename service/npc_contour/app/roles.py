"""The processes of the service by name; each loads only what it needs."""

from __future__ import annotations

from importlib import import_module

from npc_contour.app.runtime import Runtime
from npc_contour.errors import SettingsError

ROLES = ("receiver", "worker", "web", "warmup")


def run_role(role: str, runtime: Runtime) -> None:
    """Run one process of the service until SIGTERM; `warmup` ends by itself.

    Args:
        role: one of `ROLES`.
        runtime: of the service it belongs to.

    Raises:
        SettingsError: there is no such role.
        StoreError: the database is gone: start again.
    """
    if role not in ROLES:
        raise SettingsError(f"no role {role!r}, there are {', '.join(ROLES)}")
    import_module(f"npc_contour.app.{role}").run(runtime)
