"""The whole application as the service serves it, over a real database, without the processes around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.app.runtime import Runtime
from npc_contour.app.web import application
from npc_contour.application.accounts import LOCAL, Accounts
from npc_contour.domain.accounts import AccessRole
from npc_contour.settings import Settings
from npc_contour.store.accounts import AccountStore
from npc_contour.store.database import Store


@dataclass(frozen=True, slots=True)
class Served:
    """A running application.

    Attributes:
        client: a program with an admin's token.
        accounts: who may see and do what.
    """

    url: str
    token: str
    client: httpx.Client
    accounts: Accounts


@contextmanager
def served(store: Store, database_url: str, root: Path, *, port: int = 0, **tables: object) -> Iterator[Served]:
    """Serve what `app.web` composes; accounts are asked for.

    Args:
        store: over the same database, for whoever fills it.
        database_url: of it.
        root: where files would be.
        port: 0 takes a free one.
        tables: of the settings, as they stand in site.toml.
    """
    web = {"accounts": "required", **(tables.pop("web", None) or {})}  # type: ignore[dict-item]
    settings = Settings.model_validate(
        {"storage": {"root": root}, "triton": {"url": "127.0.0.1:1"}, "web": web, **tables}
    )
    accounts = Accounts(AccountStore(store), store.clock, session_h=8.0)
    token = accounts.make_token("test", LOCAL, AccessRole.ADMIN, 1)
    with (
        application(Runtime.of(settings, database_url=database_url, roles=("web",))) as app,
        BackgroundServer(app, "127.0.0.1", port) as server,
    ):
        url = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
            yield Served(url, token, client, accounts)
