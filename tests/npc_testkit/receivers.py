"""A program that takes webhooks over real HTTP, and checks each as its own library would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from npc_testkit.certificates import Identity
from npc_testkit.http_peer import Handler, http_peer


@dataclass(frozen=True, slots=True)
class Told:
    """One message as it came."""

    message_id: str
    timestamp: int
    signed: bool
    raw: bytes
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Receiver:
    """What came, and what is answered: the statuses of `answers`, one after another, then 204."""

    secret: bytes
    port: int = 0
    answers: list[int] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    location: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?site=1"

    def take(self, headers: dict[str, str], raw: bytes) -> int:
        message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        expected = hmac.digest(self.secret, f"{message_id}.{timestamp}.".encode() + raw, hashlib.sha256)
        signed = headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
        self.told.append(Told(message_id, int(timestamp), signed, raw, headers))
        return self.answers.pop(0) if self.answers else 204


@contextmanager
def receiver(secret: bytes, port: int = 0, *, tls: Identity | None = None) -> Iterator[Receiver]:
    """Run a receiver on 127.0.0.1, over HTTPS with a certificate where one is given."""
    state = Receiver(secret)

    class Hook(Handler):
        def answer(self, body: bytes) -> None:
            status = state.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.reply(status, b"", **({"Location": state.location} if 300 <= status < 400 else {}))

    with http_peer(Hook, port, tls=tls) as state.port:
        yield state
