"""Who may do what over the web: accounts, sessions, tokens and the audit trail."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AccessRole(StrEnum):
    """What a person or program may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: AccessRole) -> bool:
        """Whether this role is at least the one needed."""
        order = list(AccessRole)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A local account, or one that an identity provider vouches for (no password then).

    Attributes:
        subject: the provider and its own id of the person; "" for a local account.
    """

    name: str
    role: AccessRole
    password_hash: str
    disabled: bool
    created_at: datetime
    last_login_at: datetime | None = None
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that has logged in."""

    account: str
    csrf: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A program's key: its SHA-256 is kept, the key itself is shown once."""

    token_id: int
    label: str
    account: str
    role: AccessRole
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """Who did what to what, from where, and whether it was let."""

    at: datetime
    who: str
    action: str
    what: str
    peer: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A browser that was sent to the provider.

    Attributes:
        state: the provider gives it back to us.
        nonce: the provider writes it into the ID token.
        verifier: proves that whoever redeems the code is who asked for it (PKCE, RFC 7636).
        after: path of ours to go to.
    """

    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    after: str
    expires_at: datetime
