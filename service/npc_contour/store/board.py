"""What is shown of the service, read from the database; no patient's name is in it, and Patient ID is not shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from npc_contour.domain.dimse import status_words
from npc_contour.domain.findings import Finding
from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState, SeriesState
from npc_contour.domain.statistics import Measure
from npc_contour.domain.status import (
    CaseDetails,
    Counts,
    DeliveryRow,
    DueJobs,
    JobRow,
    Part,
    RoiRow,
    SeriesRow,
    StepTotal,
    TimelineEvent,
)
from npc_contour.domain.timeline import WebhookState
from npc_contour.logs import Event
from npc_contour.store.codec import verdicts_from_json
from npc_contour.store.connection import Row
from npc_contour.store.database import Store
from npc_contour.store.processes import Processes
from npc_contour.store.rows import read
from npc_contour.store.statements import asked, in_part

_JOBS = f"""
SELECT * FROM contour_case WHERE (%(state)s::text IS NULL OR state = %(state)s)
AND (%(pipeline)s::text IS NULL OR pipeline = %(pipeline)s) {in_part("created_at", "id")}"""  # noqa: S608

_TIMELINE = """
SELECT event.*, description FROM event LEFT JOIN series USING (series_instance_uid) WHERE case_id = %(case)s
OR (case_id IS NULL AND event.study_instance_uid = %(study)s) ORDER BY at, id"""

_SERIES = f"""
SELECT * FROM series WHERE (%(state)s::text IS NULL OR state = %(state)s)
{in_part("first_instance_at", "series_instance_uid")}"""  # noqa: S608 - constants only

_DUE = """
SELECT queue_name, count(*) AS n,
    extract(epoch FROM now() - min(coalesce(scheduled_at, (SELECT min(at) FROM procrastinate_events
        WHERE job_id = procrastinate_jobs.id), now())))::float AS oldest_s
FROM procrastinate_jobs WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) GROUP BY 1"""

# What a person asked for again counts from then on.
_UNDELIVERED = """
SELECT destination, extract(epoch FROM now() - min(greatest(delivery.created_at,
    (SELECT max(at) FROM event WHERE event.case_id = delivery.case_id AND name = ANY(%(anew)s)))))::float AS oldest_s
FROM delivery JOIN contour_case ON contour_case.id = case_id
WHERE delivery.state = 'queued' AND (held_reason = '' OR while_held) GROUP BY 1"""
_ANEW = [Event.DELIVERY_RESENT, Event.CASE_RETRIED, Event.CASE_RELEASED]

_CONSUMERS = "SELECT count(*) AS n FROM procrastinate_workers WHERE last_heartbeat > now() - interval '1 minute'"

_PARKED = "SELECT kind, count(*) AS n FROM attempt WHERE parked_at IS NOT NULL GROUP BY kind"

_CLOCKS = "SELECT * FROM machine_clock WHERE seen_at > clock_timestamp() - interval '2 minutes'"
_WEBHOOKS = "SELECT hook, state, count(*) AS n FROM webhook_message GROUP BY hook, state"

# Of each network the version that was used last: older ones are no numbers of today.
_WATCH = """
SELECT DISTINCT ON (measure, structure, network) measure, structure, network, watch,
    (state->'usual'->>'mean')::float AS mean
