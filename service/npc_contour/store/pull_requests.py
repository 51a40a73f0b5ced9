"""Studies that programs ask us to fetch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from npc_contour.domain.pulls import PullRequest
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements


class PullRequests(Statements):
    """The part of a transaction that concerns what programs ask to be fetched."""

    def add_pull_request(
        self, pacs: str, study_instance_uid: str, series_instance_uids: Sequence[str], by: str, at: datetime
    ) -> int:
        """Note a request; return its id."""
        row = self._one(
            "INSERT INTO pull_request (pacs, study_instance_uid, series_instance_uids, asked_by, state, asked_at,"
            " updated_at) VALUES (%s, %s, %s, %s, 'asked', %s, %s) RETURNING id",
            (pacs, study_instance_uid, list(series_instance_uids), by, at, at),
        )
        assert row is not None  # noqa: S101 - an INSERT without ON CONFLICT returns its row or raises
        return int(row["id"])

    def pull_requests_waiting(self) -> int:
        """Return how many requests no PACS has answered yet."""
        row = self._one("SELECT count(*) AS n FROM pull_request WHERE state = 'asked'")
        return int(row["n"]) if row else 0

    def pull_request(self, request_id: int) -> PullRequest | None:
        """Return one request."""
        row = self._one("SELECT * FROM pull_request WHERE id = %s", (request_id,))
        return None if row is None else read(PullRequest, row, request_id=row["id"])

    def set_pull_request(self, request: PullRequest, at: datetime) -> None:
        """Change state, attempts, message and series of one."""
        self._run(
            "UPDATE pull_request SET state = %s, attempts = %s, message = %s, pull_ids = %s, updated_at = %s"
            " WHERE id = %s",
            (request.state, request.attempts, request.message, list(request.pull_ids), at, request.request_id),
        )
