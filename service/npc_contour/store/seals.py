"""What every file must hold, and which images are missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.received import SealedFile
from npc_contour.domain.series import NOT_NOTED, Seal
from npc_contour.store.codec import seal_of
from npc_contour.store.statements import Statements

_LOSE = """
WITH lost AS (
    DELETE FROM instance WHERE key = ANY(%(keys)s) RETURNING sop_instance_uid, series_instance_uid
), missing AS (
    INSERT INTO missing_image (sop_instance_uid, series_instance_uid, why, at)
    SELECT sop_instance_uid, series_instance_uid, %(why)s, %(at)s FROM lost ON CONFLICT DO NOTHING
)
UPDATE series SET images = images - n, updated_at = %(at)s, state = %(held)s,
    reasons = ARRAY[n || ' images are ' || %(why)s || ': send the series again']
FROM (SELECT series_instance_uid AS uid, count(*) AS n FROM lost GROUP BY 1) AS counted
WHERE series_instance_uid = uid RETURNING study_instance_uid, series_instance_uid, n
"""
_STILL_MISSING = """
SELECT why, count(*) AS n FROM missing_image
WHERE series_instance_uid = %s AND sop_instance_uid NOT IN
    (SELECT sop_instance_uid FROM instance WHERE series_instance_uid = %s) GROUP BY why ORDER BY why
"""
_CAME_BACK = """
DELETE FROM missing_image USING series WHERE series.series_instance_uid = missing_image.series_instance_uid
AND study_instance_uid = %s AND EXISTS
    (SELECT FROM instance WHERE instance.sop_instance_uid = missing_image.sop_instance_uid)
RETURNING series.series_instance_uid
"""


class Seals(Statements):
    """The part of a transaction that concerns the bytes of files."""

    def seal_of_image(self, sop_instance_uid: str) -> Seal | None:
        """Return what the file of an image must hold, `NOT_NOTED` where nobody noted it; None where there is no row."""
        row = self._one("SELECT sha256, size FROM instance WHERE sop_instance_uid = %s", (sop_instance_uid,))
        return None if row is None else seal_of(row) or NOT_NOTED

    def seal_of_artefact(self, key: str) -> Seal | None:
        """Return what an artefact must hold; None where a former version wrote it."""
        row = self._one("SELECT sha256, size FROM artefact WHERE key = %s", (key,))
        return None if row is None else seal_of(row)

    def seal_artefact(self, case_id: str, key: str, seal: Seal) -> None:
        """Note what an artefact must hold."""
        self._run(
            "INSERT INTO artefact (key, case_id, sha256, size) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (key) DO UPDATE SET sha256 = EXCLUDED.sha256, size = EXCLUDED.size, checked_at = NULL",
            (key, case_id, seal.sha256, seal.size),
        )

    def count_damaged(self, key: str, case_id: str) -> int:
        """Note that an artefact was found damaged or gone; return how often it was."""
        row = self._one(
            "INSERT INTO artefact AS a (key, case_id, sha256, size, damaged) VALUES (%s, %s, repeat('0', 64), 0, 1)"
            " ON CONFLICT (key) DO UPDATE SET damaged = a.damaged + 1 RETURNING damaged",
            (key, case_id),
        )
        return int(row["damaged"]) if row else 0

    def written_keys(self, case_id: str) -> tuple[str, ...]:
        """Return the artefacts of a case that may be sent; () before it is contoured."""
        row = self._one(
            "SELECT key, measurements_key, segmentation_key, findings_key, findings_pdf_key FROM structure_set"
            " WHERE case_id = %s",
            (case_id,),
        )
        return () if row is None else tuple(key for key in row.values() if key is not None)

    def sealed_images(self) -> tuple[SealedFile, ...]:
        """Return what every image must hold, those first that were compared longest ago, or never."""
        rows = self._all("SELECT key, sha256, size FROM instance ORDER BY checked_at NULLS FIRST, key")
        return tuple(SealedFile(row["key"], seal_of(row)) for row in rows)

    def sealed_artefacts(self) -> tuple[SealedFile, ...]:
        """Return what every artefact of a case that has its files must hold, those first that were never compared."""
        rows = self._all(
            "SELECT key, sha256, size FROM artefact JOIN contour_case ON contour_case.id = case_id"
            " WHERE files_expired_at IS NULL AND state NOT IN ('superseded', 'cancelled', 'failed', 'refused')"
            " ORDER BY checked_at NULLS FIRST, key"
        )
        return tuple(SealedFile(row["key"], seal_of(row)) for row in rows)

    def note_checked(self, files: Sequence[SealedFile], at: datetime) -> None:
        """Note that files hold what they must; of images of which nothing was noted, also what that is."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE instance SET checked_at = %s, sha256 = coalesce(sha256, %s), size = coalesce(size, %s)"
                " WHERE key = %s",
                [(at, one.seal.sha256, one.seal.size, one.key) for one in files if one.seal is not None],
            )
            cursor.executemany("UPDATE artefact SET checked_at = %s WHERE key = %s", [(at, one.key) for one in files])

    def lose_instances(self, keys: Sequence[str], why: str, at: datetime) -> tuple[tuple[str, str, int], ...]:
        """Forget images, and hold their series until they come again; return (study, series, how many) of each."""
        rows = self._all(_LOSE, {"keys": list(keys), "why": why, "at": at, "held": SeriesState.HELD})
        return tuple((row["study_instance_uid"], row["series_instance_uid"], row["n"]) for row in rows)

    def missing_images(self, series_instance_uid: str) -> tuple[tuple[str, int], ...]:
        """Return (why, how many) of the images of a series that were forgotten and have not come again."""
        rows = self._all(_STILL_MISSING, (series_instance_uid, series_instance_uid))
        return tuple((row["why"], row["n"]) for row in rows)

    def images_came_back(self, study_instance_uid: str) -> frozenset[str]:
        """Return the series of a study of which forgotten images came again since this was last asked."""
        rows = self._all(_CAME_BACK, (study_instance_uid,))
        return frozenset(row["series_instance_uid"] for row in rows)
