"""Logging in and out, one's own password, and the accounts, tokens and audit trail for an admin."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated, Protocol

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from npc_contour.adapters.web.access import COOKIE, peer_of, session_of
from npc_contour.adapters.web.site import Site, who
from npc_contour.application.accounts import AccessRole, Accounts
from npc_contour.application.sign_in import SignIn
from npc_contour.errors import AccountError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

Name = Annotated[str, Form(max_length=64)]
Password = Annotated[str, Form(max_length=256)]
SLOWLY, WAIT = "too many wrong passwords: wait ten minutes", {"Retry-After": "600"}
AT_ONCE = 2
"""Passwords compared at once: each takes 32 MiB, on purpose."""


def add_accounts(app: FastAPI, site: Site, accounts: Accounts, sign_in: SignIn | None, *, required: bool) -> None:
    """Add login, logout and the admin's pages."""
    _add_login(app, site, accounts)
    _add_logout(app, accounts, sign_in)
    _add_own(app, site, accounts)
    shown = _shown(site, accounts, required=required)
    _add_tokens(app, accounts, shown)
    _add_admin(app, accounts, shown)


def _add_login(app: FastAPI, site: Site, accounts: Accounts) -> None:
    limiter = CapacityLimiter(AT_ONCE)

    @app.get("/login", include_in_schema=False)
    def page(request: Request, after: Annotated[str, Query(alias="next", max_length=512)] = "/work") -> Response:
        """Return the form."""
        empty = not accounts.store.accounts()
        return site.page(request, "login.html", after=local_path(after), name="", wrong="", empty=empty)

    @app.post("/login", include_in_schema=False)
    async def login(
        request: Request, name: Name, password: Password, after: Annotated[str, Form()] = "/work"
    ) -> Response:
        """Open a session, or say that name and password do not fit: never which of them."""
        peer = peer_of(request.scope)

        def attempt() -> str | None:
            if not accounts.may_try(name, peer):
                raise HTTPException(429, SLOWLY, headers=WAIT)
            secret = accounts.login(name, password)
            accounts.audit(name, "login", "", peer, "done" if secret else "refused")
            return secret

        try:
            secret = await to_thread.run_sync(attempt, limiter=limiter)
            wrong, status = "Name and password do not fit.", 401
        except HTTPException as error:
            secret, wrong, status = None, str(error.detail), error.status_code
        logger.info(Event.ACCESS_LOGIN, extra={"who": name, "peer": peer, "done": bool(secret)})
        if secret is None:
            values = {"after": local_path(after), "name": name, "wrong": wrong, "empty": False}
            refusal = site.page(request, "login.html", status=status, **values)
            refusal.headers.update(WAIT if status == 429 else {})
            return refusal
        answer = RedirectResponse(local_path(after), status_code=303)
        set_session(answer, request, secret, site.settings.web.session_h)
        return answer


def _add_logout(app: FastAPI, accounts: Accounts, sign_in: SignIn | None) -> None:
    @app.post("/logout", include_in_schema=False)
    def logout(request: Request) -> Response:
        """End the session here, and at the provider where it was begun there."""
        name = who(request).name
        accounts.logout(session_of(request.headers))
        accounts.audit(name, "logout", "", peer_of(request.scope), "done")
        leads_to = (sign_in.logout_url(name) if sign_in is not None else "") or "/login"
        answer = Response(status_code=204, headers={"HX-Redirect": leads_to, "Clear-Site-Data": '"cache", "storage"'})
        answer.delete_cookie(COOKIE)
        return answer


