"""The page *Held*: held series, failed steps, and duplicates with different content. Each needs an action."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from npc_contour.adapters.web.site import Site, asks_part


def add_held(app: FastAPI, site: Site) -> None:
    """Add the page."""

    @app.get("/held", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        """Return the page, or its lists only where htmx asks for them."""
        return site.page(
            request,
            "_held.html" if asks_part(request) else "held.html",
            series=site.held_series.series(),
            parked=site.parked(),
            others=site.corrections.series(),
            pacs=site.held_series.pacs,
        )
