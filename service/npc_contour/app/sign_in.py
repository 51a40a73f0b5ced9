"""Logging in at the identity provider of the settings."""

from __future__ import annotations

from npc_contour.adapters.oidc import Client, OidcProvider
from npc_contour.application.accounts import Accounts
from npc_contour.application.ports import Clock
from npc_contour.application.sign_in import SignIn
from npc_contour.domain.accounts import AccessRole
from npc_contour.errors import SettingsError
from npc_contour.settings import Oidc, Settings
from npc_contour.store.accounts import AccountStore


def sign_in_of(settings: Settings, store: AccountStore, accounts: Accounts, clock: Clock) -> SignIn | None:
    """Return what lets people in; None where the settings name no provider.

    Raises:
        SettingsError: the client's secret cannot be read.
    """
    oidc = settings.oidc
    if not oidc.is_on:
        return None
    client = Client(
        issuer=oidc.issuer,
        client_id=oidc.client_id,
        secret=client_secret(oidc),
        redirect_url=oidc.redirect_url,
        scopes=oidc.scopes,
        name_claim=oidc.name_claim,
        role_claim=oidc.role_claim,
        clock_skew_s=oidc.clock_skew_s,
        ca_file=str(oidc.ca_file) if oidc.ca_file else "",
    )
    groups = {
        AccessRole.VIEWER: oidc.viewers,
        AccessRole.OPERATOR: oidc.operators,
        AccessRole.ADMIN: oidc.admins,
    }
    return SignIn(store, clock, accounts, OidcProvider(client), groups)


def client_secret(oidc: Oidc) -> str:
    """Return by what we prove to the provider who we are; "" where it asks for nothing.

    Raises:
        SettingsError: it cannot be read.
    """
    if oidc.client_secret_file is None:
        return ""
    try:
        return oidc.client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"oidc.client_secret_file: {error}") from error
