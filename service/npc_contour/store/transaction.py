"""One transaction over one connection: intake here, all else in the modules beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from npc_contour import tracing
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.received import Ending, SeriesRecord
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.status import STEP_BOUNDS_S
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind
from npc_contour.store.account_changes import AccountChanges
from npc_contour.store.assignments import Assignments
from npc_contour.store.cases import Cases
from npc_contour.store.codec import header_from_json, seal_of
from npc_contour.store.commitments import Commitments
from npc_contour.store.connection import Connection, Row
from npc_contour.store.destinations import Destinations
from npc_contour.store.images import Images
from npc_contour.store.installations import Installations
from npc_contour.store.pull_requests import PullRequests
from npc_contour.store.pulls import Pulls
from npc_contour.store.rows import read
from npc_contour.store.seals import Seals
from npc_contour.store.self_tests import SelfTests
from npc_contour.store.statistics import Statistics
from npc_contour.store.upkeep import Upkeep
from npc_contour.store.webhooks import Webhooks


class Transaction(
    Cases,
    Assignments,
    Destinations,
    Pulls,
    Images,
    Upkeep,
    Commitments,
    PullRequests,
    Webhooks,
    SelfTests,
    Installations,
    AccountChanges,
    Seals,
    Statistics,
):
    """Everything done through it is committed together."""

    def __init__(self, connection: Connection, defer: Callable[[Connection, Job], None]) -> None:
        """Work over this connection."""
        super().__init__(connection, defer)
        self._steps: list[tuple[str, float, float]] = []

    def record(self, line: TimelineEntry) -> None:
        """Add an entry to the timeline; webhooks for this event are called once this is committed."""
        super().record(line)
        if line.step and line.seconds is not None:
            within_s = next(bound for bound in STEP_BOUNDS_S if line.seconds <= bound)
            self._steps.append((line.step, within_s, line.seconds))
        if not line.step:
            tracing.note({"study": line.study, "series": line.series, "case": line.case})
            tracing.happened(line.event)
            for message_id in self.add_webhook_messages(line):
                self.defer(Job(JobKind.CALL_WEBHOOK, message_id))

    def count_steps(self) -> None:
        """Add the steps that were told of to their totals: last and in one order, for others wait for them."""
        for step, within_s, seconds in sorted(self._steps):
            self._run(
                "INSERT INTO step_total AS total (step, within_s, count, seconds) VALUES (%s, %s, 1, %s)"
                " ON CONFLICT (step, within_s) DO UPDATE"
                " SET count = total.count + 1, seconds = total.seconds + EXCLUDED.seconds",
                (step, within_s, seconds),
            )

    def end_associations(self, endings: Mapping[str, Ending], at: datetime) -> tuple[str, ...]:
        """Note their ends, by id; return the Series Instance UIDs they carried that are still being received."""
        ids = list(endings)
        self._run(
            "UPDATE association SET ended_at = %s, ending = ended.how"
            " FROM unnest(%s::text[], %s::text[]) AS ended(id, how)"
            " WHERE association.id = ended.id AND ended_at IS NULL",
            (at, ids, [str(ending) for ending in endings.values()]),
        )
        return self._receiving("association_id = ANY(%s)", ids)

    def end_lost_associations(self, receiver: str, at: datetime) -> tuple[str, ...]:
        """End every open association of a receiver that died; return the series concerned."""
        rows = self._all(
            "UPDATE association SET ended_at = %s, ending = 'lost' WHERE receiver = %s AND ended_at IS NULL"
            " RETURNING id",
            (at, receiver),
        )
        return self._receiving("association_id = ANY(%s)", [row["id"] for row in rows])

    def _receiving(self, condition: str, value: object) -> tuple[str, ...]:
        rows = self._all(
            "SELECT DISTINCT series_instance_uid FROM series_association JOIN series USING (series_instance_uid)"  # noqa: S608 - constants only
            f" WHERE state = 'receiving' AND {condition}",
            (value,),
        )
        return tuple(row["series_instance_uid"] for row in rows)

    def series(self, series_instance_uid: str, *, lock: bool = False) -> SeriesRecord | None:
        """Return one series; `lock` keeps others from changing it until the end of the transaction."""
        statement = "SELECT * FROM series WHERE series_instance_uid = %s"
        row = self._one(f"{statement} FOR UPDATE" if lock else statement, (series_instance_uid,))
        return None if row is None else self._series_record(row)

    def series_of_study(self, study_instance_uid: str) -> tuple[SeriesRecord, ...]:
        """Return all series of a study, oldest first."""
        rows = self._all(
            "SELECT * FROM series WHERE study_instance_uid = %s ORDER BY first_instance_at, series_instance_uid",
            (study_instance_uid,),
        )
        return tuple(self._series_record(row) for row in rows)

    def headers(self, series_instance_uid: str) -> tuple[InstanceHeader, ...]:
        """Return the images of a series."""
        rows = self._all(
            "SELECT header, sha256, size FROM instance WHERE series_instance_uid = %s ORDER BY sop_instance_uid",
            (series_instance_uid,),
        )
        return tuple(replace(header_from_json(row["header"]), seal=seal_of(row)) for row in rows)

    def receiving_s(self, series_instance_uid: str) -> float:
        """Return how long the images of a series came in: from first to last of each association, not between them."""
        row = self._one(
            "SELECT coalesce(extract(epoch FROM sum(took)), 0)::float AS took_s"
            " FROM (SELECT max(received_at) - min(received_at) AS took FROM instance"
            " WHERE series_instance_uid = %s GROUP BY association_id) AS carried",
            (series_instance_uid,),
        )
        return row["took_s"] if row else 0.0

    def set_series(self, series_instance_uid: str, state: SeriesState, reasons: Sequence[str], at: datetime) -> None:
        """Change the state of a series; once it is no more received, its study is due to be routed."""
        self._run(
            "UPDATE series SET state = %s, reasons = %s, updated_at = %s WHERE series_instance_uid = %s",
            (state, list(reasons), at, series_instance_uid),
        )
        if state is not SeriesState.RECEIVING:
            self._run(
                "UPDATE study SET routing_due = true FROM series WHERE series.series_instance_uid = %s"
                " AND series.study_instance_uid = study.study_instance_uid",
                (series_instance_uid,),
            )

    def set_whole(self, series_instance_uid: str, images: int, by: str) -> None:
        """Note that a person said of a series of so many images that it is whole."""
        self._run(
            "UPDATE series SET whole_images = %s, whole_by = %s WHERE series_instance_uid = %s",
            (images, by, series_instance_uid),
        )

    def set_correction(self, series_instance_uid: str, at: datetime | None) -> None:
        """Note since when a person is asked whether images that came again count; None asks no more."""
        self._run("UPDATE series SET correction_at = %s WHERE series_instance_uid = %s", (at, series_instance_uid))

    def set_patient_id(self, study_instance_uid: str, patient_id: str) -> None:
        """Correct the Patient ID of a study."""
        self._run("UPDATE study SET patient_id = %s WHERE study_instance_uid = %s", (patient_id, study_instance_uid))

    def take_turn(self, what: str) -> bool:
        """Keep others from doing something until the end of the transaction; return False where one is at it."""
        row = self._one("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS mine", (what,))
        return bool(row and row["mine"])

    def _series_record(self, row: Row) -> SeriesRecord:
        endings = self._all(
            "SELECT ending, ended_at FROM series_association JOIN association ON id = association_id"
            " WHERE series_instance_uid = %s",
            (row["series_instance_uid"],),
        )
        ends = tuple((Ending(e["ending"]), e["ended_at"]) if e["ending"] else None for e in endings)
        return read(SeriesRecord, row, endings=ends)
