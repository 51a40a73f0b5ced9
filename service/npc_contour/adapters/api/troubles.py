"""Over REST: what a person may do about series that lie still, and about other bytes under a known UID."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import Field

from npc_contour.adapters.api.operations import ANSWERS, Done, Guard, Order, signed
from npc_contour.application.troubles import Troubles

SeriesUid = Annotated[str, Path(description="Series Instance UID", max_length=64, pattern=r"^[0-9.]+$")]
FileName = Annotated[str, Path(description="Of a file in quarantine", max_length=160, pattern=r"^[0-9A-Za-z.-]+$")]


class FetchOrder(Order):
    """From where."""

    pacs: str = Field(max_length=32, description="Name of a [[pacs]] of the settings", examples=["archive"])


def trouble_routes(troubles: Troubles, guard: Guard) -> APIRouter:
    """Return the routes; `guard` says who asks."""
    router = APIRouter(tags=["operations"], responses=ANSWERS)

    @router.post("/series/{series_instance_uid}/aside")
    def aside(series_instance_uid: SeriesUid, order: Order, request: Request) -> Done:
        """Say that a held series is not wanted: its study is routed without it; a new image opens it again."""
        return Done(done=troubles.set_aside(series_instance_uid, by=guard(request), reason=order.reason))

    @router.post("/series/{series_instance_uid}/fetch")
    def fetch(series_instance_uid: SeriesUid, order: FetchOrder, request: Request) -> Done:
        """Fetch a held series from a PACS: what is here already changes nothing, missing images complete it."""
        return Done(done=troubles.fetch(series_instance_uid, order.pacs, by=signed(guard(request), order)))

    @router.post("/quarantine/{name}/discard")
    def discard(name: FileName, order: Order, request: Request) -> Done:
        """Throw away other bytes that came under a known UID; the kept ones stay."""
        return Done(done=troubles.discard(name, by=guard(request), reason=order.reason))

    return router
