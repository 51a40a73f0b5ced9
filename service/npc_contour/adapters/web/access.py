"""Before every page and REST response: authentication, permission, and the security headers.

One policy for the whole application: everything is closed but `/health/*`, the login and the style sheets; reading asks
for a viewer, changing for an operator, accounts for an admin. What changes something is written to the audit trail.
Images are posted (STOW-RS) by the addresses of `web.stow_networks` without a token, and by operators from anywhere.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from npc_contour.adapters.web.senders import Network, Sender, sender_of
from npc_contour.application.accounts import LOCAL, Accounts, Person, Place
from npc_contour.domain.accounts import AccessRole
from npc_contour.errors import StoreError, UnusableValueError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

COOKIE = "npc_session"
BROWSER = "npc_browser"
"""Cookie of a browser in which an account has logged in before: not kept out when others guess passwords."""
NOBODY = Person("", AccessRole.VIEWER)
"""Who looks at the login."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN = re.compile(r"/health/(live|ready)|/login(/oidc(/callback)?)?|/static/.*")
STOW = re.compile(r"/dicom-web/studies(/[0-9.]*)?")
"""Modalities send no token: a rule of its own, `web.stow_networks`."""
OBJECT = re.compile(r"(/api/v1)?/jobs/[^/]+/(objects/[^/]+|findings\.pdf)")
"""DICOM objects name the patient: who acts may take them, and that is noted."""
LIVE, READY = "/health/live", "/health/ready"
KNOWN_WITHIN_S = 2.0
"""Whoever asks for readiness while the database does not answer is taken for one without an account."""
ADMIN = re.compile(r"/accounts(/.*)?")
OWN = re.compile(r"/rules|/logout|/account")
"""Asked by POST, and still open to a viewer: nothing of the service changes."""
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
"""A host and its port, as a URL has them."""

