"""Arrived images become rows: any number of them, of any associations and series, by one statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from psycopg import RawCursor

from npc_contour.domain.received import Added, ArrivedImage
from npc_contour.store.codec import header_to_json
from npc_contour.store.statements import Statements

_LOCK_SERIES = """
SELECT series_instance_uid, state = 'receiving' AND reasons = '{}' AS open FROM series
WHERE series_instance_uid = ANY(%s) ORDER BY series_instance_uid FOR UPDATE
"""
_ARRIVED = """
    SELECT row.* FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (
        instance text, series text, study text, key text, patient_id text, accession text, modality text,
        description text, header jsonb, sha256 text, size bigint, association text, receiver text, calling text,
        called text, peer text
    )) WITH ORDINALITY AS row
"""
_ADD = """
associations AS (
    INSERT INTO association (id, receiver, calling_ae_title, called_ae_title, peer, opened_at)
    SELECT DISTINCT ON (association) association, receiver, calling, called, peer, $2::timestamptz FROM arrived
    ORDER BY association
    ON CONFLICT DO NOTHING
), added AS (
    INSERT INTO instance (sop_instance_uid, series_instance_uid, key, header, sha256, size, association_id, received_at)
    SELECT instance, series, key, header, sha256, size, association, $2 FROM arrived ORDER BY instance, ordinality
    ON CONFLICT (sop_instance_uid) DO NOTHING
    RETURNING sop_instance_uid, key, series_instance_uid, association_id
), studies AS (
    INSERT INTO study (study_instance_uid, patient_id, accession_number, created_at)
    SELECT DISTINCT ON (study) study, patient_id, coalesce(accession, ''), $2 FROM arrived
    WHERE key IN (SELECT key FROM added) ORDER BY study
    ON CONFLICT DO NOTHING
), grown AS (
    INSERT INTO series (series_instance_uid, study_instance_uid, modality, description, called_ae_title,
                        state, images, first_instance_at, last_instance_at, updated_at)
    SELECT DISTINCT ON (series) series, study, modality, description, called, 'receiving',
           (SELECT count(*) FROM added WHERE series_instance_uid = series), $2, $2, $2
    FROM arrived JOIN added USING (key) ORDER BY series, ordinality
    ON CONFLICT (series_instance_uid) DO UPDATE SET state = 'receiving', reasons = '{}',
        images = series.images + EXCLUDED.images, last_instance_at = EXCLUDED.last_instance_at,
        updated_at = EXCLUDED.updated_at
), carried AS (
    INSERT INTO series_association (series_instance_uid, association_id)
    SELECT DISTINCT series_instance_uid, association_id FROM added ORDER BY 1, 2
    ON CONFLICT DO NOTHING
)
SELECT (added.sop_instance_uid IS NOT NULL)::text AS added, coalesce(added.key, instance.key) AS key
FROM arrived
LEFT JOIN added ON added.sop_instance_uid = arrived.instance
LEFT JOIN instance ON instance.sop_instance_uid = arrived.instance
ORDER BY ordinality
"""
"""One snapshot for all parts: `instance` in the last one shows what was there before. Sorted, so that two receivers
which add the same rows wait for each other instead of locking each other out."""
_ADD_TO_ANY = f"WITH arrived AS ({_ARRIVED}), {_ADD}"
_OPEN = """
    SELECT series_instance_uid FROM series
    WHERE series_instance_uid IN (SELECT series FROM came) AND state = 'receiving' AND reasons = '{}'
    ORDER BY series_instance_uid FOR UPDATE
