"""Running statements over one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npc_contour.adapters.store.connection import Connection, Row
from npc_contour.application.records import StoryLine


class Statements:
    """What all parts of a transaction share."""

    def __init__(self, connection: Connection) -> None:
        """Work over this connection."""
        self._connection = connection

    def tell(self, line: StoryLine) -> None:
        """Add a line to the story."""
        self._run(
            "INSERT INTO event (at, name, study_instance_uid, series_instance_uid, case_id, detail, step, seconds)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (line.at, line.event, line.study, line.series, line.case, line.detail, line.step, line.seconds),
        )

    def _run(self, statement: str, values: Sequence[Any] = ()) -> None:
        self._connection.execute(statement, values)

    def _one(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        return self._connection.execute(statement, values).fetchone()

    def _all(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        return self._connection.execute(statement, values).fetchall()
