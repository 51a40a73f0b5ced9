"""REST: actions on held series, and on duplicate UIDs with different content."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import Field

from npc_contour.adapters.api.operations import Done, Guard, Order, signed
from npc_contour.adapters.api.problems import CHANGING
from npc_contour.adapters.api.texts import NAME_PATTERN, UID_PATTERN
from npc_contour.application.corrections import Corrections
from npc_contour.application.held_series import HeldSeries

SERIES_UID = Annotated[
    str, Path(description="Series Instance UID", pattern=UID_PATTERN, examples=["1.2.826.0.1.3680043.8.498.2"])
]
FILE_NAME = Annotated[
    str,
    Path(
        description="Of a file in quarantine",
        max_length=160,
        pattern=r"^[0-9A-Za-z.-]+$",
        examples=["1.2.826.0.1.3680043.8.498.3-5d41402abc4b2a76.dcm"],
    ),
]


class FetchOrder(Order):
    """An order to fetch, with the PACS that is asked."""

    pacs: str = Field(pattern=NAME_PATTERN, description="Name of a [[pacs]] of the settings", examples=["archive"])


def held_series_routes(held_series: HeldSeries, corrections: Corrections, guard: Guard) -> APIRouter:
    """Return the routes; `guard` returns the caller's name."""
    router = APIRouter(tags=["operations"])

    @router.post("/series/{series_instance_uid}/aside", responses=CHANGING)
    def aside(series_instance_uid: SERIES_UID, order: Order, request: Request) -> Done:
        """Say that a held series is not wanted: its study is routed without it; a new image opens it again."""
        return Done(done=held_series.set_aside(series_instance_uid, by=guard(request), reason=order.reason))

    @router.post("/series/{series_instance_uid}/whole", responses=CHANGING)
    def whole(series_instance_uid: SERIES_UID, order: Order, request: Request) -> Done:
        """Say that a held series is whole, although the scanner counted more images; its RTSTRUCT notes it."""
        return Done(done=held_series.take_as_whole(series_instance_uid, by=guard(request), reason=order.reason))

    @router.post("/series/{series_instance_uid}/fetch", responses=CHANGING)
    def fetch(series_instance_uid: SERIES_UID, order: FetchOrder, request: Request) -> Done:
        """Fetch a held series from a PACS: what is here already changes nothing, missing images complete it."""
        return Done(done=held_series.fetch(series_instance_uid, order.pacs, by=signed(guard(request), order)))

    @router.post("/series/{series_instance_uid}/accept", responses=CHANGING)
    def accept(series_instance_uid: SERIES_UID, order: Order, request: Request) -> Done:
        """Replace stored images by those received later with the same UIDs; cases made from them are re-contoured."""
        return Done(done=corrections.accept(series_instance_uid, by=guard(request), reason=order.reason))

    @router.post("/series/{series_instance_uid}/discard", responses=CHANGING)
    def discard_series(series_instance_uid: SERIES_UID, order: Order, request: Request) -> Done:
        """Delete images received later with the same UIDs; the stored ones stay, and held cases continue."""
        return Done(done=corrections.discard(series_instance_uid, by=guard(request), reason=order.reason))

    @router.post("/quarantine/{name}/discard", responses=CHANGING)
    def discard(name: FILE_NAME, order: Order, request: Request) -> Done:
        """Delete a quarantined duplicate of one image; the stored one stays."""
        return Done(done=corrections.discard_file(name, by=guard(request), reason=order.reason))

    return router
