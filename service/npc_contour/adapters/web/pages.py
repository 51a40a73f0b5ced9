"""The pages of an application, added to it together."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from npc_contour.adapters.web import account_pages, held, live, review, rules, settings_page, sign_in_pages
from npc_contour.adapters.web.access import Access
from npc_contour.adapters.web.site import STATIC, Site
from npc_contour.application.accounts import Accounts
from npc_contour.application.sign_in import SignIn
from npc_contour.application.worklist import CaseFacts, Group, Wanted
from npc_contour.errors import AutocontourError
from npc_contour.logs import Event
from npc_contour.settings import is_loopback

logger = logging.getLogger(__name__)

PAGE_ROWS = 100
CaseId = Annotated[str, Path(max_length=128)]
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


def add_pages(app: FastAPI, site: Site, accounts: Accounts, sign_in: SignIn | None = None) -> None:
    """Add every page, and the guard before them and before all that the application has already.

    Args:
        app: gets the pages; none of them is part of REST's description.
        site: what they show.
        accounts: who may see and do what.
        sign_in: lets in whom the site's identity provider vouches for; None where it has none.
    """
    web = site.settings.web
    account_pages.add_accounts(app, site, accounts, sign_in, required=web.needs_accounts)
    if sign_in is not None:
        sign_in_pages.add_sign_in(app, site, accounts, sign_in)
    # With accounts a reverse proxy may stand before us, and call us by its own name.
    local = is_loopback(web.host) and not web.needs_accounts
    app.add_middleware(Access, accounts=accounts, required=web.needs_accounts, loopback_only=local)
    if not web.needs_accounts and not is_loopback(web.host):
        logger.warning(Event.ACCESS_OPEN, extra={"host": web.host})
    _add_static(app)
    _add_work_list(app, site)
    _add_case(app, site)
    held.add_held(app, site)
    review.add_review(app, site)
    rules.add_rules(app, site)
    settings_page.add_settings(app, site)
    live.add_live(app, site)
    _add_errors(app, site)


def _add_static(app: FastAPI) -> None:
    known = {str(path.relative_to(STATIC)): path for path in STATIC.rglob("*") if path.suffix in _KINDS}

    @app.get("/static/{stamp}/{name:path}", include_in_schema=False)
    def static(stamp: str, name: str) -> Response:  # noqa: ARG001 - the stamp only tells versions apart
        """Return a file that came with the product; only those are known, whatever the path says."""
        if name not in known:
            raise HTTPException(404, f"no file {name}")
        keep = {"Cache-Control": "public, max-age=31536000, immutable"}
        return FileResponse(known[name], media_type=_KINDS[known[name].suffix], headers=keep)


def _add_work_list(app: FastAPI, site: Site) -> None:
    def wanted(group: Group, pipeline: str, text: str, offset: int) -> Wanted:
        return Wanted(
            group=group,
            pipeline=pipeline,
            text=text.strip(),
            patients=site.settings.web.show_patient,
            limit=PAGE_ROWS + 1,
            offset=offset,
        )

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/work")

    @app.get("/work", include_in_schema=False)
    def work(
        request: Request,
        group: Group = Group.ALL,
        pipeline: Annotated[str, Query(max_length=64)] = "",
        text: Annotated[str, Query(max_length=128)] = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> HTMLResponse:
        """Return the work list: the whole page, or only its rows where htmx asks for them."""
        asked = wanted(group, pipeline, text, offset)
        rows = site.worklist.rows(asked)
        only_rows = request.headers.get("hx-request") == "true" and request.headers.get("hx-boosted") != "true"
        return site.page(
            request,
            "_work.html" if only_rows else "work.html",
            asked=asked,
            rows=rows[:PAGE_ROWS],
            more=len(rows) > PAGE_ROWS,
            tally=site.worklist.tally(),
            troubles=site.troubles.count() + len(site.parked()),
            page_rows=PAGE_ROWS,
        )

    @app.get("/system", include_in_schema=False)
    def system(request: Request) -> HTMLResponse:
        """Return the line that says whether everything works, for every page's head."""
        return site.page(request, "_system.html", checks=site.checks())


def _add_case(app: FastAPI, site: Site) -> None:
    def facts_of(case_id: str) -> CaseFacts:
        facts = site.worklist.facts(case_id)
        if facts is None:
            raise HTTPException(404, f"no case {case_id}")
        return facts

    @app.get("/cases/{case_id}", include_in_schema=False)
    def case(request: Request, case_id: CaseId) -> HTMLResponse:
        """Return the story of one case: the whole page, or what changes of it where htmx asks."""
        facts = facts_of(case_id)
        name = ""
        if site.settings.web.show_patient and facts.key_image:
            name = site.readers.patient_name(facts.key_image)
        only_part = request.headers.get("hx-request") == "true" and request.headers.get("hx-boosted") != "true"
        return site.page(
            request,
            "_case.html" if only_part else "case.html",
            facts=facts,
            story=facts.story,
            job=facts.story.job,
            patient_name=name,
        )


def _add_errors(app: FastAPI, site: Site) -> None:
    """Tell a person in a page what a program is told in JSON."""

    async def told(request: Request, error: Exception) -> Response:
        known = isinstance(error, StarletteHTTPException)
        code = error.status_code if isinstance(error, StarletteHTTPException) else 503
        detail = str(error.detail) if isinstance(error, StarletteHTTPException) else str(error)
        headers = error.headers if isinstance(error, StarletteHTTPException) else None
        if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith("/api/"):
            return JSONResponse({"detail": detail}, status_code=code, headers=headers)
        title = _TITLES.get(code, "That did not work") if known else _TITLES[503]
        return site.page(request, "error.html", status=code, code=code, title=title, detail=detail)

    app.add_exception_handler(StarletteHTTPException, told)
    app.add_exception_handler(AutocontourError, told)


_TITLES = {
    403: "Not allowed",
    404: "Not found",
    409: "This cannot be shown",
    503: "The service cannot answer now",
}
