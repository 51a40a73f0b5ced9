"""What calls to the outside need, looked at before anything starts: who finds out later would only be restarted."""

from __future__ import annotations

from collections.abc import Sequence

from npc_contour.adapters.otlp import check_installed
from npc_contour.app.sign_in import client_secret
from npc_contour.app.webhooks import hooks_of
from npc_contour.settings import Settings


def check_secrets(settings: Settings, roles: Sequence[str]) -> None:
    """Return when the files and packages are there that these roles need.

    Args:
        settings: the site's.
        roles: that run on this machine; others may have their secrets elsewhere.

    Raises:
        SettingsError: one is not, or holds no such secret.
    """
    if settings.tracing.endpoint:
        check_installed()
    if "worker" in roles:
        hooks_of(settings)
    if "web" in roles:
        client_secret(settings.oidc)
