"""Cases and their structure sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.findings import Severity
from npc_contour.domain.jobs import CaseState, Deliverable
from npc_contour.store.codec import case_from_row, inputs_to_json, verdicts_to_json
from npc_contour.store.statements import Statements

_BESIDE: Mapping[Deliverable, str] = {
    what: f"UPDATE structure_set SET {what}_uid = %s, {what}_key = %s WHERE case_id = %s"  # noqa: S608 - constants only
    for what in Deliverable
    if what is not Deliverable.RTSTRUCT
}


class Cases(Statements):
    """The part of a transaction that concerns cases."""

    def lock_study(self, study_instance_uid: str) -> None:
        """Keep others from routing the study until the end of the transaction, at which it counts as routed."""
        self._run("SELECT 1 FROM study WHERE study_instance_uid = %s FOR UPDATE", (study_instance_uid,))
        self._run("UPDATE study SET routing_due = false WHERE study_instance_uid = %s", (study_instance_uid,))

    def live_cases(self, study_instance_uid: str) -> tuple[CaseRecord, ...]:
        """Return the cases of a study that are not superseded, oldest first."""
        rows = self._all(
            "SELECT * FROM contour_case WHERE study_instance_uid = %s AND state <> 'superseded'"
            " ORDER BY created_at, id",
            (study_instance_uid,),
        )
        return tuple(case_from_row(row) for row in rows)

    def case(self, case_id: str, *, lock: bool = False) -> CaseRecord | None:
        """Return one case."""
        statement = "SELECT * FROM contour_case WHERE id = %s"
        row = self._one(f"{statement} FOR UPDATE" if lock else statement, (case_id,))
        return None if row is None else case_from_row(row)

    def add_case(self, case: CaseRecord) -> None:
        """Add a case."""
        values = {
            **_routed(case),
            "id": case.case_id,
            "study_instance_uid": case.study_instance_uid,
            "pipeline": case.pipeline,
            "planning_role": case.planning_role,
            "demo": case.demo,
            "members": list(case.members),
            "created_at": case.created_at,
            "updated_at": case.created_at,
        }
        columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        self._run(f"INSERT INTO contour_case ({columns}) VALUES ({places})", values)  # noqa: S608 - constants only

    def update_waiting_case(self, case: CaseRecord, at: datetime) -> None:
        """Replace what routing says of a case that has no images yet."""
        values = {**_routed(case), "updated_at": at}
        changes = ", ".join(f"{name} = %({name})s" for name in values)
        self._run(
            f"UPDATE contour_case SET {changes} WHERE id = %(id)s AND state IN ('waiting', 'ambiguous')",  # noqa: S608 - constants only
            {**values, "id": case.case_id},
        )

    def supersede(self, case_id: str, successor: str, at: datetime) -> None:
        """Let another case take the place of this one; what is queued of it is sent no more."""
        self._run(
            "UPDATE contour_case SET state = 'superseded', held_reason = '', held_for = '{}', superseded_by = %s,"
            " updated_at = %s WHERE id = %s",
            (successor, at, case_id),
        )
        self.block_deliveries(case_id, f"superseded by case {successor}", at)

    def block_deliveries(self, case_id: str, message: str, at: datetime) -> None:
        """Send nothing more of a case that is still queued."""
        self._run(
            "UPDATE delivery SET state = 'blocked', next_try_at = NULL, updated_at = %s, message = %s"
            " WHERE case_id = %s AND state = 'queued'",
            (at, message, case_id),
        )

    def hold_case(
        self, case_id: str, reason: str, at: datetime, held_for: Sequence[str] = (), to_all_but: Sequence[str] = ()
    ) -> None:
        """Keep a case from going on; "" lets it.

        Args:
            case_id: of the case.
            reason: why.
            at: now.
            held_for: codes of the findings that it is held for.
            to_all_but: destinations that it is sent to all the same.
        """
        self._run(
            "UPDATE contour_case SET held_reason = %s, held_for = %s, updated_at = %s WHERE id = %s",
            (reason, list(held_for), at, case_id),
        )
        self._run(
            "UPDATE delivery SET while_held = destination = ANY(%s) WHERE case_id = %s", (list(to_all_but), case_id)
        )

    def set_outdated(self, case_id: str) -> None:
        """Note that images of a case were replaced: routing lets another take its place."""
        self._run("UPDATE contour_case SET outdated = true WHERE id = %s", (case_id,))

    def route_again(self, case_id: str, at: datetime) -> None:
        """Let a case without images be routed again, without waiting for more."""
        self._run(
            "UPDATE contour_case SET state = 'waiting', wait_until = %s, updated_at = %s WHERE id = %s"
            " AND planning_series_uid IS NULL",
            (at, at, case_id),
        )

    def called_ae_titles(self, series_instance_uids: Sequence[str]) -> frozenset[str]:
        """Return the AE titles of ours under which series came."""
        rows = self._all(
            "SELECT DISTINCT called_ae_title FROM series WHERE series_instance_uid = ANY(%s)",
            (list(series_instance_uids),),
        )
        return frozenset(row["called_ae_title"] for row in rows)

    def set_case(self, case_id: str, state: CaseState, at: datetime, *, reasons: Sequence[str] | None = None) -> None:
        """Change the state of a case, and its reasons unless None."""
        self._run(
            "UPDATE contour_case SET state = %s, reasons = coalesce(%s::text[], reasons), updated_at = %s"
            " WHERE id = %s",
            (state, None if reasons is None else list(reasons), at, case_id),
        )

    def combine_later(self, case_id: str) -> None:
        """Note that a case becomes part of a combined structure set."""
        self._run("UPDATE contour_case SET to_combine = true WHERE id = %s", (case_id,))

    def add_structure_set(
        self, case_id: str, sop_instance_uid: str, key: str, report: dict[str, Any], at: datetime
    ) -> None:
        """Note a structure set, and count its findings; twice is once."""
        self._run(
            "WITH written AS (INSERT INTO structure_set (case_id, sop_instance_uid, key, report, created_at)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (case_id) DO NOTHING RETURNING report)"
            " INSERT INTO finding_total AS total (code, severity, count)"
            " SELECT finding->>'code', finding->>'severity', count(*)"
            " FROM written, jsonb_array_elements(report->'findings') AS finding GROUP BY 1, 2"
            " ON CONFLICT (code, severity) DO UPDATE SET count = total.count + excluded.count",
            (case_id, sop_instance_uid, key, Jsonb(report), at),
        )

    def add_beside(self, case_id: str, what: Deliverable, sop_instance_uid: str, key: str) -> None:
        """Note another object beside the structure set of a case; twice is once."""
        self._run(_BESIDE[what], (sop_instance_uid, key, case_id))

    def finding_codes(self, case_id: str) -> dict[str, Severity]:
        """Return what was found doubtful of a case, by code, with the worst severity of each."""
        rows = self._all(
            "SELECT DISTINCT finding->>'code' AS code, finding->>'severity' AS severity"
            " FROM structure_set, jsonb_array_elements(report->'findings') AS finding WHERE case_id = %s",
            (case_id,),
        )
        found = sorted((Severity(row["severity"]).rank, row["code"], Severity(row["severity"])) for row in rows)
        return {code: severity for _, code, severity in found}

    def structure_set_uid(self, case_id: str) -> str | None:
        """Return the SOP Instance UID of the structure set of a case; None before it is written."""
        row = self._one("SELECT sop_instance_uid FROM structure_set WHERE case_id = %s", (case_id,))
        return None if row is None else str(row["sop_instance_uid"])


def _routed(case: CaseRecord) -> dict[str, object]:
    """What routing says of a case: column of `contour_case` → value."""
    return {
        "state": case.state,
        "generation": case.generation,
        "predecessor": case.predecessor,
        "planning_series_uid": case.planning_series_uid,
        "frame_of_reference_uid": case.frame_of_reference_uid,
        "inputs": Jsonb(inputs_to_json(case)),
        "waiting_for": list(case.waiting_for),
        "wait_until": case.wait_until,
        "reasons": list(case.reasons),
        "urgent": case.urgent,
        "verdicts": Jsonb(verdicts_to_json(case)),
        "choices": Jsonb([dict(choice) for choice in case.choices]),
    }
