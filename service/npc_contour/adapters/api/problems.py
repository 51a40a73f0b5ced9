"""What REST answers when it does not do what was asked: one shape, documented at each path with an example."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from npc_contour.errors import AutocontourError, NoSuchRowError, OperationRefused, TooManyError, UnusableValueError

Responses = dict[int | str, dict[str, Any]]
RETRY_AFTER_S = 60


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="In a sentence; never a patient's name", examples=["no case c-2f6d1b9e"])


class Wrong(BaseModel):
    """One value that will not do."""

    loc: list[str | int] = Field(description="Where it stands", examples=[["query", "limit"]])
    msg: str = Field(description="What is wrong with it", examples=["Input should be greater than or equal to 1"])
    type: str = Field(description="The same as a constant", examples=["greater_than_equal"])


class WrongInput(BaseModel):
    """Which values will not do."""

    detail: list[Wrong]


_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "How to authenticate", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}},
}
_MEANING: dict[int, tuple[str, str]] = {
    400: ("The body is not what it says it is", "There was an error parsing the body"),
    401: ("Nobody is logged in, or the token is unknown or over", "log in, or send a token"),
    403: ("The role does not reach, or another site's page asks", "ann is viewer, this needs operator"),
    404: ("It does not exist", "no case c-2f6d1b9e"),
    409: ("Not in this state; the answer says which", "case c-2f6d1b9e is sent: it cannot be cancelled"),
    413: ("The body is larger than is taken", "the body has more than 1048576 bytes"),
    415: ("Not the content type that is taken", 'expected multipart/related; type="application/dicom"'),
    421: ("Asked by a name that is not this machine's", "this service answers as localhost only"),
    429: ("Too much waits already: ask again later", "1000 requests wait already"),
    503: ("The database does not answer, or there is no room: ask again later", "the database does not answer"),
}


def problems(*statuses: int) -> Responses:
    """Return the description of these answers, each with an example.

    Args:
        statuses: of HTTP; those of `_MEANING`.
    """
    return {status: _described(status) for status in statuses}


def leading_to(operation: str, **parameters: str) -> Responses:
    """Return the description of 200 as an answer whose fields lead to another path.

    Args:
        operation: the other's name.
        parameters: the other's parameters → where the answer has them, as OpenAPI's runtime expressions.
    """
    link = {"operationId": operation, "parameters": parameters}
    return {200: {"description": "Successful Response", "links": {operation: link}}}


def _described(status: int) -> dict[str, Any]:
    meaning, example = _MEANING[status]
    described: dict[str, Any] = {
        "model": Problem,
        "description": meaning,
        "content": {"application/json": {"example": {"detail": example}}},
    }
    if status in _HEADERS:
        described["headers"] = _HEADERS[status]
    return described


WRONG_INPUT: Responses = {422: {"model": WrongInput, "description": "A value is wrong; the answer names it"}}
READING: Responses = {**problems(401, 403, 421, 503), **WRONG_INPUT}
"""What any path may answer to a question."""
_TOO_LARGE: Responses = {
    413: {
        "description": "The body is larger than is taken; text, since it is answered before anything looks at the body",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "Content Too Large"}},
    }
}
CHANGING: Responses = {**problems(400, 401, 403, 404, 409, 421, 503), **_TOO_LARGE, **WRONG_INPUT}
"""What any path may answer to an order."""

STATUSES: dict[type[AutocontourError], int] = {
    NoSuchRowError: 404,
    OperationRefused: 409,
    TooManyError: 429,
    UnusableValueError: 400,
}
"""Errors of the use cases as statuses; every other is 503."""


def add_problems(app: FastAPI) -> None:
    """Answer errors of the use cases and wrong input in the shape that is documented."""
    for kind, status in STATUSES.items():
        app.add_exception_handler(kind, _answering(status))
    app.add_exception_handler(AutocontourError, _answering(503))
    app.add_exception_handler(RequestValidationError, _wrong_input)


def _answering(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in {429, 503} else None

    async def answer(_: Request, error: Exception) -> JSONResponse:
        # Half a character in what was asked for cannot be sent back.
        return JSONResponse(
            {"detail": str(error).encode(errors="replace").decode()}, status_code=status, headers=headers
        )

    return answer


async def _wrong_input(_: Request, error: Exception) -> JSONResponse:
    """Name what is wrong without repeating it: an input may hold what must not be echoed, or what JSON cannot."""
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    wrong = [{"loc": [*one["loc"]], "msg": one["msg"], "type": one["type"]} for one in found]
    return JSONResponse({"detail": wrong}, status_code=422)
