"""Telling other programs what happened: a message is written with the change it tells of, and delivered by a job.

A message names what happened and the UIDs of what it happened to: whoever wants more asks REST. It is delivered at
least once; `id` is the same at every try, so that a receiver can tell what it has seen.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from npc_contour.application.ports import Clock
from npc_contour.domain.findings import Severity
from npc_contour.domain.retry import RetryPolicy
from npc_contour.domain.status import Part
from npc_contour.domain.timeline import TimelineEntry, WebhookMessage, WebhookState
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import NoSuchRowError, OperationRefused, WebhookError
from npc_contour.logs import Event
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
GONE = 410
"""The receiver says that it will never take a message again."""


class HookCaller(Protocol):
    """Delivers messages over HTTP."""

    def call(self, hook: str, message_id: str, at: datetime, body: bytes) -> int:
        """Deliver one signed message and return the receiver's status.

        Args:
            hook: its name in the settings.
            message_id: the same at every try.
            at: the time of this try, which is signed.
            body: what is signed.

        Raises:
            WebhookError: there was no answer, or the receiver may not be called.
        """
        ...


class CallWebhook:
    """Delivers one message."""

    def __init__(self, store: Store, clock: Clock, caller: HookCaller, hooks: Mapping[str, RetryPolicy]) -> None:
        """Deliver to these hooks of the settings, each with how long it is tried."""
        self._store = store
        self._clock = clock
        self._caller = caller
        self._hooks = hooks

    def run(self, key: str) -> None:
        """Try once; plan the next try or note the receipt."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            message = tx.webhook_message(key)
            if message is None or message.state is not WebhookState.QUEUED:
                return
            if message.next_try_at is not None and message.next_try_at > now:
                tx.defer(Job(JobKind.CALL_WEBHOOK, key, message.next_try_at))
                return
            findings = tx.finding_codes(message.case_id) if message.case_id else {}
        retries = self._hooks.get(message.hook)
        if retries is None:
            self._end(message, WebhookState.FAILED, None, f"the settings have no [[webhooks]] named {message.hook!r}")
            return
        status: int | None = None
        try:
            status = self._caller.call(message.hook, message.message_id, now, body_of(message, findings))
            words = f"answered {status}"
        except WebhookError as error:
            words = str(error)
        if status is not None and 200 <= status < 300:
            self._end(message, WebhookState.DELIVERED, status, words)
            return
        now = self._clock.now()
        next_try_at = retries.next_try(message.attempts + 1, now, message.created_at)
        if status == GONE or next_try_at is None:
            self._end(message, WebhookState.FAILED, status, words)
            return
        with self._store.transaction() as tx:
            tx.set_webhook_message(message.message_id, WebhookState.QUEUED, status, words, now, next_try_at)
            tx.defer(Job(JobKind.CALL_WEBHOOK, message.message_id, next_try_at))
        logger.warning(
            Event.WEBHOOK_RETRY,
            extra={
                "hook": message.hook,
                "message_id": message.message_id,
                "error": words,
                "again_in_s": (next_try_at - now).total_seconds(),
            },
        )

    def _end(self, message: WebhookMessage, state: WebhookState, status: int | None, words: str) -> None:
        now = self._clock.now()
        delivered = state is WebhookState.DELIVERED
        event = Event.WEBHOOK_DELIVERED if delivered else Event.WEBHOOK_FAILED
        with self._store.transaction() as tx:
            tx.set_webhook_message(message.message_id, state, status, words, now, None)
            tx.record(
                TimelineEntry(
                    event=event,
                    at=now,
                    study=message.study_instance_uid,
                    series=message.series_instance_uid,
                    case=message.case_id,
                    detail=f"{message.hook} {words}, told of {message.event} (message {message.message_id})",
                )
            )
        logger.log(
            logging.INFO if delivered else logging.ERROR,
            event,
            extra={"hook": message.hook, "message_id": message.message_id, "told": message.event, "detail": words},
        )


class WebhookBoard:
    """What was told, and another try for what was given up."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Look into this store."""
        self._store = store
        self._clock = clock

    def messages(self, state: WebhookState | None, part: Part) -> tuple[WebhookMessage, ...]:
        """Return messages, newest first."""
        with self._store.transaction() as tx:
            return tx.webhook_messages(state, part)

    def retry(self, message_id: str) -> str:
        """Deliver a message that was given up, at once; return what was done.

        Raises:
            NoSuchRowError: there is none of that id.
            OperationRefused: it was not given up.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            message = tx.webhook_message(message_id)
            if message is None:
                raise NoSuchRowError(f"there is no message {message_id}")
            if message.state is not WebhookState.FAILED:
                raise OperationRefused(f"message {message_id} is {message.state}: only a failed one can be retried")
            tx.renew_webhook_message(message_id, now)
            tx.defer(Job(JobKind.CALL_WEBHOOK, message_id))
        return f"message {message_id}: will be retried"


def body_of(message: WebhookMessage, findings: Mapping[str, Severity]) -> bytes:
    """Return what is sent: nothing that says who a patient is.

    Args:
        message: what happened.
        findings: what is doubtful of the case, code → severity.
    """
    data: dict[str, object] = {
        "study_instance_uid": message.study_instance_uid,
        "series_instance_uid": message.series_instance_uid,
        "case_id": message.case_id,
        "findings": {code: severity.value for code, severity in sorted(findings.items())},
    }
    content = {
        "type": message.event,
        "timestamp": message.at.isoformat(),
        "data": {name: value for name, value in data.items() if value},
    }
    return json.dumps(content, separators=(",", ":")).encode()
