"""Destinations: asked whether they hold an object, paused by a person, or down."""

from __future__ import annotations

from datetime import datetime, timedelta

from npc_contour.domain.cases import DeliveryRecord, Gate
from npc_contour.domain.retry import RetryPolicy
from npc_contour.domain.work import Job, JobKind
from npc_contour.store.deliveries import DELIVERY, Deliveries, delivery_record
from npc_contour.store.jobs import Jobs


class Destinations(Deliveries, Jobs):
    """The part of a transaction that concerns what destinations are asked, and whether they may be called."""

    def deliver_again(
        self, delivery_id: int, due_at: datetime, at: datetime, *, message: str, fresh: bool = False
    ) -> None:
        """Queue a delivery again; `fresh` also restarts the time after which it fails."""
        self._run(
            "UPDATE delivery SET state = 'queued', next_try_at = %s, message = %s, ask_at = NULL, asks = 0,"
            " verified_by = '', updated_at = %s, created_at = CASE WHEN %s THEN %s ELSE created_at END WHERE id = %s",
            (due_at, message, at, fresh, at, delivery_id),
        )
        self.defer(Job(JobKind.SEND, str(delivery_id), due_at))

    def ask_later(self, delivery_id: int, ask_at: datetime | None, at: datetime, *, message: str) -> None:
        """Note when a destination is asked (again) whether it holds the object; None asks no more."""
        self._run(
            "UPDATE delivery SET ask_at = %s, message = %s, updated_at = %s WHERE id = %s AND state = 'sent'",
            (ask_at, message, at, delivery_id),
        )
        if ask_at is not None:
            self.defer(Job(JobKind.VERIFY, str(delivery_id), ask_at))

    def begin_ask(self, delivery_id: int, transaction_uid: str) -> None:
        """Note a question before it is put, so that an answer on another association finds it."""
        self._run(
            "UPDATE delivery SET asks = asks + 1, transaction_uid = %s WHERE id = %s AND state = 'sent'",
            (transaction_uid, delivery_id),
        )

    def delivery_of_transaction(self, transaction_uid: str) -> DeliveryRecord | None:
        """Return the delivery that a storage commitment transaction asked about."""
        row = self._one(f"{DELIVERY} WHERE transaction_uid = %s", (transaction_uid,))
        return None if row is None else delivery_record(row)

    def set_verified(self, delivery_id: int, by: str, at: datetime) -> None:
        """Note that a destination has proved that it holds the object."""
        self._run(
            "UPDATE delivery SET state = 'verified', verified_by = %s, ask_at = NULL, message = '', updated_at = %s"
            " WHERE id = %s AND state = 'sent'",
            (by, at, delivery_id),
        )

    def pass_gate(self, destination: str, at: datetime, lease_s: float) -> Gate:
        """Return whether a destination may be called; while it is down, one caller at a time passes."""
        row = self._one("SELECT * FROM destination WHERE name = %s FOR UPDATE", (destination,))
        if row is None:
            return Gate()
        if row["paused_at"] is not None:
            return Gate(paused=True)
        if not row["failures"]:
            return Gate()
        if row["try_at"] > at:
            return Gate(wait_until=row["try_at"])
        lease = at + timedelta(seconds=lease_s)
        self._run("UPDATE destination SET try_at = %s WHERE name = %s", (lease, destination))
        return Gate()

    def destination_failed(
        self, destination: str, asked_at: datetime, at: datetime, retries: RetryPolicy, message: str
    ) -> datetime:
        """Note that a destination could not be used; return when it is tried again.

        Args:
            destination: its name.
            asked_at: when the try began: of several at once only one counts.
            at: now.
            retries: how long it is left alone; it is never given up.
            message: why.
        """
        self._run("INSERT INTO destination (name) VALUES (%s) ON CONFLICT DO NOTHING", (destination,))
        row = self._one("SELECT * FROM destination WHERE name = %s FOR UPDATE", (destination,))
        failures, failed_at = (row["failures"], row["failed_at"]) if row else (0, None)
        if failures == 0 or failed_at is None or failed_at <= asked_at:
            failures += 1
        try_at = at + retries.pause(failures)
        self._run(
            "UPDATE destination SET failures = %s, failed_at = %s, try_at = %s, last_error = %s WHERE name = %s",
            (failures, at, try_at, message, destination),
        )
        return try_at

    def destination_answered(self, destination: str, at: datetime) -> bool:
        """Note that a destination can be used; return whether it was down. What waits for it is due at once then."""
        row = self._one(
            "UPDATE destination SET failures = 0, failed_at = NULL, try_at = NULL, last_error = ''"
            " WHERE name = %s AND failures > 0 RETURNING name",
            (destination,),
        )
        if row is not None:
            self._make_due(destination, at)
        return row is not None

    def pause_destination(self, destination: str, reason: str, at: datetime) -> bool:
        """Send nothing to a destination; return False when that is so already."""
        row = self._one(
            "INSERT INTO destination (name, paused_at, paused_reason) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
            " SET paused_at = EXCLUDED.paused_at, paused_reason = EXCLUDED.paused_reason"
            " WHERE destination.paused_at IS NULL RETURNING name",
            (destination, at, reason),
        )
        return row is not None

    def resume_destination(self, destination: str, at: datetime) -> bool:
        """Send to a destination again, at once; return False when it was not paused."""
        row = self._one(
            "UPDATE destination SET paused_at = NULL, paused_reason = '', failures = 0, failed_at = NULL, try_at = NULL"
            " WHERE name = %s AND paused_at IS NOT NULL RETURNING name",
            (destination,),
        )
        if row is not None:
            # Nothing is given up for the time that a person let it wait: tries and questions start over.
            self._run(
                "UPDATE delivery SET created_at = %s WHERE destination = %s AND state = 'queued'", (at, destination)
            )
            self._run(
                "UPDATE delivery SET sent_at = %s WHERE destination = %s AND ask_at IS NOT NULL", (at, destination)
            )
            self._make_due(destination, at)
        return row is not None

    def _make_due(self, destination: str, at: datetime) -> None:
        """Let go at once what waits for a destination, but for what it refused by itself: that keeps its own pauses."""
        queued = self._all(
            "UPDATE delivery SET next_try_at = %s WHERE destination = %s AND state = 'queued'"
            " AND (status IS NULL OR status & 65280 = 42752) RETURNING id",
            (at, destination),
        )
        asked = self._all(
            "UPDATE delivery SET ask_at = %s WHERE destination = %s AND ask_at IS NOT NULL RETURNING id",
            (at, destination),
        )
        for kind, rows in ((JobKind.SEND, queued), (JobKind.VERIFY, asked)):
            for row in rows:
                self.defer(Job(kind, str(row["id"])))