FROM baseline ORDER BY measure, structure, network, updated_at DESC"""

_SELF_TEST = """
SELECT key AS network, value::float AS dice FROM jsonb_each_text(
    (SELECT dice FROM self_test WHERE dice <> '{}' ORDER BY at DESC LIMIT 1))"""

EXPLAINED = {CaseState.WAITING, CaseState.AMBIGUOUS, CaseState.REFUSED, CaseState.FAILED, CaseState.CANCELLED}
"""States of which a list says why."""


class StatusBoard:
    """The read side; every method may raise StoreError."""

    def __init__(self, store: Store, path_of: Callable[[str], str]) -> None:
        """Read this store.

        Args:
            store: what to read.
            path_of: from an artefact's key to the path of its file.
        """
        self._store = store
        self._path_of = path_of

    def jobs(self, part: Part, *, state: CaseState | None = None, pipeline: str | None = None) -> Sequence[JobRow]:
        """Return cases, newest first; None asks for all states or pipelines."""
        rows = self._store.query(_JOBS, {"state": state, "pipeline": pipeline, **asked(part)})
        return tuple(job_row(row) for row in rows)

    def details(self, case_id: str) -> CaseDetails | None:
        """Return all of one case; None when there is none of that id."""
        found = self._store.query("SELECT * FROM contour_case WHERE id = %(case)s", {"case": case_id})
        if not found:
            return None
        case = found[0]
        roles = {role: str(given["series"]) for role, given in case["inputs"].items()}
        timeline = self._store.query(_TIMELINE, {"case": case_id, "study": case["study_instance_uid"]})
        deliveries = self._store.query(
            "SELECT delivery.*, sop_instance_uid FROM delivery JOIN delivered_object ON delivery_id = delivery.id"
            " WHERE case_id = %(case)s ORDER BY delivery.id",
            {"case": case_id},
        )
        written = self._store.query("SELECT * FROM structure_set WHERE case_id = %(case)s", {"case": case_id})
        report: Mapping[str, Any] = written[0]["report"] if written else {}
        return CaseDetails(
            job=job_row(case),
            roles=roles,
            reasons=tuple(case["reasons"]),
            timeline=tuple(_event(row) for row in timeline),
            rois=tuple(
                RoiRow(roi["name"], roi["type"], roi["volume_cc"], roi["found"], roi["network"], roi.get("expected_mm"))
                for roi in report.get("rois", ())
            ),
            deliveries=tuple(_delivery(row) for row in deliveries),
            notes=tuple(report.get("notes", ())),
            rtstruct=self._path_of(written[0]["key"]) if written else "",
            verdicts=verdicts_from_json(case["verdicts"], case["pipeline"]),
            choices=tuple(case["choices"]),
            measurements=report.get("measurements"),
            measurements_file=self._path_of(written[0]["measurements_key"])
            if written and written[0]["measurements_key"]
            else "",
            findings=tuple(Finding.from_json(one) for one in report.get("findings", ())),
            objects=_objects(written[0]) if written and case["files_expired_at"] is None else (),
        )

    def series(self, part: Part, *, state: SeriesState | None = None) -> Sequence[SeriesRow]:
        """Return received series, the one that began to arrive last first; None asks for all states."""
        rows = self._store.query(_SERIES, {"state": state, **asked(part)})
        return tuple(series_row(row) for row in rows)

    def counts(self) -> Counts:
        """Return the numbers for monitoring."""
        cases = self._store.query("SELECT state, count(*) AS n FROM contour_case GROUP BY state")
        series = self._store.query("SELECT state, count(*) AS n FROM series GROUP BY state")
        deliveries = self._store.query("SELECT destination, state, count(*) AS n FROM delivery GROUP BY 1, 2")
        steps = self._store.query(
            "SELECT step, sum(seconds) AS seconds, jsonb_object_agg(within_s, count) AS within_s"
            " FROM step_total GROUP BY step"
        )
        jobs = self._store.query(
            "SELECT count(*) FILTER (WHERE status = 'todo') AS queued,"
            " count(*) FILTER (WHERE status = 'doing') AS running FROM procrastinate_jobs"
        )
        watch = {(row["measure"], row["structure"], row["network"]): row for row in self._store.query(_WATCH)}
        return Counts(
            cases=dict.fromkeys(CaseState, 0) | {CaseState(row["state"]): row["n"] for row in cases},
            series=dict.fromkeys(SeriesState, 0) | {SeriesState(row["state"]): row["n"] for row in series},
            deliveries={(row["destination"], DeliveryState(row["state"])): row["n"] for row in deliveries},
            steps={
                row["step"]: StepTotal(row["seconds"], {float(bound): n for bound, n in row["within_s"].items()})
                for row in steps
            },
            queued=int(jobs[0]["queued"]),
            running=int(jobs[0]["running"]),
            due={row["queue_name"]: DueJobs(row["n"], row["oldest_s"]) for row in self._store.query(_DUE)},
            undelivered_s={
                **{row["destination"]: 0.0 for row in deliveries},
                **{row["destination"]: row["oldest_s"] for row in self._store.query(_UNDELIVERED, {"anew": _ANEW})},
            },
            consumers=int(self._store.query(_CONSUMERS)[0]["n"]),
            silent_s={(row.machine, row.name): row.silent_s for row in Processes(self._store).rows()},
            parked={row["kind"]: row["n"] for row in self._store.query(_PARKED)},
            self_test_dice={row["network"]: row["dice"] for row in self._store.query(_SELF_TEST)},
            webhooks={(row["hook"], WebhookState(row["state"])): row["n"] for row in self._store.query(_WEBHOOKS)},
            findings={
                (row["code"], row["severity"]): row["count"]
                for row in self._store.query("SELECT code, severity, count FROM finding_total")
            },
            held_for_findings=int(
                self._store.query("SELECT count(*) AS n FROM contour_case WHERE held_for <> '{}'")[0]["n"]
            ),
            watch={key: row["watch"] for key, row in watch.items()},
            usual={key: Measure(key[0]).unscaled(row["mean"]) for key, row in watch.items()},
            clocks_ahead_s={(row["machine"], row["process"]): row["ahead_s"] for row in self._store.query(_CLOCKS)},
        )


def series_row(row: Row) -> SeriesRow:
    """Return what is shown of a row of `series`."""
    return read(SeriesRow, row, received_at=row["first_instance_at"], came_again_at=row["correction_at"])


def job_row(row: Row) -> JobRow:
    """Return what is shown of a row of `contour_case`."""
    state = CaseState(row["state"])
    reason = "; ".join(row["reasons"])
    if state is CaseState.SUPERSEDED:
        reason = f"superseded by {row['superseded_by']}"
    elif state not in EXPLAINED:
        reason = ""
    return read(JobRow, row, case_id=row["id"], reason=reason, held=row["held_reason"])


def _event(row: Row) -> TimelineEvent:
    return TimelineEvent(
        at=row["at"],
        event=row["name"],
        detail=row["step"] or row["detail"],
        seconds=row["seconds"],
        series_instance_uid=row["series_instance_uid"] or "",
        series=(row["description"] or "no description") if row["series_instance_uid"] else "",
    )


def _objects(written: Row) -> tuple[Deliverable, ...]:
    keys = {what: written["key" if what is Deliverable.RTSTRUCT else f"{what}_key"] for what in Deliverable}
    return tuple(what for what, key in keys.items() if key)


def _delivery(row: Row) -> DeliveryRow:
    return read(
        DeliveryRow,
        row,
        next_attempt_at=row["next_try_at"] or row["ask_at"],
        last_error=row["message"],
        status="" if row["status"] is None else status_words(row["status"]),
    )
