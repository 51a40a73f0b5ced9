"""The REST application: no patient's name, made for the hospital's monitoring; `operations` changes work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from npc_contour.adapters.api.docs_page import STYLE, docs_page
from npc_contour.adapters.api.metrics import StatusCollector, registry_of
from npc_contour.adapters.api.openapi import complete
from npc_contour.adapters.api.paging import AskedPartOfStudy, cut, listing, refuse_unknown
from npc_contour.adapters.api.problems import READING, add_problems, leading_to, problems
from npc_contour.adapters.api.status import add_health, add_metrics
from npc_contour.adapters.api.texts import CASE_ID, Known
from npc_contour.adapters.api.views import CaseView, JobView, SeriesView, Version
from npc_contour.application.accounts import LOCAL, Person
from npc_contour.application.measuring import measurements_csv
from npc_contour.catalog import Catalog
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.status import CheckResult, Place
from npc_contour.store.board import StatusBoard

MAX_BODY = 2**20
CSV = "node,volume_cc,long_axis_mm,short_axis_mm,enlarged\n1,0.821,14.2,9.7,True\n"
API = "/api/v1"
"""Within a version fields and paths are added, never changed or taken away."""


def create_app(
    board: StatusBoard,
    checks: Callable[[], tuple[CheckResult, ...]],
    catalog: Catalog,
    version: str,
    spool_free_bytes: Callable[[], int],
    operations: APIRouter | None = None,
    disk_full_days: Callable[[], float | None] = lambda: None,
) -> FastAPI:
    """Return the application.

    Args:
        board: the read side of the store.
        checks: looks at every dependency; must return within seconds (see `application.checks.Checkup.run`).
        catalog: the pipelines and networks in use.
        version: the service's version.
        spool_free_bytes: free bytes where images are stored.
        operations: routes that change work; None leaves REST read only.
        disk_full_days: in how many days the disk is full; None when nothing says so.
    """
    app = FastAPI(
        title="NPC auto-contouring",
        generate_unique_id_function=lambda route: route.name,
        version=version,
        description="CT series in over DICOM, RTSTRUCT out. Not a medical device: every structure set is"
        " UNAPPROVED and needs review by a radiation oncologist.",
        docs_url=None,
        redoc_url=None,
        max_body_size=MAX_BODY,
    )
    add_health(app, checks, _has_account)
    add_metrics(app, registry_of(StatusCollector(board, checks, spool_free_bytes, version, disk_full_days)))
    v1 = APIRouter(dependencies=[Depends(refuse_unknown)])
    _add_version(v1, Version.of(version, tuple(catalog.pipelines.values()), catalog.contracts))
    _add_jobs(v1, board)
    if operations is not None:
        v1.include_router(operations)
    app.include_router(v1, prefix=API)
    # For people with curl: the same without the version. Programs use the versioned paths.
    app.include_router(v1, include_in_schema=False)
    _add_docs(app)
    add_problems(app)
    complete(app)
    return app


def _has_account(request: Request) -> bool:
    """Whether the caller is authenticated; without accounts everybody is."""
    person: Person = getattr(request.state, "person", LOCAL)
    return bool(person.name)


def _add_version(app: APIRouter, version: Version) -> None:
    @app.get("/version", tags=["monitoring"], responses=problems(401, 421))
    def what_runs() -> Version:
        """Return the version, the networks (demo or not) and the pipelines in use."""
        return version


def _add_jobs(app: APIRouter, board: StatusBoard) -> None:
    @app.get(
        "/jobs",
        tags=["work"],
        responses=listing(leading_to("job", case_id="$response.body#/0/case_id")),
    )
    def jobs(
        request: Request,
        response: Response,
        part: AskedPartOfStudy,
        state: Annotated[CaseState | None, Query(description="Only cases in this state")] = None,
        pipeline: Annotated[Known | None, Query(description="Only cases of this pipeline")] = None,
    ) -> list[JobView]:
        """Return cases, newest first; the header Link leads to the next part."""
        rows = board.jobs(part, state=state, pipeline=pipeline)
        return [
            JobView.of(row)
            for row in cut(request, response, part, rows, lambda row: Place(row.created_at, row.case_id))
        ]

    @app.get(
        "/jobs/{case_id}",
        tags=["work"],
        responses={**READING, **problems(404)},
    )
    def job(case_id: CASE_ID) -> CaseView:
        """Return all of one case: series by role, the router's reasons, timeline, ROIs with volumes, deliveries."""
        details = board.details(case_id)
        if details is None:
            raise HTTPException(404, f"no case {case_id}")
        return CaseView.of(details)

    @app.get(
        "/jobs/{case_id}/measurements.csv",
        tags=["work"],
        response_class=Response,
        responses={
            **READING,
            200: {
                "content": {"text/csv": {"schema": {"type": "string"}, "example": CSV}},
                "description": "A table with a header",
            },
            **problems(404),
        },
    )
    def measurements(
        case_id: CASE_ID,
    ) -> PlainTextResponse:
        """Return what was measured: a node a line, or the shape of the tumour."""
        details = board.details(case_id)
        if details is None or details.measurements is None:
            raise HTTPException(404, f"no measurements of case {case_id}")
        return PlainTextResponse(measurements_csv(details.measurements), media_type="text/csv")

    @app.get(
        "/series",
        tags=["work"],
        responses=listing(leading_to("study", study_instance_uid="$response.body#/0/study_instance_uid")),
    )
    def series(
        request: Request,
        response: Response,
        part: AskedPartOfStudy,
        state: Annotated[SeriesState | None, Query(description="Only series in this state")] = None,
    ) -> list[SeriesView]:
        """Return received series, by the arrival of their first images, newest first; the header Link leads on.

        Those held or excluded say why.
        """
        rows = board.series(part, state=state)
        kept = cut(request, response, part, rows, lambda row: Place(row.received_at, row.series_instance_uid))
        return [SeriesView.of(row) for row in kept]


def _add_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    def style() -> Response:
        return Response(STYLE, media_type="text/css")
