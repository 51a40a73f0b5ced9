"""The work list, read from the database in one statement a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npc_contour.domain.jobs import CaseState, DeliveryState
from npc_contour.domain.status import SeriesRow
from npc_contour.domain.worklist import (
    SERIES_STATES,
    STATES,
    CaseFacts,
    Change,
    Group,
    InputRow,
    NetworkRow,
    Order,
    Wanted,
    WorkRow,
)
from npc_contour.store.board import StatusBoard, series_row
from npc_contour.store.connection import Row
from npc_contour.store.database import Store
from npc_contour.store.rows import read

_NEEDS_ACTION = """(c.state <> 'superseded' AND (c.held_for <> '{}'
    OR EXISTS (SELECT FROM delivery WHERE delivery.case_id = c.id AND delivery.state IN ('failed', 'blocked'))
    OR EXISTS (SELECT FROM series asked WHERE asked.study_instance_uid = c.study_instance_uid
        AND asked.correction_at IS NOT NULL)))"""

_ROWS = f"""
WITH chosen AS (
    SELECT c.*, study.patient_id FROM contour_case c JOIN study USING (study_instance_uid)
    WHERE (%(pipeline)s = '' OR c.pipeline = %(pipeline)s)
    AND (%(until)s::timestamptz IS NULL OR c.created_at <= %(until)s)
    AND (%(first)s::timestamptz IS NULL OR c.created_at >= %(first)s)
    AND (%(end)s::timestamptz IS NULL OR c.created_at < %(end)s)
    AND (c.state = ANY(%(states)s) OR (%(needs_action)s AND {_NEEDS_ACTION}))
    AND (%(text)s = '' OR c.id ILIKE %(like)s OR c.study_instance_uid ILIKE %(like)s
         OR (%(patients)s AND (study.patient_id ILIKE %(like)s OR study.accession_number ILIKE %(like)s))
         OR EXISTS (SELECT FROM series s WHERE s.study_instance_uid = c.study_instance_uid
                    AND (s.description ILIKE %(like)s OR s.series_instance_uid ILIKE %(like)s)))
    ORDER BY ORDER_WANTED LIMIT %(limit)s OFFSET %(offset)s
)
SELECT c.*, series.description,
    jsonb_array_length(report->'rois') AS rois,
    jsonb_array_length(report->'not_found') AS missing,
    (SELECT jsonb_object_agg(destination, delivery.state) FROM delivery WHERE delivery.case_id = c.id) AS deliveries
FROM chosen c
LEFT JOIN structure_set ON structure_set.case_id = c.id
LEFT JOIN LATERAL (
    SELECT description FROM series s WHERE s.study_instance_uid = c.study_instance_uid
    ORDER BY s.series_instance_uid = c.planning_series_uid DESC NULLS LAST, s.first_instance_at LIMIT 1
) series ON true
ORDER BY ORDER_WANTED"""  # noqa: S608 - constants only
_ORDERS = {
    Order.NEWEST: "c.created_at DESC, c.id",
    Order.OLDEST: "c.created_at, c.id",
    Order.PIPELINE: "c.pipeline, c.created_at DESC, c.id",
    Order.STATE: "c.state, c.created_at DESC, c.id",
}

_WITHOUT_CASE = """
SELECT s.* FROM series s JOIN study USING (study_instance_uid)
WHERE s.state = ANY(%(states)s) AND s.modality <> 'REG' AND s.images > 0
AND s.last_instance_at > clock_timestamp() - interval '14 days'
AND NOT EXISTS (SELECT FROM contour_case c WHERE c.study_instance_uid = s.study_instance_uid
    AND (%(text)s = '' OR s.series_instance_uid IN (SELECT given.value->>'series' FROM jsonb_each(c.inputs) given)))
AND (%(text)s = '' OR s.study_instance_uid ILIKE %(like)s OR s.description ILIKE %(like)s
     OR s.series_instance_uid ILIKE %(like)s
     OR (%(patients)s AND (study.patient_id ILIKE %(like)s OR study.accession_number ILIKE %(like)s)))
AND (%(first)s::timestamptz IS NULL OR s.last_instance_at >= %(first)s)
AND (%(end)s::timestamptz IS NULL OR s.last_instance_at < %(end)s)
AND (%(text)s <> '' OR s.state <> 'aside' OR (s.images >= 4 AND s.reasons[1] !~ '^(excluded|left aside) by '))
ORDER BY s.last_instance_at DESC, s.series_instance_uid LIMIT 50"""

_TALLY = f"""
SELECT c.state, {_NEEDS_ACTION} AS needs_action, count(*) AS n FROM contour_case c GROUP BY 1, 2"""  # noqa: S608 - constants only

_INPUTS = """
SELECT series.*, (SELECT header FROM instance WHERE instance.series_instance_uid = series.series_instance_uid
                  ORDER BY sop_instance_uid LIMIT 1) AS header,
       (SELECT calling_ae_title FROM series_association JOIN association ON association.id = association_id
        WHERE series_association.series_instance_uid = series.series_instance_uid ORDER BY opened_at LIMIT 1) AS calling
