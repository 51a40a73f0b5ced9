"""Before every page and every answer of REST: who asks, may they, and what must a browser never do with the answer.

One policy for the whole application: everything is closed but `/health/*`, the login and the style sheets; reading asks
for a viewer, changing for an operator, accounts for an admin. What changes something is written to the audit trail.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from npc_contour.application.accounts import LOCAL, AccessRole, Accounts, Person
from npc_contour.errors import StoreError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

COOKIE = "npc_session"
NOBODY = Person("", AccessRole.VIEWER)
"""Who looks at the login."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN = re.compile(r"/health/(live|ready)|/login(/oidc(/callback)?)?|/static/.*|/dicom-web/studies(/[0-9.]*)?")
"""STOW-RS has a rule of its own, `web.stow_networks`: modalities send no token."""
LIVE, READY = "/health/live", "/health/ready"
KNOWN_WITHIN_S = 2.0
"""Whoever asks for readiness while the database does not answer is taken for one without an account."""
ADMIN = re.compile(r"/accounts(/.*)?")
OWN = re.compile(r"/rules|/logout|/account")
"""Asked by POST, and still open to a viewer: nothing of the service changes."""

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


class Access:
    """ASGI middleware around the whole application.

    Args:
        app: what is guarded.
        accounts: who is known.
        required: False lets whoever reaches the port do everything as the local person.
        loopback_only: whether this machine's names are the only ones it is called by; others are refused.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts, *, required: bool, loopback_only: bool) -> None:
        self._app = app
        self._accounts = accounts
        self._required = required
        self._loopback_only = loopback_only
        self._own_threads = ThreadPoolExecutor(2, thread_name_prefix="access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope)
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if request.path in {LIVE, READY}:
                person, refusal = await self._judge_monitoring(request)
            else:
                person, refusal = await run_in_threadpool(self._judge, request)
        except StoreError as error:
            person, refusal = None, JSONResponse({"detail": str(error)}, status_code=503)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        scope.setdefault("state", {})["person"] = person
        await self._app(scope, receive, send_guarded)
        if person is not None and request.changes and not (OWN.fullmatch(request.path) or OPEN.fullmatch(request.path)):
            await run_in_threadpool(self._note, request, person.name, str(status))

    async def _judge_monitoring(self, request: _Request) -> tuple[Person | None, Response | None]:
        """Likewise of who asks for health, without waiting for the threads that all others share."""
        strange = self._strange(request)
        if strange is not None:
            return None, strange
        if not self._required:
            return LOCAL, None
        if request.path == LIVE or not (request.token or request.session):
            return NOBODY, None
        finding = asyncio.get_running_loop().run_in_executor(self._own_threads, self._find, request)
        try:
            return await asyncio.wait_for(finding, KNOWN_WITHIN_S) or NOBODY, None
        except (TimeoutError, StoreError):
            return NOBODY, None

    def _judge(self, request: _Request) -> tuple[Person | None, Response | None]:
        """Return who asks, or how they are refused."""
        strange = self._strange(request)
        if strange is not None:
            return None, strange
        if OPEN.fullmatch(request.path):
            return self._find(request) or (NOBODY if self._required else LOCAL), None
        person = self._find(request) if self._required or request.token else LOCAL
        if person is None:
            return None, _login(request)
        needed = _needed(request)
        if not person.role.may(needed):
            self._note(request, person.name, "refused")
            return None, _no(request, 403, f"{person.name} is {person.role}, this needs {needed}")
        if request.changes and person.csrf and not hmac.compare_digest(person.csrf, request.csrf):
            return None, _no(request, 403, "the page is out of date: load it again")
        return person, None

    def _strange(self, request: _Request) -> Response | None:
        """Return the refusal of what another site's page makes a browser send."""
        if self._loopback_only and request.hostname not in LOOPBACK_HOSTS:
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

    def __init__(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.changes = self.method not in SAFE
        self.peer = peer_of(scope)
        self.hostname = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        self.token = secret.strip() if scheme.lower() == "bearer" else ""
        self.session = session_of(headers)
        self.csrf = headers.get("x-csrf-token", "")
        self.wants_page = self.method == "GET" and "text/html" in headers.get("accept", "")
        self.htmx = headers.get("hx-request") == "true"
        self.same_site = _same_site(headers)


def _same_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that our own page sent this; programs say nothing of the kind and are let through."""
    fetch_site = headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def session_of(headers: Mapping[str, str]) -> str:
    """Return the session's secret from the cookie; "" without one."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def peer_of(scope: Scope) -> str:
    """Return the address that asks."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _needed(request: _Request) -> AccessRole:
    if ADMIN.fullmatch(request.path):
        return AccessRole.ADMIN
    return AccessRole.OPERATOR if request.changes and not OWN.fullmatch(request.path) else AccessRole.VIEWER


def _no(request: _Request, status: int, detail: str) -> Response:
    logger.warning(Event.ACCESS_REFUSED, extra={"peer": request.peer, "what": request.path, "reason": detail})
    return JSONResponse({"detail": detail}, status_code=status)


def _login(request: _Request) -> Response:
    if request.wants_page and not request.htmx:
        return RedirectResponse(f"/login?next={quote(request.path)}", status_code=303)
    headers = {"WWW-Authenticate": 'Bearer realm="npc-contour"'}
    return JSONResponse({"detail": "log in, or send a token"}, status_code=401, headers=headers)
