"""A status board over rows in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.status import CaseDetails, Counts, JobRow, Part, SeriesRow
from npc_contour.errors import StoreError
from npc_contour.store.board import StatusBoard


@dataclass
class FakeBoard(StatusBoard):
    """Rows as given, newest first; `down` makes every question fail as a dead database does."""

    case_details: dict[str, CaseDetails] = field(default_factory=dict)
    received: list[SeriesRow] = field(default_factory=list)
    numbers: Counts = field(default_factory=Counts)
    down: bool = False

    def jobs(self, part: Part, *, state: CaseState | None = None, pipeline: str | None = None) -> Sequence[JobRow]:
        self._answer()
        rows = sorted(
            (details.job for details in self.case_details.values()), key=lambda row: row.created_at, reverse=True
        )
        wanted = [row for row in rows if state in {None, row.state} and pipeline in {None, row.pipeline}]
        return wanted[: part.limit]

    def details(self, case_id: str) -> CaseDetails | None:
        self._answer()
        return self.case_details.get(case_id)

    def series(self, part: Part, *, state: SeriesState | None = None) -> Sequence[SeriesRow]:
        self._answer()
        return [row for row in self.received if state in {None, row.state}][: part.limit]

    def counts(self) -> Counts:
        self._answer()
        return self.numbers

    def _answer(self) -> None:
        if self.down:
            raise StoreError("the database does not answer")
