"""Who may do what over the web: local accounts with roles, sessions of browsers, tokens of programs.

Passwords are kept as scrypt hashes; sessions and tokens as SHA-256 of random secrets that only their owner has: a copy
of the database opens nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

from npc_contour.application.ports import Clock
from npc_contour.domain.accounts import AccessRole, Account, AuditLine, Session, Token
from npc_contour.errors import AccountError
from npc_contour.store.accounts import AccountStore

MIN_PASSWORD = 12
MAX_PASSWORD = 256
_N, _R, _P = 2**15, 8, 1
"""scrypt's cost (RFC 7914): 32 MiB and some 0.1 s a try."""
_SCRYPT_MEMORY = 64 * 2**20
TOKEN_PREFIX = "npc_"  # noqa: S105 - how tokens begin, so that leak scanners know them
LOCAL_NAME = "local"
_PROVIDED_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
LOGIN_WINDOW = timedelta(minutes=10)
MAX_REFUSED_OF_NAME = 6
MAX_REFUSED_FROM_PEER = 30
"""Refused logins in the last ten minutes after which further ones are not looked at: of one name from one place, and of
all names from one address that is known to be the sender's own. Kept in the database: a restart does not forget them,
and several web processes count together."""
PROVIDER = "login provider"
"""Where a change of an account came from that the site's identity provider asked for."""
BROWSER_DAYS = 180
"""So long a browser stays known to an account after its last login there."""


@dataclass(frozen=True, slots=True)
class Person:
    """The caller of a page or of REST.

    Attributes:
        csrf: what a page of this session must repeat when it changes something; "" where no cookie is involved.
        token: whether it is a program with a token.
    """

    name: str
    role: AccessRole
    csrf: str = ""
    token: bool = False


LOCAL = Person(LOCAL_NAME, AccessRole.ADMIN)
"""Whoever sits at this machine while accounts are off."""


@dataclass(frozen=True, slots=True)
class By:
    """Who changes an account, for the audit trail.

    Attributes:
        who: a name.
        peer: the address that asks, or how else.
    """

    who: str
    peer: str = ""


BY_LOCAL = By(LOCAL_NAME)


@dataclass(frozen=True, slots=True)
class Place:
    """From where somebody tries to log in.

    Attributes:
        peer: the address.
        is_own: whether it is the sender's own; many people may share that of a reverse proxy.
        browser: the secret that a browser keeps in which some account has logged in before; "" when it has none.
    """

    peer: str
    is_own: bool = True
    browser: str = ""


