"""Server-sent events: a page hears within about a second that a case has moved, and asks for what it shows again.

One look at the database a second serves every page that is open; without a page nobody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from npc_contour.adapters.web.site import Site
from npc_contour.domain.worklist import Change
from npc_contour.errors import StoreError

LOOK_EVERY_S = 1.0
KEEP_ALIVE_S = 15.0
MAX_LISTENERS = 1000

Look = Callable[[int | None], Sequence[Change]]


class Hub:
    """Tells every listener which cases have changed since it last heard."""

    def __init__(self, look: Look, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look for changes with this, so often."""
        self._look = look
        self._every_s = every_s
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def listen(self) -> AsyncIterator[frozenset[str]]:
        """Yield the ids of cases that have changed; an empty set every now and then, to keep the line open."""
        listener = _Listener()
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            while True:
                yield await listener.next()
        finally:
            self._listeners.discard(listener)

    async def _run(self) -> None:
        last: int | None = None
        while self._listeners:
            try:
                changes = await run_in_threadpool(self._look, last)
            except StoreError:
                changes = ()
            if changes and last is not None:
                moved = {change.case_id for change in changes}
                for listener in tuple(self._listeners):
                    listener.notify(moved)
            last = changes[-1].number if changes else last or 0
            await asyncio.sleep(self._every_s)


class _Listener:
    """What one page has not heard yet: ids, not messages, so that a slow page costs nothing."""

    def __init__(self) -> None:
        self._moved: set[str] = set()
        self._woken = asyncio.Event()

    def notify(self, moved: set[str]) -> None:
        self._moved |= moved
        self._woken.set()

    async def next(self) -> frozenset[str]:
        try:
            await asyncio.wait_for(self._woken.wait(), KEEP_ALIVE_S)
        except TimeoutError:
            return frozenset()
        self._woken.clear()
        moved, self._moved = frozenset(self._moved), set()
        return moved


def add_live(app: FastAPI, site: Site) -> None:
    """Add the stream of changes."""
    hub = Hub(site.worklist.changes)

    @app.get("/live", include_in_schema=False)
    async def live() -> StreamingResponse:
        """Stream `work` for any change and `case-ID` for each case that changed."""
        if hub.listeners >= MAX_LISTENERS:
            raise HTTPException(503, f"{MAX_LISTENERS} pages listen already", headers={"Retry-After": "30"})
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(hub), media_type="text/event-stream", headers=headers)


async def _events(hub: Hub) -> AsyncIterator[str]:
    yield "retry: 3000\n\n"
    async for moved in hub.listen():
        if not moved:
            yield ": still here\n\n"
            continue
        yield "event: work\ndata: changed\n\n"
        for case_id in sorted(moved - {""}):
            yield f"event: case-{case_id}\ndata: changed\n\n"
