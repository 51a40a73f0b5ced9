"""The settings as the service runs with them, read only; what could open a door is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from npc_contour.adapters.web.site import Site
from npc_contour.settings import Settings

HIDDEN = "[hidden]"
_SECRET = ("password", "secret", "token", "private_key", "credential")


@dataclass(frozen=True, slots=True)
class Line:
    """One key; `changed` when the site's value is not the default."""

    key: str
    value: str
    changed: bool


def add_settings(app: FastAPI, site: Site) -> None:
    """Add the page."""
    areas = areas_of(site.settings)

    @app.get("/settings", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        """Return the settings, the readiness of what they name, and where destinations stand, which htmx asks for."""
        values: dict[str, Any] = {
            "destinations": site.destinations(),
            "named": {one.name for one in site.settings.destinations},
        }
        if request.headers.get("hx-request") == "true":
            return site.page(request, "_destinations.html", **values)
        return site.page(request, "settings.html", areas=areas, checks=site.checks(), **values)


def areas_of(settings: Settings) -> dict[str, tuple[Line, ...]]:
    """Return every key by area, as text, with secrets hidden."""
    values, defaults = settings.model_dump(mode="json"), Settings().model_dump(mode="json")
    areas: dict[str, tuple[Line, ...]] = {}
    for name, value in values.items():
        default = defaults.get(name)
        if isinstance(value, Mapping):
            areas[name] = tuple(_lines(value, default if isinstance(default, Mapping) else {}))
        elif isinstance(value, list):
            for number, item in enumerate(value, start=1):
                title = str(item.get("name", number)) if isinstance(item, Mapping) else str(number)
                areas[f"{name}: {title}"] = tuple(_lines(item if isinstance(item, Mapping) else {}, {}))
    return areas


def _lines(values: Mapping[str, Any], defaults: Mapping[str, Any], before: str = "") -> Iterator[Line]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = defaults.get(key)
            yield from _lines(value, inner if isinstance(inner, Mapping) else {}, f"{before}{key}.")
            continue
        yield Line(f"{before}{key}", shown(key, value), key in defaults and value != defaults[key])


def shown(key: str, value: object) -> str:
    """Return a value as text; a secret, or the password inside a URL, is hidden."""
    if any(word in key.lower() for word in _SECRET) and value not in (None, "", []):
        return HIDDEN
    if isinstance(value, list):
        return ", ".join(shown(key, item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {shown(name, item)}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "" if value is None else str(value)
    if "://" in text and "@" in text:
        parts = urlsplit(text)
        place = parts.netloc.rsplit("@", 1)[-1]
        return urlunsplit((parts.scheme, f"{HIDDEN}@{place}", parts.path, "", ""))
    return text or "not set"
