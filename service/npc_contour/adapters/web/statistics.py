"""The page *Statistics*: what is usual at this site, what has shifted, and where the values come from."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse

from npc_contour.adapters.web.site import Site
from npc_contour.domain.statistics import Measure, SeriesKey

_Name = Annotated[str, Query(max_length=64)]


def add_statistics(app: FastAPI, site: Site) -> None:
    """Add the page."""

    @app.get("/statistics", include_in_schema=False)
    def page(
        request: Request,
        measure: Measure = Measure.VOLUME,
        structure: _Name = "",
        network: _Name = "",
        version: _Name = "",
    ) -> HTMLResponse:
        """Return the page; with a series of values named, also that one by scanner and kernel."""
        chosen = SeriesKey(measure, structure, network, version) if network else None
        scanners = site.statistics.by_scanner(chosen) if chosen else ()
        return site.page(request, "statistics.html", rows=site.statistics.usual(), chosen=chosen, scanners=scanners)
