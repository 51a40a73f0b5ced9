"""The port to the store: one transaction changes state and defers the jobs that the change causes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from npc_contour.application.records import (
    Added,
    AssociationRow,
    Attempts,
    CaseRecord,
    DeliveryRecord,
    Ending,
    Job,
    JobKind,
    PulledSeries,
    PullState,
    SeriesRecord,
    StoryLine,
)
from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState
from npc_contour.domain.queries import Match
from npc_contour.domain.series import InstanceHeader


class Transaction(Protocol):
    """Everything below happens together or not at all; StoreError when the database fails."""

    def defer(self, job: Job) -> None:
        """Do a job once the transaction is committed; a job that waits already is only moved earlier."""
        ...

    def tell(self, line: StoryLine) -> None:
        """Add a line to the story."""
        ...

    def open_association(self, row: AssociationRow, at: datetime) -> None:
        """Note an association; twice is once."""
        ...

    def end_association(self, association_id: str, ending: Ending, at: datetime) -> tuple[str, ...]:
        """Note its end; return the Series Instance UIDs it carried that are still being received."""
        ...

    def end_lost_associations(self, receiver: str, at: datetime) -> tuple[str, ...]:
        """End every open association of a receiver that died; return the series concerned."""
        ...

    def add_instance(self, header: InstanceHeader, association_id: str, called_ae_title: str, at: datetime) -> Added:
        """Add an image and its series and study; one whose UID is there already changes nothing."""
        ...

    def series(self, series_instance_uid: str, *, lock: bool = False) -> SeriesRecord | None:
        """Return one series; `lock` keeps others from changing it until the end of the transaction."""
        ...

    def series_of_study(self, study_instance_uid: str) -> tuple[SeriesRecord, ...]:
        """Return all series of a study."""
        ...

    def headers(self, series_instance_uid: str) -> tuple[InstanceHeader, ...]:
        """Return the images of a series."""
        ...

    def set_series(self, series_instance_uid: str, state: SeriesState, reasons: Sequence[str], at: datetime) -> None:
        """Change the state of a series; once it is no more received, its study is due to be routed."""
        ...

    def lock_study(self, study_instance_uid: str) -> None:
        """Keep others from routing the study until the end of the transaction, at which it counts as routed."""
        ...

    def live_cases(self, study_instance_uid: str) -> tuple[CaseRecord, ...]:
        """Return the cases of a study that are not superseded."""
        ...

    def case(self, case_id: str, *, lock: bool = False) -> CaseRecord | None:
        """Return one case."""
        ...

    def add_case(self, case: CaseRecord) -> None:
        """Add a case."""
        ...

    def update_waiting_case(self, case: CaseRecord, at: datetime) -> None:
        """Replace state, inputs, waiting and reasons of a case that has no images yet."""
        ...

    def supersede(self, case_id: str, successor: str, at: datetime) -> None:
        """Let another case take the place of this one."""
        ...

    def set_case(self, case_id: str, state: CaseState, at: datetime, *, reasons: Sequence[str] | None = None) -> None:
        """Change the state of a case, and its reasons unless None."""
        ...

    def add_structure_set(
        self, case_id: str, sop_instance_uid: str, key: str, report: dict[str, Any], at: datetime
    ) -> None:
        """Note a structure set; twice is once."""
        ...

    def structure_set_uid(self, case_id: str) -> str | None:
        """Return the SOP Instance UID of the structure set of a case; None before it is written."""
        ...

    def add_delivery(
        self, case_id: str, destination: str, state: DeliveryState, message: str, at: datetime
    ) -> int | None:
        """Add a delivery; return its id, or None when the destination has one for this case."""
        ...

    def delivery(self, delivery_id: int, *, lock: bool = False) -> DeliveryRecord | None:
        """Return one delivery."""
        ...

    def deliveries(self, case_id: str) -> tuple[DeliveryRecord, ...]:
        """Return all deliveries of a case."""
        ...

    def set_delivery(
        self,
        delivery_id: int,
        state: DeliveryState,
        at: datetime,
        *,
        attempts: int,
        next_try_at: datetime | None,
        status: int | None,
        message: str,
    ) -> None:
        """Change a delivery."""
        ...

    def count_attempt(self, kind: JobKind, key: str, at: datetime) -> Attempts:
        """Count one more attempt of a step; return how many there are with it."""
        ...

    def attempts(self, kind: JobKind, key: str) -> int:
        """Return how often a step was begun since it last succeeded."""
        ...

    def attempt_message(self, kind: JobKind, key: str, message: str) -> None:
        """Note why the last attempt failed."""
        ...

    def clear_attempts(self, kind: JobKind, key: str) -> None:
        """Forget the attempts: the step succeeded."""
        ...

    def set_pull_rules(self, names: Sequence[str], at: datetime) -> None:
        """Let just these rules look: new ones at once, others when they were due, none besides."""
        ...

    def due_pull_rules(self, at: datetime) -> tuple[str, ...]:
        """Return the rules that should have looked by now."""
        ...

    def next_poll(self, name: str, at: datetime) -> None:
        """Note when a rule looks next."""
        ...

    def want_series(self, pacs: str, match: Match, at: datetime, *, again: bool = False) -> int | None:
        """Note that a series is to be fetched; return its id, or None when nothing is to be done about it.

        A series is fetched once, and again when the PACS has more images of it, or `again` asks for it.
        """
        ...

    def pulled_series(self, pull_id: int, *, lock: bool = False) -> PulledSeries | None:
        """Return one series that is or was to be fetched."""
        ...

    def set_pulled(self, pull_id: int, state: PullState, attempts: int, message: str, at: datetime) -> None:
        """Change the state of one."""
        ...

    def jobs_missing(self) -> tuple[Job, ...]:
        """Return what should be done by the state of rows but is neither queued nor being done."""
        ...


class Store(Protocol):
    """State that survives."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin; commit at the end of the block, roll back when it raises."""
        ...

    def claim(self, kind: JobKind, key: str) -> AbstractContextManager[bool]:
        """Take sole charge of one row for a step; gives False when another process that lives has it."""
        ...

    def slot(self, at_once: int) -> AbstractContextManager[None]:
        """Hold one of `at_once` places of the whole installation; waits until one is free."""
        ...
