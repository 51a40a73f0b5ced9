"""Whether the spool and the database belong together, for readiness."""

from __future__ import annotations

from npc_contour.adapters.store.database import PgStore
from npc_contour.application.checks import Check
from npc_contour.application.installation import HELP, IdentifiedSpool, check_spool
from npc_contour.errors import SpoolForeignError

INSTALLATION = "installation"
"""Name of the check."""
_LAST_RESCAN = (
    "SELECT message FROM attempt WHERE kind = 'rescan' AND message NOT IN ('', 'waits for its turn')"
    " AND message NOT LIKE 'cut short%%'"
)


def installation_check(store: PgStore, spool: IdentifiedSpool) -> Check:
    """Return the check that the spool is the database's, and that files and rows could be compared."""

    def look() -> str:
        words = check_spool(store, spool)
        stopped = store.query(_LAST_RESCAN)
        if stopped:
            raise SpoolForeignError(f"files and rows could not be compared: {stopped[0]['message']}")
        return words

    return Check(INSTALLATION, look, HELP)
