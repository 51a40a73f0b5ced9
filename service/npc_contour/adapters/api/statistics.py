"""What is usual at the site and what has shifted, and taking a shift as the new usual."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from npc_contour.adapters.api.operations import Done, Guard, Order
from npc_contour.adapters.api.problems import CHANGING, READING
from npc_contour.adapters.api.texts import Known
from npc_contour.application.statistics import SiteStatistics
from npc_contour.domain.statistics import Measure, SeriesKey


class KeyView(BaseModel):
    """Which values are compared with each other."""

    model_config = ConfigDict(from_attributes=True)
    measure: Measure
    structure: Known = Field(description="Name of the ROI; empty for the case as a whole", examples=["Parotid_L"])
    network: Known = Field(description="Of the pipeline where the case as a whole is meant", examples=["npc_oar"])
    version: Known = Field(examples=["1"])

    @property
    def key(self) -> SeriesKey:
        """The key that it shows."""
        return SeriesKey(self.measure, self.structure, self.network, self.version)


class UsualView(BaseModel):
    """What is usual of one series of values."""

    model_config = ConfigDict(from_attributes=True)
    key: KeyView
    cases: int = Field(description="Of the last 200: `low` and `high` are of these")
    usual: float = Field(description="In cc, HU or mm; volumes by their geometric mean")
    low: float = Field(description="A twentieth lies below")
    high: float = Field(description="A twentieth lies above")
    watch: float = Field(description="How much speaks for a shift; 1 is an alarm")
    shift: str = Field(description="The shift in words; empty as long as there is none")
    shifted_at: datetime | None


class ScannerView(BaseModel):
    """Values from one scanner and kernel."""

    model_config = ConfigDict(from_attributes=True)
    scanner: str = Field(description="Manufacturer and model", examples=["SIEMENS SOMATOM go.Sim"])
    kernel: str = Field(examples=["Hr40f"])
    cases: int
    median: float
    low: float = Field(description="A twentieth lies below")
    high: float = Field(description="A twentieth lies above")
    doubtful: int = Field(description="Cases in which something was found doubtful of the structure")


class AcceptOrder(Order):
    """Which shift is the new usual, and why."""

    key: KeyView


def statistics_routes(statistics: SiteStatistics, guard: Guard) -> APIRouter:
    """Return `GET /site/statistics`, `GET /site/scanners` and `POST /site/accept`."""
    router = APIRouter(tags=["statistics"])

    @router.get("/site/statistics", responses=READING)
    def usual() -> list[UsualView]:
        """Return what is usual at this site, what has shifted first."""
        return [UsualView.model_validate(row) for row in statistics.usual()]

    @router.get("/site/scanners", responses=READING)
    def scanners(
        measure: Annotated[Measure, Query()],
        network: Annotated[Known, Query(description="Of the pipeline where the case as a whole is meant")],
        version: Annotated[Known, Query()],
        structure: Annotated[Known, Query(description="Name of the ROI; empty for the case as a whole")] = "",
    ) -> list[ScannerView]:
        """Return the values of one series by scanner and kernel; none of one that is not known."""
        asked = SeriesKey(measure, structure, network, version)
        return [ScannerView.model_validate(row) for row in statistics.by_scanner(asked)]

    @router.post("/site/accept", responses=CHANGING)
    def accept_shift(order: AcceptOrder, request: Request) -> Done:
        """Take a shift as usual: a new baseline begins with the next case."""
        return Done(done=statistics.accept(order.key.key, by=guard(request), reason=order.reason))

    return router
