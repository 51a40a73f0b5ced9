"""Whether the spool and the database belong together, for readiness and before a start."""

from __future__ import annotations

from npc_contour.adapters.checks import database_remedy
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.clocks import ANSWER_S, own_clock_check
from npc_contour.app.runtime import running_database_url
from npc_contour.app.shared import spool_at
from npc_contour.application.checks import Check
from npc_contour.application.installation import HELP, IdentifiedSpool, check_spool, prove
from npc_contour.domain.received import Known
from npc_contour.errors import EmbeddedServerError, SpoolForeignError, StoreError
from npc_contour.settings import Settings
from npc_contour.store.database import Store

INSTALLATION = "installation"
"""Name of the check."""
_LAST_RESCAN = (
    "SELECT message FROM attempt WHERE kind = 'rescan' AND message NOT IN ('', 'waits for its turn')"
    " AND message NOT LIKE 'cut short%%'"
)


def installation_check(store: Store, spool: IdentifiedSpool) -> Check:
    """Return the check that the spool is the database's, and that files and rows could be compared."""

    def look() -> str:
        words = check_spool(store, spool)
        stopped = store.query(_LAST_RESCAN)
        if stopped:
            raise SpoolForeignError(f"files and rows could not be compared: {stopped[0]['message']}")
        return words

    return Check(INSTALLATION, look, HELP)


class _NoSpool:
    """In place of a folder that only a start makes: whoever looks may be another user."""

    def installation_id(self) -> str:
        return ""

    def has_files(self) -> bool:
        return False

    def exists(self, key: str) -> bool:
        return not key


def start_checks(settings: Settings) -> tuple[Check, ...]:
    """Return the checks of what readiness will say of spool and clock; none where no database runs to be asked."""
    try:
        url = running_database_url(settings)
    except EmbeddedServerError:
        return ()
    remedies: dict[type[Exception], str] = {StoreError: database_remedy(settings)}

    def look() -> str:
        with Store(url, defer, pool_size=1, timeout_s=ANSWER_S) as store:
            if store.query("SELECT FROM pg_class WHERE oid = to_regclass('installation')"):
                with store.transaction() as tx:
                    known = tx.lock_installation()
            else:
                known = Known("", has_spool=False, has_studies=False, newest_keys=())
        return prove(known, spool_at(settings) if settings.storage.spool.is_dir() else _NoSpool())

    return Check(INSTALLATION, look, HELP, remedies=remedies), own_clock_check(url, remedies)
