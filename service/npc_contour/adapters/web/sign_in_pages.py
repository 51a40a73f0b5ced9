"""Logging in at the site's identity provider: there and back again."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from npc_contour.adapters.web.access import BROWSER, place_of
from npc_contour.adapters.web.account_pages import local_path, set_cookie, set_session
from npc_contour.adapters.web.site import Site
from npc_contour.application.accounts import BROWSER_DAYS, Accounts
from npc_contour.application.sign_in import ATTEMPT, SignIn
from npc_contour.errors import AccountError, IdentityError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

COOKIE = "npc_login"
PATH = "/login/oidc"
BY_PROVIDER = "(provider)"
"""Whom a refused login is noted as while nobody is vouched for."""
Text = Annotated[str, Query(max_length=4096)]


def add_sign_in(app: FastAPI, site: Site, accounts: Accounts, sign_in: SignIn) -> None:
    """Add `/login/oidc`, which leads to the provider, and `/login/oidc/callback`, to which it leads back."""

    def refused(request: Request, reason: str, status: int) -> Response:
        place = place_of(request)
        accounts.refused(BY_PROVIDER, place)
        logger.warning(Event.ACCESS_REFUSED, extra={"peer": place.peer, "what": PATH, "reason": reason})
        answer = site.page(request, "login.html", status=status, after="/work", name="", wrong=reason, empty=False)
        answer.delete_cookie(COOKIE, path=PATH)
        return answer

    @app.get(PATH, include_in_schema=False)
    def begin(request: Request, after: Annotated[str, Query(alias="next", max_length=2048)] = "/work") -> Response:
        """Send the browser to the provider."""
        try:
            secret, url = sign_in.begin(local_path(after))
        except IdentityError as error:
            return refused(request, str(error), 502)
        answer = RedirectResponse(url, status_code=303)
        # Lax: the provider leads back from another site, and the browser must bring it along.
        answer.set_cookie(
            COOKIE, secret, max_age=int(ATTEMPT.total_seconds()), httponly=True, samesite="lax",
            secure=site.settings.oidc.redirect_url.startswith("https:"), path=PATH,
        )  # fmt: skip
        return answer

    @app.get(f"{PATH}/callback", include_in_schema=False)
    def back(request: Request, state: Text = "", code: Text = "", error: Text = "") -> Response:
        """Open a session for whom the provider vouches."""
        place = place_of(request)
        if not accounts.may_try("", place):
            raise HTTPException(429, "too many refused logins: wait ten minutes", headers={"Retry-After": "600"})
        if error or not code:
            return refused(request, "The provider did not let you in.", 401)
        try:
            session, name, after = sign_in.finish(request.cookies.get(COOKIE, ""), state, code)
        except (IdentityError, AccountError) as problem:
            return refused(request, str(problem), 403 if isinstance(problem, AccountError) else 401)
        accounts.audit(name, "login", "provider", place.peer, "done")
        logger.info(Event.ACCESS_LOGIN, extra={"who": name, "peer": place.peer, "done": True})
        answer = RedirectResponse(after, status_code=303)
        answer.delete_cookie(COOKIE, path=PATH)
        set_session(answer, request, session, site.settings.web.session_h)
        browser = accounts.remember_browser(name, place.browser)
        set_cookie(answer, request, BROWSER, browser, BROWSER_DAYS * 24 * 3600)
        return answer
