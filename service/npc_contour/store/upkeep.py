"""What may be deleted after its time, and what spool and rows know of each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from npc_contour.store.statements import Statements

# Whatever is not delivered everywhere keeps all of its study: a case that goes on or failed, a delivery that waits,
# failed, or may still be found missing, a series that waits for a person.
_SETTLED = """
NOT routing_due
AND NOT EXISTS (SELECT FROM contour_case c WHERE c.study_instance_uid = study.study_instance_uid
    AND (c.updated_at > %(before)s
        OR c.state IN ('waiting', 'ambiguous', 'routed', 'segmented', 'contoured', 'failed')))
AND NOT EXISTS (SELECT FROM delivery d JOIN contour_case c ON c.id = d.case_id
    WHERE c.study_instance_uid = study.study_instance_uid AND c.state <> 'superseded'
    AND (d.state IN ('queued', 'failed') OR d.ask_at IS NOT NULL))
AND NOT EXISTS (SELECT FROM series s WHERE s.study_instance_uid = study.study_instance_uid
    AND (s.updated_at > %(before)s OR s.state IN ('receiving', 'held') OR s.correction_at IS NOT NULL))
"""
_WITH_IMAGES = f"""
SELECT study_instance_uid FROM study WHERE {_SETTLED} AND EXISTS (SELECT FROM instance JOIN series s
    USING (series_instance_uid) WHERE s.study_instance_uid = study.study_instance_uid)
AND NOT EXISTS (SELECT FROM instance JOIN series s USING (series_instance_uid)
    WHERE s.study_instance_uid = study.study_instance_uid
    AND committed_at > coalesce(%(promised_before)s::timestamptz, '-infinity'))
ORDER BY created_at LIMIT %(limit)s
"""  # noqa: S608 - constants only
_WITH_FILES = f"""
SELECT contour_case.id FROM contour_case JOIN study USING (study_instance_uid)
WHERE files_expired_at IS NULL AND {_SETTLED} ORDER BY contour_case.created_at LIMIT %(limit)s
"""  # noqa: S608 - constants only
_WITH_ROWS = f"""
SELECT study_instance_uid FROM study WHERE {_SETTLED} AND created_at < %(before)s
AND NOT EXISTS (SELECT FROM instance JOIN series s USING (series_instance_uid)
    WHERE s.study_instance_uid = study.study_instance_uid)
AND NOT EXISTS (SELECT FROM contour_case c WHERE c.study_instance_uid = study.study_instance_uid
    AND c.files_expired_at IS NULL)
