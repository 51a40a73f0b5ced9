"""Webhooks over HTTP, signed as the Standard Webhooks specification 1.0 says (standardwebhooks.com).

Three headers: `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`, which is "v1," and the
base64 of HMAC-SHA256 over `id.timestamp.body`. Redirects are not followed, proxies of the environment not used, and the
connection goes to the very address that was judged: no name can turn out to be another machine a moment later.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from npc_contour.errors import CallError, SettingsError, WebhookError
from npc_contour.http_calls import Limits, Way, call

PREFIX = "whsec_"
MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a secret, as the specification asks."""
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Hook:
    """Where messages go.

    Attributes:
        secret: what they are signed with.
        networks: addresses that are not public and may be called all the same.
        ca_file: file with the certificates that it is judged by; "" takes the system's.
    """

    name: str
    url: str
    secret: bytes = field(repr=False)
    networks: Sequence[IPv4Network | IPv6Network]
    timeout_s: float
    ca_file: str = ""


def read_secret(path: Path, name: str) -> bytes:
    """Return the secret of a file: `whsec_` and base64 of 24 to 64 random bytes.

    Raises:
        SettingsError: the file cannot be read, or holds no such secret.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise SettingsError(f"webhooks.secret_file of {name}: {error}") from error
    if not text.startswith(PREFIX) or not MIN_SECRET <= len(secret) <= MAX_SECRET:
        raise SettingsError(
            f"webhooks.secret_file of {name}: {path} must hold {PREFIX} and the base64 of {MIN_SECRET} to {MAX_SECRET}"
            f' bytes, it has {len(secret)}: printf "{PREFIX}$(openssl rand -base64 32)" > {path}'
        )
    return secret


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class WebhookCaller:
    """Calls hooks."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        """Call these, by name."""
        self._hooks = hooks

    def call(self, hook: str, message_id: str, at: datetime, body: bytes) -> int:
        """Deliver one signed message and return the receiver's status.

        Raises:
            WebhookError: there was no answer, or the receiver may not be called.
        """
        known = self._hooks[hook]
        parts = urlsplit(known.url)
        host = parts.hostname or ""
        addresses = _judged(known, host, parts.port or (443 if parts.scheme == "https" else 80))
        timestamp = int(at.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(known.secret, message_id, timestamp, body),
        }
        way = Way(ca_file=known.ca_file, addresses=[str(address) for address in addresses])
        limits = Limits(timeout_s=known.timeout_s, whole_s=known.timeout_s)
        try:
            # Only the status is of interest: a body, however long, is not read.
            with call("POST", known.url, limits, headers=headers, content=body, way=way) as reply:
                return reply.status
        except CallError as error:
            raise WebhookError(f"{hook} does not answer: {error}") from error


def _judged(hook: Hook, host: str, port: int) -> tuple[Address, ...]:
    """Return the addresses of a host; every one of them must be one that may be called."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise WebhookError(f"{hook.name}: no address of {host}: {error}") from error
    addresses = [_plain(ip_address(str(one[4][0]).partition("%")[0])) for one in found]
    for address in addresses:
        if not address.is_global and not any(address in network for network in hook.networks):
            raise WebhookError(
                f"{hook.name}: {host} is {address}, which is not public: name it in webhooks.networks to allow it"
            )
    return tuple(dict.fromkeys(addresses))


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, where it does."""
    return getattr(address, "ipv4_mapped", None) or address