FROM series WHERE series_instance_uid = ANY(%(uids)s)"""


class WorkList:
    """The read side behind the page."""

    def __init__(self, store: Store, board: StatusBoard) -> None:
        """Read this store; the details of a case come from the board."""
        self._store = store
        self._board = board

    def rows(self, wanted: Wanted) -> Sequence[WorkRow]:
        """Return cases in the order that is wanted."""
        rows = self._store.query(
            _ROWS.replace("ORDER_WANTED", _ORDERS[wanted.order]),
            {
                **_asked(wanted),
                "pipeline": wanted.pipeline,
                "states": sorted(STATES[wanted.group]),
                "needs_action": wanted.group is Group.ATTENTION,
                "limit": wanted.limit,
                "offset": wanted.offset,
                "until": wanted.until,
            },
        )
        return tuple(_work_row(row) for row in rows)

    def without_case(self, wanted: Wanted) -> Sequence[SeriesRow]:
        """Return series that no case was made of, newest first: of studies without any, or those that a text finds."""
        states = sorted(SERIES_STATES[wanted.group])
        if not states or wanted.pipeline or wanted.offset:
            return ()
        rows = self._store.query(_WITHOUT_CASE, {**_asked(wanted), "states": states})
        return tuple(series_row(row) for row in rows)

    def tally(self) -> Mapping[Group, int]:
        """Return how many cases are in each group."""
        tally = dict.fromkeys(Group, 0)
        for row in self._store.query(_TALLY):
            for group, states in STATES.items():
                if row["state"] in states or (group is Group.ATTENTION and row["needs_action"]):
                    tally[group] += int(row["n"])
        return tally

    def facts(self, case_id: str) -> CaseFacts | None:
        """Return one case; None when there is none of that id."""
        details = self._board.details(case_id)
        if details is None:
            return None
        (case,) = self._store.query(
            "SELECT c.*, patient_id, report, structure_set.created_at AS written_at"
            " FROM contour_case c JOIN study USING (study_instance_uid)"
            " LEFT JOIN structure_set ON case_id = id WHERE id = %(case)s",
            {"case": case_id},
        )
        found = {row["series_instance_uid"]: row for row in self._inputs(list(details.roles.values()))}
        roles = sorted(details.roles.items(), key=lambda item: item[0] != case["planning_role"])
        siblings = self._store.query(
            "SELECT id, pipeline, state FROM contour_case WHERE study_instance_uid = %(study)s AND id <> %(case)s"
            " ORDER BY created_at DESC",
            {"study": details.job.study_instance_uid, "case": case_id},
        )
        series = [
            series_row(row)
            for row in self._store.query(
                "SELECT * FROM series WHERE study_instance_uid = %(study)s ORDER BY first_instance_at",
                {"study": details.job.study_instance_uid},
            )
        ]
        report: Mapping[str, Any] = case["report"] or {}
        planning = found.get(case["planning_series_uid"] or "")
        return CaseFacts(
            details=details,
            patient_id=case["patient_id"],
            planning_role=case["planning_role"],
            waiting_for=tuple(case["waiting_for"]),
            inputs=tuple(_input(role, found[uid]) for role, uid in roles if uid in found),
            networks=tuple(
                NetworkRow(n["name"], n["version"], n["weights_sha256"], n["demo"]) for n in report.get("networks", ())
            ),
            siblings=tuple((row["id"], row["pipeline"], CaseState(row["state"])) for row in siblings),
            label=report.get("label", ""),
            profile=report.get("profile", ""),
            min_dice=report.get("min_dice_read_back"),
            predecessor=case["predecessor"] or "",
            key_image=planning["header"]["key"] if planning and planning["header"] else "",
            series_names={
                row.series_instance_uid: f"{row.description or 'no description'}, {row.images} images" for row in series
            },
            others=tuple(row for row in series if row.series_instance_uid not in details.roles.values()),
            took_s=(case["written_at"] - case["created_at"]).total_seconds() if case["written_at"] else None,
        )

    def changes(self, after: int | None) -> Sequence[Change]:
        """Return the timeline's entries after a number, oldest first; None returns the newest only."""
        if after is None:
            rows = self._store.query("SELECT id, case_id FROM event ORDER BY id DESC LIMIT 1")
        else:
            rows = self._store.query(
                "SELECT id, case_id FROM event WHERE id > %(after)s ORDER BY id LIMIT 1000", {"after": after}
            )
        return tuple(Change(row["id"], row["case_id"] or "") for row in rows)

    def _inputs(self, uids: list[str]) -> list[Row]:
        return self._store.query(_INPUTS, {"uids": uids})


def _asked(wanted: Wanted) -> Mapping[str, Any]:
    escaped = wanted.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    like = {"text": wanted.text, "like": f"%{escaped}%", "patients": wanted.patients}
    return {**like, "first": wanted.first, "end": wanted.end}


def _work_row(row: Row) -> WorkRow:
    rois, missing = row["rois"], row["missing"]
    reason = "; ".join(row["reasons"]) if row["state"] in {"waiting", "refused", "failed"} else ""
    return read(
        WorkRow,
        row,
        case_id=row["id"],
        description=row["description"] or "",
        reason=reason,
        held=row["held_reason"],
        found=None if rois is None else rois - (missing or 0),
        deliveries={name: DeliveryState(value) for name, value in (row["deliveries"] or {}).items()},
    )


def _input(role: str, row: Row) -> InputRow:
    header: Mapping[str, Any] = row["header"] or {}
    return read(
        InputRow,
        row,
        role=role,
        contrast_agent=header.get("contrast_bolus_agent", ""),
        calling_ae_title=row["calling"] or "",
    )
