"""Logging in at the site's identity provider: what is remembered meanwhile, and who is let in with which role.

The browser that comes back must be the one that was sent: it holds a secret in a cookie, and what belongs to it (state,
nonce, PKCE verifier) is a row that can be used once.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from npc_contour.application.accounts import Accounts, digest
from npc_contour.application.ports import Clock
from npc_contour.domain.accounts import AccessRole, Attempt
from npc_contour.errors import AccountError, IdentityError
from npc_contour.store.accounts import AccountStore

ATTEMPT = timedelta(minutes=10)
"""How long somebody may take to log in there."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for.

    Attributes:
        subject: issuer and its own unchanging id of the person.
        name: for people to read; providers may give it to another person later.
        groups: what the role is decided by.
    """

    subject: str
    name: str
    groups: Sequence[str]


class IdentityProvider(Protocol):
    """The site's identity provider."""

    def authorization_url(self, attempt: Attempt) -> str:
        """Return where to send the browser.

        Raises:
            IdentityError: the provider does not answer.
        """
        ...

    def identity(self, code: str, attempt: Attempt) -> Identity:
        """Redeem a code and return whom the provider vouches for.

        Raises:
            IdentityError: it does not answer, or what it says does not hold.
        """
        ...

    def logout_url(self) -> str:
        """Return where a browser ends its session at the provider; "" where it has no such place."""
        ...


class SignIn:
    """Lets in whom the provider vouches for.

    Args:
        store: keeps attempts.
        clock: the time.
        accounts: opens sessions.
        provider: the site's.
        groups: role → groups that have it.
    """

    def __init__(
        self,
        store: AccountStore,
        clock: Clock,
        accounts: Accounts,
        provider: IdentityProvider,
        groups: Mapping[AccessRole, Sequence[str]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._provider = provider
        self._groups = groups

    def begin(self, after: str) -> tuple[str, str]:
        """Return the secret for the browser and where to send it.

        Raises:
            IdentityError: the provider does not answer.
        """
        attempt = Attempt(after=after, expires_at=self._clock.now() + ATTEMPT)
        url = self._provider.authorization_url(attempt)
        secret = secrets.token_urlsafe(32)
        self._store.add_attempt(digest(secret), attempt)
        return secret, url

    def finish(self, secret: str, state: str, code: str) -> tuple[str, str, str]:
        """Return the secret of a new session, the account's name, and the path to go to.

        Raises:
            IdentityError: the browser was not sent by us, the provider does not answer, or what it says does not hold.
            AccountError: the person may not log in here.
        """
        attempt = self._store.take_attempt(digest(secret)) if secret else None
        if attempt is None or attempt.expires_at <= self._clock.now():
            raise IdentityError("this login took too long, or was begun in another browser: log in again")
        if not hmac.compare_digest(attempt.state.encode(), state.encode()):
            raise IdentityError("the answer belongs to another login: log in again")
        identity = self._provider.identity(code, attempt)
        role = self._role(identity)
        if role is None:
            raise AccountError(f"{identity.name} is in none of the groups that are let in")
        session, name = self._accounts.vouched(identity.name, identity.subject, role)
        return session, name, attempt.after

    def logout_url(self, account: str) -> str:
        """Return where a browser must go to end the provider's session, too; "" for a local account."""
        known = self._accounts.store.account(account)
        return self._provider.logout_url() if known is not None and known.subject else ""

    def _role(self, identity: Identity) -> AccessRole | None:
        mine = [role for role, groups in self._groups.items() if set(groups).intersection(identity.groups)]
        return max(mine, key=list(AccessRole).index, default=None)
