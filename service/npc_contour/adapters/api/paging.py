"""Lists in parts: `cursor` and the header Link (RFC 8288); and no query parameter that a path does not know."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime

from npc_contour.adapters.api.problems import READING, Responses
from npc_contour.adapters.api.texts import UIDS_OR_NONE, Known
from npc_contour.domain.status import Part, Place

_LINK = {
    "Link": {
        "description": 'Leads to the next part: <URL>; rel="next" (RFC 8288); absent with the last one',
        "schema": {"type": "string"},
    }
}
R = TypeVar("R")
_END = "\n"


def listing(leads: Responses) -> Responses:
    """Return what a list may answer.

    Args:
        leads: its answer 200, with the paths that it leads to.
    """
    return {**READING, 200: {**leads[200], "headers": _LINK}}


async def _part(
    cursor: Annotated[
        str, Query(max_length=400, description="Of the header Link: the part that follows; empty: the first one")
    ] = "",
    since: Annotated[
        AwareDatetime | None, Query(description="Only what changed at this time or later (ISO 8601, with zone)")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most this many, newest first")] = 100,
) -> Part:
    after = _place(cursor)
    if cursor and after is None:
        raise _wrong("cursor", "no cursor of this service: take the whole address from the header Link", "value_error")
    return Part(after=after, since=since, limit=limit + 1)


async def _part_of_study(
    part: Annotated[Part, Depends(_part)],
    study: Annotated[
        str, Query(pattern=UIDS_OR_NONE, description="Only of this Study Instance UID; empty: of all")
    ] = "",
    patient: Annotated[
        Known, Query(description="Only of this Patient ID, to the letter; empty: of all. No answer repeats it")
    ] = "",
) -> Part:
    return replace(part, study=study, patient=patient)


AskedPart = Annotated[Part, Depends(_part)]
"""Query parameters as a part that is one row longer than was asked for: that row tells that more follow."""
AskedPartOfStudy = Annotated[Part, Depends(_part_of_study)]


def cut(
    request: Request, response: Response, part: Part, rows: Sequence[R], place_of: Callable[[R], Place]
) -> Sequence[R]:
    """Return the rows that were asked for; where more follow, the answer gets a link to them.

    Args:
        request: whose address the link repeats.
        response: gets the header.
        part: as it was asked of the store: one row longer.
        rows: what the store gave.
        place_of: a row → its place in the order.
    """
    if len(rows) < part.limit:
        return rows
    at, key = place_of(rows[-2])
    cursor = urlsafe_b64encode(f"{at.isoformat()}{_END}{key}".encode()).decode()
    response.headers["Link"] = f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'
    return rows[:-1]


async def refuse_unknown(request: Request) -> None:
    """Refuse query parameters that the path does not have: a misspelt filter would answer with everything."""
    known = set(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            told = f"takes {', '.join(sorted(known))}" if known else "takes none"
            raise _wrong(name, f"no such query parameter: this path {told}", "extra_forbidden")


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for inner in dependant.dependencies:
        yield from _names(inner)


def _place(cursor: str) -> Place | None:
    """Return the place that a cursor names; None where it names none."""
    try:
        at, separator, key = urlsafe_b64decode(cursor.encode()).decode().partition(_END)
        place = Place(datetime.fromisoformat(at), key)
    except (binascii.Error, ValueError):
        return None
    sound = separator and key.isprintable() and place.at.tzinfo is not None
    return place if sound else None


def _wrong(name: str, message: str, kind: str) -> RequestValidationError:
    errors: list[dict[str, Any]] = [{"loc": ("query", name), "msg": message, "type": kind, "input": None}]
    return RequestValidationError(errors)
