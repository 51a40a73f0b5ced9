"""Running statements over one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npc_contour.domain.status import Part
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.store.connection import Connection, Row

_PART = """
AND (%(study)s = '' OR study_instance_uid = %(study)s)
AND (%(patient)s = '' OR study_instance_uid IN (SELECT study_instance_uid FROM study WHERE patient_id = %(patient)s))
AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s)
AND (%(after_at)s::timestamptz IS NULL OR {at} < %(after_at)s OR ({at} = %(after_at)s AND {key} > %(after_key)s))
ORDER BY {at} DESC, {key} LIMIT %(limit)s"""


def in_part(at: str, key: str) -> str:
    """Return the end of a statement over rows with study_instance_uid and updated_at: only a part, newest first.

    Args:
        at: column by which they are ordered.
        key: column by which those of the same time are.
    """
    return _PART.format(at=at, key=key)


def asked(part: Part) -> Mapping[str, Any]:
    """Return the values of `in_part`."""
    at, key = part.after or (None, "")
    return {
        "study": part.study,
        "patient": part.patient,
        "since": part.since,
        "after_at": at,
        "after_key": key,
        "limit": part.limit,
    }


class Statements:
    """What all parts of a transaction share."""

    def __init__(self, connection: Connection) -> None:
        """Work over this connection."""
        self._connection = connection

    def record(self, line: TimelineEntry) -> None:
        """Add an entry to the timeline."""
        self._run(
            "INSERT INTO event (at, name, study_instance_uid, series_instance_uid, case_id, detail, step, seconds)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (line.at, line.event, line.study, line.series, line.case, line.detail, line.step, line.seconds),
        )

    def _run(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        self._connection.execute(statement, values)

    def _one(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        return self._connection.execute(statement, values).fetchone()

    def _all(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()
