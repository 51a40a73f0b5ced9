"""The pages of an application, added to it together."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from npc_contour.adapters.web import account_pages, held, live, review, rules, settings_page, sign_in_pages, statistics
from npc_contour.adapters.web.access import Access, Rules
from npc_contour.adapters.web.compression import Compression
from npc_contour.adapters.web.site import STATIC, Site, asks_part
from npc_contour.application.accounts import Accounts
from npc_contour.application.sign_in import SignIn
from npc_contour.domain.worklist import CaseFacts, Group, Order, Wanted
from npc_contour.errors import AutocontourError
from npc_contour.logs import Event
from npc_contour.settings import is_loopback

logger = logging.getLogger(__name__)

PAGE_ROWS = 100
Day = Annotated[
    Annotated[date, Field(ge=date(1900, 1, 1), le=date(2999, 12, 31))] | None,
    BeforeValidator(lambda text: text or None),
]
"""Of a form, which sends an empty field, too."""
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
    site_rules = Rules(
        required=web.needs_accounts,
        loopback_only=local,
        open_to_proxies=web.accounts == "off",
        trusted_proxies=web.trusted_proxies,
        stow_networks=web.stow_networks,
    )
    app.add_middleware(Compression)
    app.add_middleware(Access, accounts=accounts, rules=site_rules, error_page=partial(_error_page, site))
    if not web.needs_accounts and not is_loopback(web.host):
        logger.warning(Event.ACCESS_OPEN, extra={"host": web.host})
    _add_static(app)
    _add_work_list(app, site)
    _add_case(app, site)
    held.add_held(app, site)
    review.add_review(app, site)
    rules.add_rules(app, site)
    settings_page.add_settings(app, site)
    statistics.add_statistics(app, site)
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


class _Query(BaseModel):
    """What the work list is asked."""

    group: Group = Group.ALL
    pipeline: str = Field(default="", max_length=64)
    text: str = Field(default="", max_length=128)
    order: Order = Order.NEWEST
    first: Day = None
    last: Day = None
    offset: int = Field(default=0, ge=0, le=1_000_000)
    until: AwareDatetime | None = None


def _begin(day: date | None) -> datetime | None:
    """When a day begins in this machine's time zone."""
    return None if day is None else datetime.combine(day, time()).astimezone()


def _add_work_list(app: FastAPI, site: Site) -> None:
    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/work")

    @app.get("/work", include_in_schema=False)
    def work(request: Request, query: Annotated[_Query, Query()]) -> HTMLResponse:
        """Return the work list: the whole page, or only its rows where htmx asks for them."""
        asked = Wanted(
            group=query.group,
            pipeline=query.pipeline,
            text=query.text.strip(),
            patients=site.settings.web.show_patient,
            order=query.order,
            first=_begin(query.first),
            end=_begin(query.last + timedelta(days=1)) if query.last else None,
            limit=PAGE_ROWS + 1,
            offset=query.offset,
            until=query.until,
        )
        rows = site.worklist.rows(asked)
        return site.page(
            request,
            "_work.html" if asks_part(request) else "work.html",
            asked=asked,
            days={"first": query.first, "last": query.last},
            rows=rows[:PAGE_ROWS],
            series=site.worklist.without_case(asked),
            more=len(rows) > PAGE_ROWS,
            tally=site.worklist.tally(),
            held_count=site.held_series.count() + site.corrections.count() + len(site.parked()),
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
        """Return the details of one case: the whole page, or what changes of it where htmx asks."""
        facts = facts_of(case_id)
        name = ""
        if site.settings.web.show_patient and facts.key_image:
            name = site.readers.patient_name(facts.key_image)
        return site.page(
            request,
            "_case.html" if asks_part(request) else "case.html",
            facts=facts,
            details=facts.details,
            job=facts.details.job,
            patient_name=name,
        )


def _add_errors(app: FastAPI, site: Site) -> None:
    """Tell a person in a page what a program is told in JSON."""
    for kind in (StarletteHTTPException, RequestValidationError, *_kinds_told(app)):
        app.add_exception_handler(kind, _for_people_too(site, app.exception_handlers[kind]))


def _kinds_told(app: FastAPI) -> tuple[type[AutocontourError], ...]:
    kinds = app.exception_handlers
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, AutocontourError))


def _for_people_too(
    site: Site, for_programs: Callable[..., Any]
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def told(request: Request, error: Exception) -> Response:
        answer: Response = await for_programs(request, error)
        if not _is_for_people(request):
            return answer
        detail = str(getattr(error, "detail", error))
        if isinstance(error, RequestValidationError):
            detail = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        kept = {name: answer.headers[name] for name in ("retry-after", "www-authenticate") if name in answer.headers}
        return _error_page(site, request, answer.status_code, detail, kept)

    return told


def _is_for_people(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _error_page(site: Site, request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """Return why there is no answer: a page for a browser, JSON for a program."""
    plain = detail.encode(errors="replace").decode()
    if not _is_for_people(request):
        return JSONResponse({"detail": plain}, status_code=status, headers=dict(headers))
    title = _TITLES.get(status, "That did not work")
    answer = site.page(request, "error.html", status=status, code=status, title=title, detail=plain)
    answer.headers.update(headers)
    return answer


_TITLES = {
    400: "This cannot be read",
    403: "Not allowed",
    404: "Not found",
    409: "This cannot be shown",
    421: "Not by this name",
    422: "There is no such page",
    429: "Too much at once",
    503: "The service cannot answer now",
}
