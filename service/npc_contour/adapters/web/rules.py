"""Rule tester: drop DICOM files, see which rule takes them and why. Pixels stay in the browser, nothing is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse

from npc_contour.adapters.web.site import Site
from npc_contour.application.rule_test import ask_rules
from npc_contour.core.evidence import SiteWords
from npc_contour.errors import InstanceRefused

MAX_FILES = 3000
MAX_HEAD = 256 * 1024
MAX_BODY = 128 * 2**20
"""The browser sends this much of a file at most: the header, rarely more than a few kilobytes."""


def add_rules(app: FastAPI, site: Site) -> None:
    """Add the page and its answer."""
    pipelines = tuple(site.catalog.pipelines.values())

    words = SiteWords(**site.settings.routing.words.model_dump())

    @app.get("/rules", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        """Return the page: the rules in force, and where to drop files."""
        return site.page(request, "rules.html", pipelines=pipelines)

    @app.post("/rules", include_in_schema=False, max_body_size=MAX_BODY)
    async def ask(
        request: Request,
        files: Annotated[list[UploadFile], File()],
        called: Annotated[str, Form(max_length=16)] = "",
    ) -> HTMLResponse:
        """Return what the rules make of these headers."""
        if len(files) > MAX_FILES:
            raise HTTPException(413, f"{len(files)} files: at most {MAX_FILES} are taken at once")
        headers, skipped = [], []
        for file in files:
            try:
                headers.append(site.readers.header(await file.read(MAX_HEAD)))
            except InstanceRefused as error:
                skipped.append((file.filename or "a file", str(error)))
        return site.page(
            request,
            "_answer.html",
            answers=ask_rules(headers, pipelines, called.strip(), words),
            skipped=skipped,
            taken=len(headers),
        )
