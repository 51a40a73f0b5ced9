"""Logging in and out, one's own password, and the accounts, tokens and audit trail for an admin."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Protocol

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from npc_contour.adapters.web.access import BROWSER, COOKIE, peer_of, place_of, session_of
from npc_contour.adapters.web.site import Site, who
from npc_contour.application.accounts import BROWSER_DAYS, Accounts, By
from npc_contour.application.sign_in import SignIn
from npc_contour.domain.accounts import AccessRole
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
    _add_changes(app, accounts, shown)


def _add_login(app: FastAPI, site: Site, accounts: Accounts) -> None:
    limiter = CapacityLimiter(AT_ONCE)

    @app.get("/login", include_in_schema=False)
    def page(request: Request, after: Annotated[str, Query(alias="next", max_length=2048)] = "/work") -> Response:
        """Return the form."""
        empty = not accounts.store.accounts()
        return site.page(request, "login.html", after=local_path(after), name="", wrong="", empty=empty)

    @app.post("/login", include_in_schema=False)
    async def login(
        request: Request, name: Name, password: Password, after: Annotated[str, Form()] = "/work"
    ) -> Response:
        """Open a session, or say that name and password do not fit: never which of them."""
        place = place_of(request)

        def attempt() -> tuple[str, str] | None:
            if not accounts.may_try(name, place):
                raise HTTPException(429, SLOWLY, headers=WAIT)
            secret = accounts.login(name, password)
            if secret is None:
                accounts.refused(name, place)
                return None
            accounts.audit(name, "login", "", place.peer, "done")
            return secret, accounts.remember_browser(name, place.browser)

        try:
            opened = await to_thread.run_sync(attempt, limiter=limiter)
            wrong, status = "Name and password do not fit.", 401
        except HTTPException as error:
            opened, wrong, status = None, str(error.detail), error.status_code
        logger.info(Event.ACCESS_LOGIN, extra={"who": name, "peer": place.peer, "done": opened is not None})
        if opened is None:
            values = {"after": local_path(after), "name": name, "wrong": wrong, "empty": False}
            refusal = site.page(request, "login.html", status=status, **values)
            refusal.headers.update(WAIT if status == 429 else {})
            return refusal
        answer = RedirectResponse(local_path(after), status_code=303)
        set_session(answer, request, opened[0], site.settings.web.session_h)
        set_cookie(answer, request, BROWSER, opened[1], BROWSER_DAYS * 24 * 3600)
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
        person, place = who(request), place_of(request)
        if not accounts.may_try(person.name, place):
            raise HTTPException(429, SLOWLY, headers=WAIT)
        if not person.csrf or not accounts.fits(person.name, old):
            accounts.refused(person.name, place)
            return site.page(request, "account.html", status=403, told="", wrong="The present password does not fit.")
        try:
            accounts.set_password(person.name, new, _by(request))
        except AccountError as error:
            return site.page(request, "account.html", status=422, told="", wrong=str(error))
        return site.page(request, "account.html", told="The password is changed: log in with it.", wrong="")


class _Shown(Protocol):
    def __call__(self, request: Request, *, secret: str = "") -> HTMLResponse: ...


def _shown(site: Site, accounts: Accounts, *, required: bool) -> _Shown:
    """Return what renders the admin's page as things stand."""

    def shown(request: Request, *, secret: str = "") -> HTMLResponse:
        store = accounts.store
        return site.page(
            request, "accounts.html", accounts=store.accounts(), tokens=store.tokens(),
            audit=store.audit(200), secret=secret, required=required,
        )  # fmt: skip

    return shown


def _add_admin(app: FastAPI, accounts: Accounts, shown: _Shown) -> None:
    @app.get("/accounts", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        """Return accounts, tokens and what was done."""
        return shown(request)

    @app.post("/accounts", include_in_schema=False)
    def add(request: Request, name: Name, password: Password, role: Annotated[AccessRole, Form()]) -> HTMLResponse:
        """Add an account; one that is there already stays as it is."""
        with _told():
            accounts.add(name, role, password, _by(request))
        return shown(request)

    @app.post("/accounts/role", include_in_schema=False)
    def set_role(request: Request, name: Name, role: Annotated[AccessRole, Form()]) -> HTMLResponse:
        """Give an account another role."""
        with _told():
            accounts.set_role(name, role, _by(request))
        return shown(request)

    @app.post("/accounts/password", include_in_schema=False)
    def set_password(request: Request, name: Name, password: Password) -> HTMLResponse:
        """Give an account a new password."""
        with _told():
            accounts.set_password(name, password, _by(request))
        return shown(request)


def _add_changes(app: FastAPI, accounts: Accounts, shown: _Shown) -> None:
    @app.post("/accounts/{name}/{change}", include_in_schema=False)
    def change(
        request: Request, name: Annotated[str, Path(max_length=64)], change: Literal["disable", "enable", "unlock"]
    ) -> HTMLResponse:
        """Disable or enable an account, or let it log in at once after too many wrong passwords."""
        if accounts.store.account(name) is None:
            raise HTTPException(404, f"no account {name}")
        if change != "unlock" and name.lower() == who(request).name.lower():
            raise HTTPException(409, "Nobody can lock themselves out.")
        with _told():
            if change == "unlock":
                accounts.unlock(name, _by(request))
            else:
                accounts.disable(name, disabled=change == "disable", by=_by(request))
        return shown(request)


@contextmanager
def _told() -> Iterator[None]:
    """Answer what cannot be done to an account with the reason."""
    try:
        yield
    except AccountError as error:
        raise HTTPException(409, str(error)) from error


def _add_tokens(app: FastAPI, accounts: Accounts, shown: _Shown) -> None:
    @app.post("/accounts/tokens", include_in_schema=False)
    def token(
        request: Request,
        label: Annotated[str, Form(min_length=1, max_length=64)],
        role: Annotated[AccessRole, Form()],
        days: Annotated[int, Form(ge=1, le=3650)] = 365,
    ) -> HTMLResponse:
        """Make a token; it is shown this once."""
        with _told():
            secret = accounts.make_token(label, who(request), role, days, _by(request))
        return shown(request, secret=secret)

    @app.delete("/accounts/tokens/{token_id}", include_in_schema=False)
    def remove(request: Request, token_id: Annotated[int, Path(ge=1, le=2**62)]) -> HTMLResponse:
        """Remove a token: what uses it is let in no more."""
        if not accounts.remove_token(token_id, _by(request)):
            raise HTTPException(404, f"no token {token_id}")
        return shown(request)


def _by(request: Request) -> By:
    return By(who(request).name, peer_of(request.scope))


def local_path(path: str) -> str:
    """Return a path of ours; what would lead elsewhere (`//host`, `https:`, a backslash) becomes the work list."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\", "/login")) and "\\" not in path
    return path if is_ours and path.isprintable() else "/work"


def set_session(answer: Response, request: Request, secret: str, hours: float) -> None:
    """Give the browser its session, which scripts cannot read.

    Lax, so that somebody who follows a link from the RIS or a mail is still logged in. Another site's page can then
    make a browser go to a page of ours, which changes nothing and which it cannot read. What changes something is never
    asked by GET, and must repeat the page's own secret and come from our own page (`access`).
    """
    set_cookie(answer, request, COOKIE, secret, int(hours * 3600))


def set_cookie(answer: Response, request: Request, name: str, secret: str, seconds: int) -> None:
    """Set a cookie of ours: over https only, where that is how the browser came."""
    answer.set_cookie(
        name, secret, max_age=seconds, httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/"
    )
