"""What whoever operates the service reads: the timeline of a study, where destinations stand."""

from __future__ import annotations

from collections.abc import Sequence

from npc_contour.domain.jobs import DeliveryState
from npc_contour.domain.status import DestinationRow, StudyDetails, StudyEvent
from npc_contour.domain.work import ParkedStep
from npc_contour.store.board import job_row, series_row
from npc_contour.store.connection import Row
from npc_contour.store.database import Store

_TIMELINE = "SELECT * FROM event WHERE study_instance_uid = %(study)s ORDER BY at, id"
_SERIES = "SELECT * FROM series WHERE study_instance_uid = %(study)s ORDER BY first_instance_at, series_instance_uid"
_CASES = "SELECT * FROM contour_case WHERE study_instance_uid = %(study)s ORDER BY created_at, id"
_DELIVERIES = "SELECT destination, state, count(*) AS n FROM delivery GROUP BY destination, state"


class WorkBoard:
    """Every method may raise StoreError."""

    def __init__(self, store: Store) -> None:
        """Read this store."""
        self._store = store

    def study(self, study_instance_uid: str) -> StudyDetails | None:
        """Return the timeline of a study, which may begin before any image comes; None when nothing is known of it."""
        key = {"study": study_instance_uid}
        series, timeline = self._store.query(_SERIES, key), self._store.query(_TIMELINE, key)
        if not series and not timeline:
            return None
        return StudyDetails(
            study_instance_uid,
            tuple(series_row(row) for row in series),
            tuple(job_row(row) for row in self._store.query(_CASES, key)),
            tuple(_event(row) for row in timeline),
        )

    def destinations(self, names: Sequence[str]) -> Sequence[DestinationRow]:
        """Return where destinations stand: these, and those that only old deliveries name."""
        states = {row["name"]: row for row in self._store.query("SELECT * FROM destination")}
        counts: dict[str, dict[DeliveryState, int]] = {}
        for row in self._store.query(_DELIVERIES):
            counts.setdefault(row["destination"], {})[DeliveryState(row["state"])] = row["n"]
        rows = []
        for name in dict.fromkeys((*names, *sorted(counts))):
            state = states.get(name)
            rows.append(
                DestinationRow(
                    name=name,
                    paused=state["paused_reason"] if state else "",
                    down=state["last_error"] if state else "",
                    next_try_at=state["try_at"] if state else None,
                    deliveries=counts.get(name, {}),
                )
            )
        return rows

    def parked(self) -> Sequence[ParkedStep]:
        """Return the steps that were given up and wait for something new or for a person, oldest first."""
        with self._store.transaction() as tx:
            return tx.parked()

    def cases_like(self, beginning: str) -> Sequence[str]:
        """Return the ids of cases that begin so, at most ten."""
        rows = self._store.query(
            "SELECT id FROM contour_case WHERE starts_with(id, %(beginning)s) ORDER BY id LIMIT 10",
            {"beginning": beginning},
        )
        return [row["id"] for row in rows]


def _event(row: Row) -> StudyEvent:
    series, case = row["series_instance_uid"], row["case_id"]
    subject = f"case {case}" if case else f"series {series}" if series else "study"
    return StudyEvent(row["at"], row["name"], subject, row["step"] or row["detail"], row["seconds"])