class Accounts:
    """Logging in, and everything that is checked on the way."""

    def __init__(self, store: AccountStore, clock: Clock, *, session_h: float) -> None:
        """Keep accounts in this store; a session ends after `session_h` hours."""
        self._store = store
        self._clock = clock
        self._session = timedelta(hours=session_h)

    @property
    def store(self) -> AccountStore:
        """Where accounts live."""
        return self._store

    def add(self, name: str, role: AccessRole, password: str, by: By = BY_LOCAL) -> None:
        """Add an account.

        Raises:
            AccountError: the name or the password will not do, or there is an account of that name.
        """
        if not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise AccountError(f"account name {name!r}: letters, digits, '.', '-' and '_' are taken")
        if len(name) > 64 or name.lower() == LOCAL_NAME:
            raise AccountError(f"account name {name!r}: at most 64 characters, and not {LOCAL_NAME!r}")
        _check_password(password, name)
        account = Account(
            name=name, role=role, password_hash=hash_password(password), disabled=False, created_at=self._clock.now()
        )
        if not self._store.add_account(account):
            raise AccountError(
                f"there is an account {name} already: give it another role or password, or choose a name"
            )
        self._audit_change(by, "account.add", f"{name}: {role}")

    def set_password(self, name: str, password: str, by: By = BY_LOCAL) -> None:
        """Give a local account a new password; its sessions end, and no browser is known to it any more.

        Raises:
            AccountError: there is no such account, it has no password of ours, or the password will not do.
        """
        account = self._known(name)
        if account.subject:
            raise AccountError(f"{account.name} logs in at the login provider, which keeps the password")
        _check_password(password, account.name)
        self._change(replace(account, password_hash=hash_password(password)), by, "account.password", account.name)
        self._store.forget_browsers(account.name)

    def set_role(self, name: str, role: AccessRole, by: By = BY_LOCAL) -> None:
        """Give an account another role; its sessions end.

        Raises:
            AccountError: there is no such account, or nobody would be admin any more.
        """
        account = self._known(name)
        what = f"{account.name}: {account.role} -> {role}"
        self._change(replace(account, role=role), by, "account.role", what)

    def disable(self, name: str, *, disabled: bool, by: By = BY_LOCAL) -> None:
        """Disable or enable an account; its sessions end.

        Raises:
            AccountError: there is no such account, or nobody would be admin any more.
        """
        account = self._known(name)
        action = "account.disable" if disabled else "account.enable"
        self._change(replace(account, disabled=disabled), by, action, account.name)

    def unlock(self, name: str, by: By = BY_LOCAL) -> int:
        """Let an account log in again at once, however many wrong passwords there were; return how many."""
        refused = self._store.forget_refused_logins(self._known(name).name)
        self._audit_change(by, "account.unlock", name)
        return refused

    def _known(self, name: str) -> Account:
        account = self._store.account(name)
        if account is None:
            raise AccountError(f"no account {name}")
        return account

    def _change(self, account: Account, by: By, action: str, what: str) -> None:
        if not self._store.put_account(account, keep_an_admin=True):
            self.audit(by.who, action, what, by.peer, "refused")
            raise AccountError(f"{account.name} is the only admin who can log in: make another account admin first")
        self._store.end_sessions(account=account.name)
        self._audit_change(by, action, what)

    def _audit_change(self, by: By, action: str, what: str) -> None:
        self.audit(by.who, action, what, by.peer, "done")

    def may_try(self, name: str, place: Place) -> bool:
        """Whether another login may be tried: guessing is slow, and nobody can keep others out by guessing.

        Wrong passwords count for one name from one place. A browser in which the account has logged in before is a
        place of its own: whoever guesses from the same address, be it behind the same reverse proxy, does not keep it
        out. All names together count only for an address that is the sender's own.

        Args:
            name: of the account; "" looks at the address only.
            place: from where.
        """
        since = self._clock.now() - LOGIN_WINDOW
        source = self._source(name, place)
        of_name, of_all = self._store.refused_logins(name, source, since)
        if name and of_name >= MAX_REFUSED_OF_NAME:
            return False
        return not place.is_own or source != place.peer or of_all < MAX_REFUSED_FROM_PEER

    def refused(self, name: str, place: Place) -> None:
        """Note a login that was refused."""
        now = self._clock.now()
        self._store.add_refused_login(name, self._source(name, place), now, now - LOGIN_WINDOW)
        self.audit(name, "login", "", place.peer, "refused")

    def _source(self, name: str, place: Place) -> str:
        since = self._clock.now() - timedelta(days=BROWSER_DAYS)
        browser = digest(place.browser) if place.browser else ""
        return browser if browser and name and self._store.knows_browser(browser, name, since) else place.peer

    def remember_browser(self, name: str, browser: str) -> str:
        """Note that an account has logged in with a browser.

        Args:
            name: of the account.
            browser: its secret; "" where it has none.

        Returns:
            Its secret, made where it had none.
        """
        secret, now = browser or secrets.token_urlsafe(32), self._clock.now()
        self._store.add_browser(digest(secret), name, now, now - timedelta(days=BROWSER_DAYS))
        return secret

    def login(self, name: str, password: str) -> str | None:
        """Return the secret of a new session; None when name and password do not fit, which takes as long."""
        if not self.fits(name, password):
            return None
        account = self._store.account(name)
        return self.open_session(account.name if account else name)

    def fits(self, name: str, password: str) -> bool:
        """Whether a password is that of an account which may log in; an unknown name takes as long to refuse."""
        account = self._store.account(name)
        known = account is not None and not account.disabled and bool(account.password_hash)
        kept = account.password_hash if account is not None and known else _nobody()
        return check_password(password[:MAX_PASSWORD], kept) and known

    def open_session(self, name: str) -> str:
        """Return the secret of a new session of an account that has proved itself."""
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        session = Session(account=name, csrf=secrets.token_urlsafe(24), expires_at=now + self._session)
        self._store.add_session(digest(secret), session)
        self._store.note_login(name, now)
        return secret

    def vouched(self, name: str, subject: str, role: AccessRole) -> tuple[str, str]:
        """Return the secret of a new session, and the account's name, of somebody an identity provider vouches for.

        Args:
            name: for a new account; one that is known by its subject keeps its own.
            subject: the provider's unchanging id of the person.
            role: from now on.

        Raises:
            AccountError: disabled here, the name will not do, or it belongs to a local account or another person.
        """
        known = self._store.account_of_subject(subject)
        if known is None:
            if not _PROVIDED_NAME.fullmatch(name) or name.lower() == LOCAL_NAME:
                raise AccountError(f"the login provider's name {name!r} cannot be an account's: see oidc.name_claim")
            known = Account(
                name=name, role=role, password_hash="", disabled=False, created_at=self._clock.now(), subject=subject
            )
            if not self._store.add_account(known):
                raise AccountError(f"there is an account {name} already, and it is not this person's: ask an admin")
            self.audit(name, "account.add", f"{name}: {role}", PROVIDER, "done")
        if known.disabled:
            raise AccountError(f"account {known.name} is disabled")
        if known.role is not role:
            # The provider's word counts, whoever else is admin: who left the group there has left it here.
            self._store.put_account(replace(known, role=role), keep_an_admin=False)
            self.audit(known.name, "account.role", f"{known.name}: {known.role} -> {role}", PROVIDER, "done")
        return self.open_session(known.name), known.name

    def by_session(self, secret: str) -> Person | None:
        """Return whose session it is; None when it has ended, or its account is disabled."""
        session = self._store.session(digest(secret))
        if session is None or session.expires_at <= self._clock.now():
            return None
        account = self._store.account(session.account)
        if account is None or account.disabled:
            return None
        return Person(account.name, account.role, csrf=session.csrf)

    def logout(self, secret: str) -> None:
        """End a session."""
        self._store.end_sessions(digest=digest(secret))

    def make_token(self, label: str, owner: Person, role: AccessRole, days: int | None, by: By | None = None) -> str:
        """Return a new token, which is shown this once.

        Raises:
            AccountError: the role is above the owner's.
        """
        if not owner.role.may(role):
            raise AccountError(f"{owner.name} is {owner.role} and cannot make a token for {role}")
        secret, now = TOKEN_PREFIX + secrets.token_urlsafe(32), self._clock.now()
        token = Token(
            token_id=0,
            label=label[:64] or "unnamed",
            account=owner.name,
            role=role,
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
            last_used_at=None,
        )
        number = self._store.add_token(digest(secret), token)
        self._audit_change(by or By(owner.name), "token.add", f"{number} {token.label}: {role}")
        return secret

    def remove_token(self, token_id: int, by: By = BY_LOCAL) -> bool:
        """Remove a token; return whether there was one."""
        removed = self._store.remove_token(token_id)
        if removed:
            self._audit_change(by, "token.remove", str(token_id))
        return removed

    def by_token(self, secret: str) -> Person | None:
        """Return whose token it is; None when it is unknown or over, or its account is disabled."""
        if not secret.startswith(TOKEN_PREFIX):
            return None
        token = self._store.token(digest(secret))
        if token is None or (token.expires_at is not None and token.expires_at <= self._clock.now()):
            return None
        account = self._store.account(token.account)
        if token.account != LOCAL_NAME and (account is None or account.disabled):
            return None
        role = token.role if account is None or account.role.may(token.role) else account.role
        return Person(f"{token.account}:{token.label}", role, token=True)

    def audit(self, who: str, action: str, what: str, peer: str, outcome: str) -> AuditLine:
        """Add a line to the audit trail and return it."""
        line = AuditLine(at=self._clock.now(), who=who, action=action, what=what, peer=peer, outcome=outcome)
        self._store.add_audit(line)
        return line


def digest(secret: str) -> str:
    """Return what is kept of a random secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hash_password(password: str) -> str:
    """Return what is kept of a password: scheme, cost, salt and hash."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${_text(salt)}${_text(_scrypt(password, salt, _N, _R, _P))}"


def check_password(password: str, kept: str) -> bool:
    """Whether a password is the one of which `kept` was kept."""
    _, n, r, p, salt, expected = kept.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(expected))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _check_password(password: str, name: str) -> None:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccountError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, this one has {len(password)}")
    if len(set(password)) < 5 or name.lower() in password.lower():
        raise AccountError("the password is too easy to guess: it repeats itself or holds the account's name")


@cache
def _nobody() -> str:
    """What is compared with where there is no such account, so that an answer takes as long either way."""
    return hash_password(secrets.token_urlsafe(16))
