"""Webhooks: who is told what, and the messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from npc_contour.domain.status import Part
from npc_contour.domain.timeline import TimelineEntry, WebhookMessage, WebhookState
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements, asked, in_part


class Webhooks(Statements):
    """The part of a transaction that concerns webhooks."""

    def set_webhooks(self, events: Mapping[str, Sequence[str]]) -> None:
        """Let just these hooks be told, each of its events."""
        self._run("DELETE FROM webhook WHERE NOT name = ANY(%s)", (list(events),))
        for name, wanted in events.items():
            self._run(
                "INSERT INTO webhook (name, events) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET events = EXCLUDED.events",
                (name, list(wanted)),
            )

    def add_webhook_messages(self, line: TimelineEntry) -> tuple[str, ...]:
        """Write a message for every hook that wants to be told of a line; return their ids."""
        rows = self._all(
            "INSERT INTO webhook_message (hook, event, at, study_instance_uid, series_instance_uid, case_id, state,"
            " next_try_at, created_at, updated_at) SELECT name, %(event)s, %(at)s, coalesce(%(study)s,"
            " (SELECT study_instance_uid FROM contour_case WHERE id = %(case)s)), %(series)s, %(case)s, 'queued',"
            " %(at)s, %(at)s, %(at)s FROM webhook WHERE %(event)s = ANY(events) RETURNING id::text",
            {
                "event": line.event.value,
                "at": line.at,
                "study": line.study,
                "series": line.series,
                "case": line.case,
            },
        )
        return tuple(row["id"] for row in rows)

    def webhook_message(self, message_id: str) -> WebhookMessage | None:
        """Return one message."""
        row = self._one("SELECT * FROM webhook_message WHERE id = %s::uuid", (message_id,))
        return None if row is None else read(WebhookMessage, row, message_id=str(row["id"]))

    def webhook_messages(self, state: WebhookState | None, part: Part) -> tuple[WebhookMessage, ...]:
        """Return messages, newest first; None takes every state."""
        statement = "SELECT * FROM webhook_message WHERE (%(state)s::text IS NULL OR state = %(state)s)"
        rows = self._all(statement + in_part("created_at", "id::text"), {"state": state, **asked(part)})
        return tuple(read(WebhookMessage, row, message_id=str(row["id"])) for row in rows)

    def set_webhook_message(
        self,
        message_id: str,
        state: WebhookState,
        status: int | None,
        message: str,
        at: datetime,
        next_try_at: datetime | None,
    ) -> None:
        """Note a try and what it came to."""
        self._run(
            "UPDATE webhook_message SET state = %s, status = %s, message = %s, attempts = attempts + 1,"
            " updated_at = %s, next_try_at = %s WHERE id = %s::uuid",
            (state, status, message, at, next_try_at, message_id),
        )

    def renew_webhook_message(self, message_id: str, at: datetime) -> None:
        """Begin the tries of a message again; its id stays."""
        self._run(
            "UPDATE webhook_message SET state = 'queued', attempts = 0, created_at = %s, updated_at = %s,"
            " next_try_at = %s WHERE id = %s::uuid",
            (at, at, at, message_id),
        )
