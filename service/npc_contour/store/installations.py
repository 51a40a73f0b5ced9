"""Which installation a database belongs to, and what it knows of the files in its spool."""

from __future__ import annotations

from npc_contour.domain.received import Known
from npc_contour.store.statements import Statements

_SAMPLE = 200
_KEYS = f"""
(SELECT key FROM instance ORDER BY received_at DESC LIMIT {_SAMPLE})
UNION ALL (SELECT key FROM structure_set JOIN contour_case ON contour_case.id = case_id
           WHERE files_expired_at IS NULL ORDER BY structure_set.created_at DESC LIMIT {_SAMPLE})
"""  # noqa: S608 - constants only


class Installations(Statements):
    """The part of a transaction that concerns the installation."""

    def lock_installation(self) -> Known:
        """Return what the database says of its installation; others wait until the end of the transaction."""
        self._run("LOCK TABLE installation IN EXCLUSIVE MODE")
        row = self._one("SELECT id, spool_at FROM installation")
        study = self._one("SELECT FROM study LIMIT 1")
        keys = tuple(found["key"] for found in self._all(_KEYS))
        return Known(
            installation_id=row["id"] if row else "",
            has_spool=bool(row and row["spool_at"]),
            has_studies=study is not None,
            newest_keys=keys,
        )

    def installation_id(self) -> str:
        """Return the id of the installation; "" before its first start."""
        row = self._one("SELECT id FROM installation")
        return row["id"] if row else ""

    def set_installation(self, installation_id: str, *, has_spool: bool) -> None:
        """Note the installation's id, and whether it lies in the spool."""
        self._run(
            "INSERT INTO installation (id, spool_at) VALUES (%s, CASE WHEN %s THEN now() END)"
            " ON CONFLICT (one) DO UPDATE SET id = EXCLUDED.id, spool_at = EXCLUDED.spool_at",
            (installation_id, has_spool),
        )
