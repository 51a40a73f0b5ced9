"""Accounts, sessions, tokens and the audit trail in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from npc_contour.domain.accounts import Account, Attempt, AuditLine, Session, Token
from npc_contour.store.database import Store
from npc_contour.store.rows import read


class AccountStore:
    """Where accounts live; every method may raise StoreError."""

    def __init__(self, store: Store) -> None:
        """Keep them in this store."""
        self._store = store

    def account(self, name: str) -> Account | None:
        """Return an account; names are compared without case."""
        rows = self._store.query("SELECT * FROM account WHERE lower(name) = lower(%(name)s)", {"name": name})
        return read(Account, rows[0]) if rows else None

    def account_of_subject(self, subject: str) -> Account | None:
        """Return the account of a person whom an identity provider vouches for."""
        rows = self._store.query("SELECT * FROM account WHERE subject = %(subject)s", {"subject": subject})
        return read(Account, rows[0]) if rows and subject else None

    def accounts(self) -> Sequence[Account]:
        """Return all accounts by name."""
        return tuple(read(Account, row) for row in self._store.query("SELECT * FROM account ORDER BY lower(name)"))

    def add_account(self, account: Account) -> bool:
        """Add an account; return False where there is one of that name."""
        return bool(
            self._store.query(
                "INSERT INTO account (name, role, password_hash, disabled, created_at, subject)"
                " VALUES (%(name)s, %(role)s, %(password_hash)s, %(disabled)s, %(created_at)s, %(subject)s)"
                " ON CONFLICT (lower(name)) DO NOTHING RETURNING name",
                asdict(account),
            )
        )

    def put_account(self, account: Account, *, keep_an_admin: bool) -> bool:
        """Replace role, password and state of an account; not where nobody would be admin any more."""
        with self._store.transaction() as tx:
            return tx.change_account(asdict(account), keep_an_admin=keep_an_admin)

    def note_login(self, name: str, at: datetime) -> None:
        """Note when an account last logged in."""
        self._store.query(
            "UPDATE account SET last_login_at = %(at)s WHERE lower(name) = lower(%(name)s) RETURNING name",
            {"name": name, "at": at},
        )

    def add_session(self, digest: str, session: Session) -> None:
        """Keep a session by the SHA-256 of its secret; those that have expired are removed."""
        self._store.query("DELETE FROM web_session WHERE expires_at < now() RETURNING digest")
        self._store.query(
            "INSERT INTO web_session (digest, account, csrf, expires_at)"
            " VALUES (%(digest)s, %(account)s, %(csrf)s, %(expires_at)s) RETURNING digest",
            {"digest": digest, **asdict(session)},
        )

    def session(self, digest: str) -> Session | None:
        """Return a session."""
        rows = self._store.query("SELECT * FROM web_session WHERE digest = %(digest)s", {"digest": digest})
        return read(Session, rows[0]) if rows else None

    def end_sessions(self, *, digest: str = "", account: str = "") -> None:
        """End one session, or all of an account."""
        self._store.query(
            "DELETE FROM web_session WHERE digest = %(digest)s OR lower(account) = lower(%(account)s) RETURNING digest",
            {"digest": digest, "account": account},
        )

    def add_attempt(self, digest: str, attempt: Attempt) -> None:
        """Keep an attempt to log in at a provider; those that are over are removed."""
        self._store.query("DELETE FROM login_attempt WHERE expires_at < now() RETURNING digest")
        self._store.query(
            "INSERT INTO login_attempt (digest, state, nonce, verifier, after, expires_at) VALUES"
            " (%(digest)s, %(state)s, %(nonce)s, %(verifier)s, %(after)s, %(expires_at)s) RETURNING digest",
            {"digest": digest, **asdict(attempt)},
        )

    def take_attempt(self, digest: str) -> Attempt | None:
        """Return an attempt and forget it."""
        rows = self._store.query("DELETE FROM login_attempt WHERE digest = %(digest)s RETURNING *", {"digest": digest})
        return read(Attempt, rows[0]) if rows else None

    def add_token(self, digest: str, token: Token) -> int:
        """Keep a token by the SHA-256 of its secret; return its number."""
        rows = self._store.query(
            "INSERT INTO web_token (digest, label, account, role, created_at, expires_at)"
            " VALUES (%(digest)s, %(label)s, %(account)s, %(role)s, %(created_at)s, %(expires_at)s) RETURNING id",
            {"digest": digest, **asdict(token)},
        )
        return int(rows[0]["id"])

    def token(self, digest: str) -> Token | None:
        """Return a token and note that it was used, to the minute."""
        rows = self._store.query(
            "SELECT *, id AS token_id FROM web_token WHERE digest = %(digest)s", {"digest": digest}
        )
        if not rows:
            return None
        self._store.query(
            "UPDATE web_token SET last_used_at = now() WHERE digest = %(digest)s"
            " AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute') RETURNING id",
            {"digest": digest},
        )
        return read(Token, rows[0])

    def tokens(self) -> Sequence[Token]:
        """Return all tokens, newest first."""
        return tuple(
            read(Token, row) for row in self._store.query("SELECT *, id AS token_id FROM web_token ORDER BY id DESC")
        )

    def remove_token(self, token_id: int) -> bool:
        """Remove a token; return whether there was one."""
        return bool(self._store.query("DELETE FROM web_token WHERE id = %(id)s RETURNING id", {"id": token_id}))

    def add_audit(self, line: AuditLine) -> None:
        """Add a line to the audit trail."""
        self._store.query(
            "INSERT INTO web_audit (at, who, action, what, peer, outcome)"
            " VALUES (%(at)s, %(who)s, %(action)s, %(what)s, %(peer)s, %(outcome)s) RETURNING id",
            asdict(line),
        )

    def audit(self, limit: int) -> Sequence[AuditLine]:
        """Return the newest lines of the audit trail."""
        rows = self._store.query("SELECT * FROM web_audit ORDER BY id DESC LIMIT %(limit)s", {"limit": limit})
        return tuple(read(AuditLine, row) for row in rows)

    def add_refused_login(self, name: str, source: str, at: datetime, forget_before: datetime) -> None:
        """Note a login that was refused, and forget those of long ago."""
        self._store.query("DELETE FROM refused_login WHERE at < %(at)s RETURNING at", {"at": forget_before})
        self._store.query(
            "INSERT INTO refused_login (name, source, at) VALUES (%(name)s, %(source)s, %(at)s) RETURNING at",
            {"name": name, "source": source, "at": at},
        )

    def refused_logins(self, name: str, source: str, since: datetime) -> tuple[int, int]:
        """Return how many logins were refused since then: of this name from this source, and of all names from it."""
        rows = self._store.query(
            "SELECT count(*) FILTER (WHERE lower(name) = lower(%(name)s)) AS of_name, count(*) AS of_all"
            " FROM refused_login WHERE source = %(source)s AND at >= %(since)s",
            {"name": name, "source": source, "since": since},
        )
        return int(rows[0]["of_name"]), int(rows[0]["of_all"])

    def forget_refused_logins(self, name: str) -> int:
        """Forget every refused login of a name; return how many there were."""
        statement = "DELETE FROM refused_login WHERE lower(name) = lower(%(name)s) RETURNING at"
        return len(self._store.query(statement, {"name": name}))

    def add_browser(self, digest: str, account: str, at: datetime, forget_before: datetime) -> None:
        """Note that an account has logged in with a browser; those not seen for long are forgotten."""
        self._store.query("DELETE FROM known_browser WHERE seen_at < %(at)s RETURNING digest", {"at": forget_before})
        self._store.query(
            "INSERT INTO known_browser (digest, account, seen_at) VALUES (%(digest)s, %(account)s, %(at)s)"
            " ON CONFLICT (digest, account) DO UPDATE SET seen_at = EXCLUDED.seen_at RETURNING digest",
            {"digest": digest, "account": account, "at": at},
        )

    def forget_browsers(self, account: str) -> None:
        """Forget the browsers of an account."""
        statement = "DELETE FROM known_browser WHERE lower(account) = lower(%(account)s) RETURNING digest"
        self._store.query(statement, {"account": account})

    def knows_browser(self, digest: str, account: str, since: datetime) -> bool:
        """Whether an account has logged in with this browser since then."""
        statement = (
            "SELECT 1 AS known FROM known_browser WHERE digest = %(digest)s AND lower(account) = lower(%(account)s)"
            " AND seen_at >= %(since)s"
        )
        return bool(self._store.query(statement, {"digest": digest, "account": account, "since": since}))
