"""Health and numbers over HTTP: part of REST, and alone on the status port of machines without the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from npc_contour.adapters.api.metrics import render
from npc_contour.adapters.api.problems import problems
from npc_contour.adapters.api.views import Live, Ready
from npc_contour.domain.status import CheckResult

METRICS = '# TYPE npc_contour_cases gauge\nnpc_contour_cases{state="sent"} 12.0\n'


def status_app(
    checks: Callable[[], tuple[CheckResult, ...]],
    registry: CollectorRegistry,
    version: str,
    may_see: Callable[[Request], bool] = lambda _: True,
) -> FastAPI:
    """Return what the status port answers: `/health/live`, `/health/ready` and `/metrics`, and nothing about patients.

    Args:
        checks: looks at what this machine's processes depend on; must return within seconds.
        registry: the numbers.
        version: the service's version.
        may_see: see `add_health`.
    """
    app = FastAPI(title="NPC auto-contouring: status", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    add_health(app, checks, may_see)
    add_metrics(app, registry)
    return app


def add_health(app: FastAPI, checks: Callable[[], tuple[CheckResult, ...]], may_see: Callable[[Request], bool]) -> None:
    """Add `/health/live` and `/health/ready`, which wait for none of the threads that other requests share.

    Args:
        app: gets them.
        checks: looks at what is depended on; must return within seconds.
        may_see: whether the caller may see more of readiness than the state.
    """
    threads = ThreadPoolExecutor(2, thread_name_prefix="health")

    @app.head("/health/live", include_in_schema=False)
    @app.get("/health/live", tags=["health"], responses=problems(421))
    async def live() -> Live:
        """Return 200 as long as the process answers; looks at nothing else."""
        return Live()

    @app.head("/health/ready", include_in_schema=False)
    @app.get(
        "/health/ready",
        tags=["health"],
        responses={
            503: {"model": Ready, "description": "Something required does not work; `remedy` says what to do"},
            **problems(421),
        },
    )
    async def ready(request: Request, response: Response) -> Ready:
        """Look at every dependency (at most every few seconds): 200 when all that is required is ok, else 503.

        What was looked at is told to those who have an account; where accounts are off, to everybody.
        """
        result = Ready.of(await asyncio.get_running_loop().run_in_executor(threads, checks), details=may_see(request))
        response.status_code = 503 if result.status == "not ready" else 200
        return result


def add_metrics(app: FastAPI, registry: CollectorRegistry) -> None:
    """Add `/metrics`."""

    @app.get(
        "/metrics",
        tags=["monitoring"],
        response_class=Response,
        responses={
            **problems(401, 421),
            200: {
                "content": {"text/plain": {"schema": {"type": "string"}, "example": METRICS}},
                "description": "Prometheus' text format",
            },
        },
    )
    def metrics() -> Response:
        """Return numbers in Prometheus' text format: cases, deliveries, series, step durations, disk, queue."""
        return Response(render(registry), media_type=CONTENT_TYPE_LATEST)