ORDER BY created_at LIMIT %(limit)s
"""  # noqa: S608 - constants only


class Upkeep(Statements):
    """The part of a transaction that concerns deleting, and comparing files with rows."""

    def studies_with_old_images(
        self, before: datetime, promised_before: datetime | None, limit: int
    ) -> tuple[str, ...]:
        """Return studies whose images may be deleted: settled, and unchanged since `before`.

        None of their images was promised to be kept since `promised_before`; None: ever.
        """
        rows = self._all(_WITH_IMAGES, {"before": before, "promised_before": promised_before, "limit": limit})
        return tuple(row["study_instance_uid"] for row in rows)

    def cases_with_old_files(self, before: datetime, limit: int) -> tuple[str, ...]:
        """Return cases whose files may be deleted: their study is settled, and unchanged since `before`."""
        return self._keys(_WITH_FILES, before, limit, "id")

    def studies_with_old_rows(self, before: datetime, limit: int) -> tuple[str, ...]:
        """Return studies of which only rows are left, unchanged since `before`."""
        return self._keys(_WITH_ROWS, before, limit, "study_instance_uid")

    def lock_settled_study(self, study_instance_uid: str) -> None:
        """Keep images of a study from being added or routed until the end of the transaction."""
        self._run("SELECT FROM study WHERE study_instance_uid = %s FOR UPDATE", (study_instance_uid,))
        self._run("SELECT FROM series WHERE study_instance_uid = %s FOR UPDATE", (study_instance_uid,))

    def expire_images(self, study_instance_uid: str, reason: str) -> int:
        """Forget the images of a study and note their files for deletion; the same images may come again."""
        rows = self._all(
            "DELETE FROM instance USING series WHERE series.series_instance_uid = instance.series_instance_uid"
            " AND study_instance_uid = %s RETURNING instance.key",
            (study_instance_uid,),
        )
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO expired_file (key) VALUES (%s) ON CONFLICT DO NOTHING", [(row["key"],) for row in rows]
            )
        self._run(
            "UPDATE series SET images = 0, reasons = ARRAY[images || ' ' || %s::text] WHERE study_instance_uid = %s"
            " AND images > 0",
            (reason, study_instance_uid),
        )
        return len(rows)

    def expired_keys(self) -> tuple[str, ...]:
        """Return the files that are to be deleted."""
        return tuple(row["key"] for row in self._all("SELECT key FROM expired_file ORDER BY key"))

    def forget_keys(self, keys: Sequence[str]) -> None:
        """Note that files are deleted."""
        self._run("DELETE FROM expired_file WHERE key = ANY(%s)", (list(keys),))

    def expire_case_files(self, case_id: str, at: datetime) -> None:
        """Note that the files of a case are deleted."""
        self._run("DELETE FROM artefact WHERE case_id = %s", (case_id,))
        self._run("UPDATE contour_case SET files_expired_at = %s WHERE id = %s", (at, case_id))

    def delete_study(self, study_instance_uid: str) -> None:
        """Delete every row of a study.

        Raises:
            StoreError: another part of the service still refers to it.
        """
        key = (study_instance_uid,)
        cases = "SELECT id FROM contour_case WHERE study_instance_uid = %s"
        self._run("DELETE FROM event WHERE study_instance_uid = %s", key)
        self._run("DELETE FROM webhook_message WHERE study_instance_uid = %s", key)
        self._run("DELETE FROM pull_request WHERE study_instance_uid = %s", key)
        self._run(f"DELETE FROM delivery WHERE case_id IN ({cases})", key)  # noqa: S608 - constants only
        self._run(f"DELETE FROM structure_set WHERE case_id IN ({cases})", key)  # noqa: S608 - constants only
        self._run("DELETE FROM assignment WHERE study_instance_uid = %s", key)
        self._run("UPDATE contour_case SET predecessor = NULL WHERE study_instance_uid = %s", key)
        self._run("DELETE FROM contour_case WHERE study_instance_uid = %s", key)
        self._run("DELETE FROM series WHERE study_instance_uid = %s", key)
        self._run("DELETE FROM study WHERE study_instance_uid = %s", key)
        self._run(
            "DELETE FROM association WHERE ended_at IS NOT NULL AND NOT EXISTS (SELECT FROM series_association"
            " WHERE association_id = association.id) AND NOT EXISTS (SELECT FROM instance"
            " WHERE association_id = association.id)"
        )

    def add_disk_sample(self, at: datetime, free_bytes: int, forget_before: datetime) -> None:
        """Note how much of the disk is free, and forget old notes."""
        self._run("INSERT INTO disk_sample (at, free_bytes) VALUES (%s, %s) ON CONFLICT DO NOTHING", (at, free_bytes))
        self._run("DELETE FROM disk_sample WHERE at < %s", (forget_before,))

    def instance_keys(self) -> frozenset[str]:
        """Return the keys of all images that rows know."""
        return frozenset(row["key"] for row in self._all("SELECT key FROM instance"))

    def _keys(self, statement: str, before: datetime, limit: int, name: str) -> tuple[str, ...]:
        rows = self._connection.execute(statement.encode(), {"before": before, "limit": limit}).fetchall()
        return tuple(row[name] for row in rows)
