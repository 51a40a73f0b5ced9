"""Deliveries."""

from __future__ import annotations

from datetime import datetime

from npc_contour.domain.cases import DeliveryRecord
from npc_contour.domain.jobs import Deliverable, DeliveryState
from npc_contour.store.codec import seal_of
from npc_contour.store.connection import Row
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements

DELIVERY = (
    "SELECT delivery.*, contour_case.study_instance_uid, contour_case.pipeline, contour_case.demo, object.key,"
    " artefact.sha256, artefact.size, object.sop_instance_uid, held_reason <> '' AND NOT while_held AS held"
    " FROM delivery"
    " JOIN delivered_object object ON object.delivery_id = delivery.id"
    " JOIN contour_case ON contour_case.id = delivery.case_id LEFT JOIN artefact ON artefact.key = object.key"
)


class Deliveries(Statements):
    """The part of a transaction that concerns deliveries."""

    def add_delivery(
        self,
        case_id: str,
        destination: str,
        state: DeliveryState,
        message: str,
        at: datetime,
        what: Deliverable = Deliverable.RTSTRUCT,
    ) -> int | None:
        """Add a delivery; return its id, or None when the destination has one of this object of the case."""
        next_try_at = at if state is DeliveryState.QUEUED else None
        row = self._one(
            "INSERT INTO delivery (case_id, destination, what, state, next_try_at, message, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (case_id, destination, what) DO NOTHING RETURNING id",
            (case_id, destination, what, state, next_try_at, message, at, at),
        )
        return None if row is None else int(row["id"])

    def delivery(self, delivery_id: int, *, lock: bool = False) -> DeliveryRecord | None:
        """Return one delivery."""
        suffix = " FOR UPDATE OF delivery" if lock else ""
        row = self._one(f"{DELIVERY} WHERE delivery.id = %s{suffix}", (delivery_id,))
        return None if row is None else delivery_record(row)

    def deliveries(self, case_id: str) -> tuple[DeliveryRecord, ...]:
        """Return all deliveries of a case."""
        rows = self._all(f"{DELIVERY} WHERE delivery.case_id = %s ORDER BY delivery.id", (case_id,))
        return tuple(delivery_record(row) for row in rows)

    def set_delivery(
        self,
        delivery_id: int,
        state: DeliveryState,
        at: datetime,
        *,
        attempts: int,
        next_try_at: datetime | None,
        status: int | None,
        message: str,
    ) -> None:
        """Change a delivery."""
        self._run(
            "UPDATE delivery SET state = %s, attempts = %s, next_try_at = %s, status = %s, message = %s,"
            " updated_at = %s, ask_at = NULL, asks = 0, verified_by = '',"
            " sent_at = CASE WHEN %s = 'sent' THEN %s ELSE sent_at END WHERE id = %s",
            (state, attempts, next_try_at, status, message, at, state, at, delivery_id),
        )


def delivery_record(row: Row) -> DeliveryRecord:
    """Return the delivery of a row of `DELIVERY`."""
    return read(DeliveryRecord, row, delivery_id=row["id"], seal=seal_of(row))