def _add_own(app: FastAPI, site: Site, accounts: Accounts) -> None:
    @app.get("/account", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        """Return the form for one's own password."""
        return site.page(request, "account.html", told="", wrong="")

    @app.post("/account", include_in_schema=False)
    def change(request: Request, old: Password, new: Password) -> HTMLResponse:
        """Change one's own password; every session of the account ends."""
        person = who(request)
        peer = peer_of(request.scope)
        if not accounts.may_try(person.name, peer):
            raise HTTPException(429, SLOWLY, headers=WAIT)
        if not person.csrf or not accounts.fits(person.name, old):
            accounts.audit(person.name, "login", "", peer, "refused")
            return site.page(request, "account.html", status=403, told="", wrong="The present password does not fit.")
        try:
            accounts.add(person.name, person.role, new)
        except AccountError as error:
            return site.page(request, "account.html", status=422, told="", wrong=str(error))
        accounts.audit(person.name, "password", person.name, peer, "done")
        return site.page(request, "account.html", told="The password is changed: log in with it.", wrong="")


class _Shown(Protocol):
    def __call__(self, request: Request, *, wrong: str = "", secret: str = "", status: int = 200) -> HTMLResponse: ...


def _shown(site: Site, accounts: Accounts, *, required: bool) -> _Shown:
    """Return what renders the admin's page as things stand."""

    def shown(request: Request, *, wrong: str = "", secret: str = "", status: int = 200) -> HTMLResponse:
        store = accounts.store
        return site.page(
            request, "accounts.html", status=status, accounts=store.accounts(), tokens=store.tokens(),
            audit=store.audit(200), wrong=wrong, secret=secret, required=required,
        )  # fmt: skip

    return shown


def _add_admin(app: FastAPI, accounts: Accounts, shown: _Shown) -> None:
    @app.get("/accounts", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        """Return accounts, tokens and what was done."""
        return shown(request)

    @app.post("/accounts", include_in_schema=False)
    def add(request: Request, name: Name, password: Password, role: Annotated[AccessRole, Form()]) -> HTMLResponse:
        """Add an account, or give one a new password and role."""
        try:
            accounts.add(name, role, password)
        except AccountError as error:
            return shown(request, wrong=str(error), status=422)
        return shown(request)

    @app.post("/accounts/{name}/{change}", include_in_schema=False)
    def change(request: Request, name: Annotated[str, Path(max_length=64)], change: str) -> HTMLResponse:
        """Disable or enable an account; a disabled one's sessions end at once."""
        account = accounts.store.account(name)
        if account is None or change not in {"disable", "enable"}:
            raise HTTPException(404, f"no account {name}")
        if account.name == who(request).name:
            return shown(request, wrong="Nobody can lock themselves out.", status=409)
        accounts.store.put_account(replace(account, disabled=change == "disable"))
        accounts.store.end_sessions(account=account.name)
        return shown(request)


def _add_tokens(app: FastAPI, accounts: Accounts, shown: _Shown) -> None:
    @app.post("/accounts/tokens", include_in_schema=False)
    def token(
        request: Request,
        label: Annotated[str, Form(min_length=1, max_length=64)],
        role: Annotated[AccessRole, Form()],
        days: Annotated[int, Form(ge=1, le=3650)] = 365,
    ) -> HTMLResponse:
        """Make a token; it is shown this once."""
        return shown(request, secret=accounts.make_token(label, who(request), role, days))

    @app.delete("/accounts/tokens/{token_id}", include_in_schema=False)
    def remove(request: Request, token_id: Annotated[int, Path(ge=1, le=2**62)]) -> HTMLResponse:
        """Remove a token: what uses it is let in no more."""
        if not accounts.store.remove_token(token_id):
            raise HTTPException(404, f"no token {token_id}")
        return shown(request)


def local_path(path: str) -> str:
    """Return a path of ours; what would lead elsewhere (`//host`, `https:`, a backslash) becomes the work list."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\", "/login")) and "\\" not in path
    return path if is_ours and path.isprintable() else "/work"


def set_session(answer: Response, request: Request, secret: str, hours: float) -> None:
    """Give the browser its session: not readable by scripts, never sent along with another site's requests."""
    answer.set_cookie(
        COOKIE, secret, max_age=int(hours * 3600), httponly=True, samesite="strict",
        secure=request.url.scheme == "https", path="/",
    )  # fmt: skip
