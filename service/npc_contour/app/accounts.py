"""Accounts from the command line: through the database of the running service, or of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_contour.app.runtime import FILE, Runtime
from npc_contour.application.accounts import Accounts
from npc_contour.errors import AccountError
from npc_contour.settings import Settings
from npc_contour.store.accounts import AccountStore
from npc_contour.store.database import Store, migrate


@contextmanager
def open_accounts(settings: Settings) -> Iterator[Accounts]:
    """Give the accounts of a service while the block runs.

    Raises:
        AccountError: the database is the embedded one, and no service runs on this storage.
        StoreError: the database does not answer.
    """
    url = settings.database.url
    if url == "embedded":
        path = settings.storage.root / FILE
        if not path.exists():
            raise AccountError(
                f"no service runs on {settings.storage.root}: start it first, its database holds accounts"
            )
        url = Runtime.read(path).database_url
    migrate(url, apply_queue_schema)
    with Store(url, defer, pool_size=2, timeout_s=5.0) as store:
        yield Accounts(AccountStore(store), store.clock, session_h=settings.web.session_h)
