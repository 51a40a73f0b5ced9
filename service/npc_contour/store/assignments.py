"""Which series fills which role, as a person said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from npc_contour.store.statements import Statements


class Assignments(Statements):
    """The part of a transaction that concerns what a person said."""

    def assigned(self, study_instance_uid: str) -> Mapping[str, Mapping[str, str]]:
        """Return pipeline → role → Series Instance UID of a study."""
        rows = self._all("SELECT * FROM assignment WHERE study_instance_uid = %s", (study_instance_uid,))
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            found.setdefault(row["pipeline"], {})[row["role"]] = row["series_instance_uid"]
        return found

    def assigned_at(self, study_instance_uid: str) -> Mapping[str, datetime]:
        """Return pipeline → when that was said."""
        rows = self._all(
            "SELECT pipeline, max(assigned_at) AS at FROM assignment WHERE study_instance_uid = %s GROUP BY 1",
            (study_instance_uid,),
        )
        return {row["pipeline"]: row["at"] for row in rows}

    def assign(self, study_instance_uid: str, pipeline: str, roles: Mapping[str, str], by: str, at: datetime) -> None:
        """Replace what was said of a pipeline on a study; no roles at all forgets it."""
        self._run(
            "DELETE FROM assignment WHERE study_instance_uid = %s AND pipeline = %s", (study_instance_uid, pipeline)
        )
        for role, series in roles.items():
            self._run(
                "INSERT INTO assignment (study_instance_uid, pipeline, role, series_instance_uid, assigned_by,"
                " assigned_at) VALUES (%s, %s, %s, %s, %s, %s)",
                (study_instance_uid, pipeline, role, series, by, at),
            )

    def patient_id(self, study_instance_uid: str) -> str:
        """Return the Patient ID of a study; "" where the images have none."""
        row = self._one("SELECT patient_id FROM study WHERE study_instance_uid = %s", (study_instance_uid,))
        return "" if row is None else str(row["patient_id"])