LONGEST_QUERY = 1000
"""Kept across the login; nothing of ours has a longer one."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


ErrorPage = Callable[[Request, int, str, Mapping[str, str]], Response]
"""Makes an error response from the caller, a status, the reason and headers: a page for people, JSON for programs."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the site has decided about who is let in.

    Attributes:
        required: False lets whoever reaches the port do everything as the local person.
        loopback_only: whether this machine's names are the only ones it is called by; others are refused.
        open_to_proxies: whether the site has said itself that nobody is asked, even behind a proxy.
        trusted_proxies: whose X-Forwarded-For is trusted.
        stow_networks: addresses that may post images without a token.
    """

    required: bool
    loopback_only: bool
    open_to_proxies: bool = False
    trusted_proxies: Sequence[Network] = ()
    stow_networks: Sequence[Network] = ()


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    detail: str
    person: Person = NOBODY
    headers: Mapping[str, str] = field(default_factory=dict)
    leads_to: str = ""


class Access:
    """ASGI middleware around the whole application.

    Args:
        app: what is guarded.
        accounts: who is known.
        rules: the site's.
        error_page: makes the response of a refusal.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts, rules: Rules, error_page: ErrorPage) -> None:
        self._app = app
        self._accounts = accounts
        self._rules = rules
        self._error_page = error_page
        self._own_threads = ThreadPoolExecutor(2, thread_name_prefix="access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rules = self._rules
        sender = sender_of(scope, rules.trusted_proxies, local_is_shared=rules.required)
        scope["client"], scope["scheme"] = (sender.address, 0), sender.scheme
        scope.setdefault("state", {})["sender"] = sender
        request = _Request(scope, sender)
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if sender.scheme == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if request.path in {LIVE, READY}:
            found = await self._judge_monitoring(request)
        else:
            found = await run_in_threadpool(self._look, request)
        if isinstance(found, _Refusal):
            scope["state"]["person"] = found.person
            await self._answer(Request(scope), found)(scope, receive, send_guarded)
            return
        scope["state"]["person"] = found
        await self._app(scope, receive, send_guarded)
        if (request.changes or request.downloads) and request.is_noted(found, status):
            await run_in_threadpool(self._note, request, found.name, str(status))

    async def _judge_monitoring(self, request: _Request) -> Person | _Refusal:
        """Likewise for health requests, without waiting for the threads that all others share."""
        strange = self._strange(request)
        if strange is not None:
            return strange
        if not self._rules.required:
            return NOBODY if self._comes_round_the_accounts(request) else LOCAL
        if request.path == LIVE or not (request.token or request.session):
            return NOBODY
        finding = asyncio.get_running_loop().run_in_executor(self._own_threads, self._find, request)
        try:
            return await asyncio.wait_for(finding, KNOWN_WITHIN_S) or NOBODY
        except (TimeoutError, StoreError):
            return NOBODY

    def _answer(self, request: Request, refusal: _Refusal) -> Response:
        if refusal.leads_to:
            return RedirectResponse(refusal.leads_to, status_code=refusal.status)
        return self._error_page(request, refusal.status, refusal.detail, refusal.headers)

    def _look(self, request: _Request) -> Person | _Refusal:
        try:
            return self._judge(request)
        except UnusableValueError as error:
            return _Refusal(400, str(error))
        except StoreError as error:
            return _Refusal(503, str(error))

    def _judge(self, request: _Request) -> Person | _Refusal:
        """Return the caller, or the refusal."""
        strange = self._strange(request)
        if strange is not None:
            return strange
        if OPEN.fullmatch(request.path):
            return self._find(request) or (NOBODY if self._rules.required else LOCAL)
        if self._comes_round_the_accounts(request):
            return _no(
                request, 403, "this came through a reverse proxy, and this service asks nobody who he is: set"
                " web.trusted_proxies to the proxy's address, and accounts are asked for"
            )  # fmt: skip
        if STOW.fullmatch(request.path):
            person = self._find(request)
            if person is None and not request.token:
                return self._judge_posting(request)
        else:
            person = self._find(request) if self._rules.required or request.token else LOCAL
        return _login(request) if person is None else self._judge_person(request, person)

    def _judge_person(self, request: _Request, person: Person) -> Person | _Refusal:
        needed = _needed(request)
        if not person.role.may(needed):
            self._note(request, person.name, "refused")
            return _no(request, 403, f"{person.name} is {person.role}, this needs {needed}", person)
        if request.changes and person.csrf and not hmac.compare_digest(person.csrf.encode(), request.csrf.encode()):
            return _no(request, 403, "the page is out of date: load it again", person)
        return person

    def _judge_posting(self, request: _Request) -> Person | _Refusal:
        """Judge images that come without a token: by the address, where it is known to be the sender's own."""
        if request.method == "POST" and request.sender.is_in(self._rules.stow_networks):
            return NOBODY
        if self._rules.required:
            return _login(request)
        return _no(request, 403, "this address may not post images without a token: see web.stow_networks")

    def _comes_round_the_accounts(self, request: _Request) -> bool:
        """Whether a proxy lets others in where this machine alone was meant to be."""
        rules = self._rules
        return request.sender.forwarded and not rules.required and not rules.open_to_proxies

    def _strange(self, request: _Request) -> _Refusal | None:
        """Return the refusal of what nobody sends, and of what another site's page makes a browser send."""
        if request.malformed:
            return _no(request, 400, request.malformed)
        if self._rules.loopback_only and request.hostname not in LOOPBACK_HOSTS:
            # A foreign page whose name was bound to 127.0.0.1 carries that name.
            return _no(request, 421, f"this service answers as {', '.join(sorted(LOOPBACK_HOSTS))} only")
        if request.changes and not request.token and not request.same_site:
            return _no(request, 403, "this was sent by another site's page")
        return None

    def _find(self, request: _Request) -> Person | None:
        if request.token:
            return self._accounts.by_token(request.token)
        return self._accounts.by_session(request.session) if request.session else None

    def _note(self, request: _Request, who: str, outcome: str) -> None:
        try:
            line = self._accounts.audit(who, request.method, request.path, request.peer, outcome)
        except StoreError as error:
            logger.error(Event.ACCESS_ACTION, extra={"who": who, "what": request.path, "error": str(error)})  # noqa: TRY400
            return
        event = Event.ACCESS_REFUSED if outcome == "refused" else Event.ACCESS_ACTION
        logger.info(event, extra={"who": who, "action": line.action, "what": line.what, "outcome": outcome})


class _Request:
    """What the guard looks at."""

    def __init__(self, scope: Scope, sender: Sender) -> None:
        headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.changes = self.method not in SAFE
        self.downloads = bool(OBJECT.fullmatch(self.path))
        self.sender = sender
        self.peer = sender.address
        self.malformed = _malformed(self, headers)
        self.hostname = _hostname(headers.get("host", "")) or ""
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        self.token = secret.strip() if scheme.lower() == "bearer" else ""
        self.session = session_of(headers)
        self.csrf = headers.get("x-csrf-token", "")
        self.wants_page = self.method == "GET" and "text/html" in headers.get("accept", "")
        self.htmx = headers.get("hx-request") == "true"
        self.same_site = not self.malformed and _same_site(headers)

    def is_noted(self, person: Person, status: int) -> bool:
        """Whether the guard itself adds a line to the audit trail; changes of accounts have lines of their own."""
        if OPEN.fullmatch(self.path) or OWN.fullmatch(self.path) or person is NOBODY:
            return False
        return status >= 400 or not ADMIN.fullmatch(self.path)


def _malformed(request: _Request, headers: Mapping[str, str]) -> str:
    """Return what is wrong with a request that no browser and no program of good will sends; "" as a rule."""
    if "\x00" in request.path or "%00" in request.query or "\x00" in request.query:
        return "the address holds a zero byte"
    for name, place in (("Host", headers.get("host", "")), ("Origin", headers.get("origin", "").partition("://")[2])):
        if _hostname(place) is None:
            return f"the header {name} holds no host and port"
    return ""


def _hostname(place: str) -> str | None:
    """Return the name of a host without its port, as it is compared; None where it is none."""
    if not HOST.fullmatch(place):
        return None
    try:
        return urlsplit(f"//{place}").hostname or ""
    except ValueError:
        return None  # in brackets, but no address of IPv6


def _same_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that our own page sent this; programs say nothing of the kind and are let through."""
    fetch_site = headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def secret_of(headers: Mapping[str, str], name: str) -> str:
    """Return a cookie; "" without one."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def session_of(headers: Mapping[str, str]) -> str:
    """Return the session's secret from the cookie; "" without one."""
    return secret_of(headers, COOKIE)


def place_of(request: Request) -> Place:
    """Return from where somebody tries to log in."""
    sender: Sender = request.state.sender
    return Place(sender.address, is_own=sender.is_own, browser=secret_of(request.headers, BROWSER))


def peer_of(scope: Scope) -> str:
    """Return the address that asks."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _needed(request: _Request) -> AccessRole:
    if ADMIN.fullmatch(request.path):
        return AccessRole.ADMIN
    acts = (request.changes and not OWN.fullmatch(request.path)) or request.downloads
    return AccessRole.OPERATOR if acts else AccessRole.VIEWER


def _no(request: _Request, status: int, detail: str, person: Person = NOBODY) -> _Refusal:
    logger.warning(Event.ACCESS_REFUSED, extra={"peer": request.peer, "what": request.path, "reason": detail})
    return _Refusal(status, detail, person)


def _login(request: _Request) -> _Refusal:
    if request.wants_page and not request.htmx:
        asked = f"{request.path}?{request.query}" if 0 < len(request.query) <= LONGEST_QUERY else request.path
        return _Refusal(303, "", leads_to=f"/login?next={quote(asked)}")
    headers = {"WWW-Authenticate": 'Bearer realm="npc-contour"'}
    return _Refusal(401, "log in, or send a token", headers=headers)