"""
ADD_TO_OPEN = f"""
WITH came AS MATERIALIZED ({_ARRIVED}), open AS MATERIALIZED ({_OPEN}), arrived AS MATERIALIZED (
    SELECT * FROM came WHERE NOT EXISTS (SELECT FROM came WHERE series NOT IN (SELECT series_instance_uid FROM open))
), {_ADD}
"""  # noqa: S608 - constants only
"""The same in one go where all series are being received; no rows, and nothing done, where one is not."""


class Images(Statements):
    """What arrives."""

    def add_images(self, images: Sequence[ArrivedImage], at: datetime) -> tuple[Added, ...]:
        """Add images with their associations, series and studies; return what became of each.

        One whose UID is there already changes nothing.
        """
        series = sorted({image.header.series_instance_uid for image in images})
        open_before = {row["series_instance_uid"] for row in self._all(_LOCK_SERIES, (series,)) if row["open"]}
        rows = RawCursor(self._connection).execute(_ADD_TO_ANY, values_of(images, at)).fetchall()
        answers: list[Added] = []
        for image, row in zip(images, rows, strict=True):
            key = row["key"] or self._key_of(image.header.sop_instance_uid)
            if key != image.header.key:
                answers.append(Added.TAKEN)
            elif row["added"] != "true":
                answers.append(Added.KNOWN)
            else:
                uid = image.header.series_instance_uid
                answers.append(Added.ADDED if uid in open_before else Added.OPENED)
                open_before.add(uid)
        return tuple(answers)

    def images_under_way(self, receiver: str) -> dict[str, str]:
        """Return SOP Instance UID → key of what the open associations of a receiver brought."""
        rows = self._all(
            "SELECT sop_instance_uid, key FROM instance JOIN association ON association.id = association_id"
            " WHERE receiver = %s AND ended_at IS NULL",
            (receiver,),
        )
        return {row["sop_instance_uid"]: row["key"] for row in rows}

    def forget_images(self, sop_instance_uids: Sequence[str]) -> None:
        """Take back images that were never answered, and series that have none left."""
        if not sop_instance_uids:
            return
        rows = self._all(
            "WITH gone AS (DELETE FROM instance WHERE sop_instance_uid = ANY(%s) RETURNING series_instance_uid)"
            " UPDATE series SET images = series.images - counted.n"
            " FROM (SELECT series_instance_uid AS uid, count(*) AS n FROM gone GROUP BY 1) AS counted"
            " WHERE series.series_instance_uid = counted.uid RETURNING series_instance_uid, images",
            (list(sop_instance_uids),),
        )
        empty = [row["series_instance_uid"] for row in rows if not row["images"]]
        self._run("DELETE FROM series WHERE series_instance_uid = ANY(%s)", (empty,))

    def _key_of(self, sop_instance_uid: str) -> str | None:
        """The key of an image that another receiver added between our snapshot and our insert."""
        row = self._one("SELECT key FROM instance WHERE sop_instance_uid = %s", (sop_instance_uid,))
        return None if row is None else str(row["key"])


def values_of(images: Sequence[ArrivedImage], at: datetime) -> tuple[str, str]:
    """What both statements take."""
    return json.dumps([_row(image) for image in images], ensure_ascii=False), at.isoformat()


def added_to_open(images: Sequence[ArrivedImage], rows: Sequence[tuple[str | None, ...]]) -> tuple[Added, ...] | None:
    """What became of images by `ADD_TO_OPEN`; None where nothing did, or another receiver was just before us."""
    answers: list[Added] = []
    for image, (added, key) in zip(images, rows, strict=False):
        if key is None:
            return None
        if key != image.header.key:
            answers.append(Added.TAKEN)
        else:
            answers.append(Added.ADDED if added == "true" else Added.KNOWN)
    return tuple(answers) if len(answers) == len(images) else None


def _row(image: ArrivedImage) -> dict[str, object]:
    header, association = image.header, image.association
    return {
        "instance": header.sop_instance_uid,
        "series": header.series_instance_uid,
        "study": header.study_instance_uid,
        "key": header.key,
        "patient_id": header.patient_id,
        "accession": header.accession_number,
        "modality": header.modality,
        "description": header.series_description,
        "header": header_to_json(header),
        "sha256": header.seal.sha256 if header.seal else None,
        "size": header.seal.size if header.seal else None,
        "association": association.association_id,
        "receiver": association.receiver,
        "calling": association.calling_ae_title,
        "called": association.called_ae_title,
        "peer": association.peer,
    }
