"""Compressed answers: what is text and holds no secret of a session."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

LEAST_BYTES = 1000
LEVEL = 5


class Compression:
    """ASGI middleware that compresses parts of pages, REST's answers, scripts and styles.

    Whole pages hold a session's token beside what was searched for: their compressed size would tell about it (BREACH).
    Planes and points are for networks where a processor is slower than the wire.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressing = GZipMiddleware(app, minimum_size=LEAST_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        compressed = scope["type"] == "http" and _may_be(scope)
        await (self._compressing if compressed else self._plain)(scope, receive, send)


def _may_be(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith(("/static/", "/api/")) or Headers(scope=scope).get("hx-request") == "true"
