"""Storage commitment that senders ask of us."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from npc_contour.domain.received import CommitmentRow, CommitmentState, KeptImage
from npc_contour.store.codec import seal_of
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements


class Commitments(Statements):
    """The part of a transaction that concerns storage commitment."""

    def add_commitment(
        self, transaction_uid: str, calling_ae_title: str, objects: Sequence[tuple[str, str]], at: datetime
    ) -> int | None:
        """Note a request; return its id, or None when this sender has used the transaction's UID before."""
        row = self._one(
            "INSERT INTO commitment_request (transaction_uid, calling_ae_title, objects, state, asked_at, updated_at)"
            " VALUES (%s, %s, %s, 'asked', %s, %s) ON CONFLICT DO NOTHING RETURNING id",
            (transaction_uid, calling_ae_title, Jsonb([list(one) for one in objects]), at, at),
        )
        return None if row is None else int(row["id"])

    def commitment(self, commitment_id: int) -> CommitmentRow | None:
        """Return one request."""
        row = self._one("SELECT * FROM commitment_request WHERE id = %s", (commitment_id,))
        if row is None:
            return None
        objects = tuple((sop_class, instance) for sop_class, instance in row["objects"])
        return read(CommitmentRow, row, commitment_id=row["id"], objects=objects)

    def set_commitment(
        self, commitment_id: int, state: CommitmentState, attempts: int, message: str, at: datetime
    ) -> None:
        """Change the state of a request."""
        self._run(
            "UPDATE commitment_request SET state = %s, attempts = %s, message = %s, updated_at = %s WHERE id = %s",
            (state, attempts, message, at, commitment_id),
        )

    def promise_instances(self, sop_instance_uids: Sequence[str], at: datetime) -> dict[str, KeptImage]:
        """Note that a sender is promised to have these images kept; return those we have by UID.

        None of them is being deleted, and none will be for `retention.committed_days`.
        """
        # Whoever deletes locks the series first: either it sees the promise, or the images are gone for us.
        self._run(
            "SELECT FROM series WHERE series_instance_uid IN (SELECT series_instance_uid FROM instance"
            " WHERE sop_instance_uid = ANY(%s)) ORDER BY series_instance_uid FOR SHARE",
            (list(sop_instance_uids),),
        )
        rows = self._all(
            "UPDATE instance SET committed_at = %s WHERE sop_instance_uid = ANY(%s)"
            " RETURNING sop_instance_uid, header ->> 'sop_class_uid' AS sop_class_uid, key, sha256, size",
            (at, list(sop_instance_uids)),
        )
        return {row["sop_instance_uid"]: KeptImage(row["sop_class_uid"], row["key"], seal_of(row)) for row in rows}
