"""What every page needs: the read sides, the site's decisions, templates and the caller."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from npc_contour.adapters.web import words
from npc_contour.application.accounts import LOCAL, Person
from npc_contour.application.corrections import Corrections
from npc_contour.application.held_series import HeldSeries
from npc_contour.application.review import Review
from npc_contour.application.statistics import SiteStatistics
from npc_contour.catalog import Catalog
from npc_contour.domain.accounts import AccessRole
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.status import CheckResult, DestinationRow
from npc_contour.domain.work import ParkedStep
from npc_contour.settings import Settings
from npc_contour.store.worklist import WorkList

PACKAGE = "npc_contour.adapters.web"
SCRIPTS = ("vendor/htmx.min.js", "stream.js", "vendor/htmx-ext-sse.min.js", "vendor/idiomorph-ext.min.js", "app.js")
"""What every page runs, in this order."""
STATIC = Path(str(files(PACKAGE) / "static"))


@dataclass(frozen=True, slots=True)
class Readers:
    """How the page reads DICOM.

    Attributes:
        header: of the first bytes of a file, for the rule tester; raises InstanceRefused.
        patient_name: of a stored image by its key, decoded; "" when it has none.
    """

    header: Callable[[bytes], InstanceHeader]
    patient_name: Callable[[str], str]


@dataclass(frozen=True)
class Site:
    """One installation as its page shows it."""

    settings: Settings
    catalog: Catalog
    version: str
    worklist: WorkList
    review: Review
    checks: Callable[[], tuple[CheckResult, ...]]
    readers: Readers
    held_series: HeldSeries
    corrections: Corrections
    parked: Callable[[], Sequence[ParkedStep]]
    destinations: Callable[[], Sequence[DestinationRow]]
    statistics: SiteStatistics

    @cached_property
    def templates(self) -> Environment:
        """The templates, which escape everything that is not a template's own."""
        environment = Environment(
            loader=PackageLoader(PACKAGE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(
            icon=_icon,
            scripts=SCRIPTS,
            version=self.version,
            stamp=_stamp(),
            AccessRole=AccessRole,
            demo=self._demo,
            words=words,
        )
        environment.filters.update(
            when=words.when,
            ago=words.ago,
            seconds=words.seconds,
            short_uid=words.short_uid,
            volume=words.volume,
            measured=words.measured,
        )
        return environment

    @property
    def _demo(self) -> bool:
        return any(contract.demo for contract in self.catalog.contracts.values())

    def title_of(self, pipeline: str) -> str:
        """Return a pipeline's title; its name when it is no longer in use."""
        known = self.catalog.pipelines.get(pipeline)
        return known.title if known else pipeline

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401
        """Render a template for whoever asks."""
        person = who(request)
        text = self.templates.get_template(template).render(
            person=person, path=request.url.path, now=datetime.now().astimezone(), site=self, **values
        )
        return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})


def asks_part(request: Request) -> bool:
    """Whether htmx asks for the part of a page that changes; when it goes back in history it needs the whole page."""
    headers = request.headers
    return (
        headers.get("hx-request") == "true"
        and headers.get("hx-boosted") != "true"
        and headers.get("hx-history-restore-request") != "true"
    )


def who(request: Request) -> Person:
    """Return the caller, as the access layer has found out; the local person where there is none."""
    person = getattr(request.state, "person", LOCAL)
    return person if isinstance(person, Person) else LOCAL


def name_of(request: Request) -> str:
    """Return the name of whoever asks, for the timeline."""
    return who(request).name


def as_json(value: Mapping[str, object]) -> Markup:
    """Return JSON that may stand inside a script element: no sequence in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - escaped here


def _icon(name: str, label: str = "") -> Markup:
    """Return an icon; with a label it speaks for itself, without one it only accompanies text."""
    role = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="icon" {}><use href="/static/{}/vendor/icons.svg#{}"/></svg>').format(
        role, _stamp(), escape(name)
    )


def _stamp() -> str:
    return _STAMP


def _hash_static() -> str:
    found = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()[:10]


_STAMP = _hash_static()
"""Part of every static path, so that a new version is never mixed with what a browser has kept."""
