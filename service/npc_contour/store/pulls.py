"""Rules that look at a PACS, and the series they found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from npc_contour.domain.pulls import PulledSeries, PullState
from npc_contour.domain.queries import Match
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements


class Pulls(Statements):
    """The part of a transaction that concerns what is fetched from a PACS."""

    def set_pull_rules(self, names: Sequence[str], at: datetime) -> None:
        """Let just these rules look: new ones at once, others when they were due, none besides."""
        self._run("DELETE FROM pull_rule WHERE NOT name = ANY(%s)", (list(names),))
        for name in names:
            self._run("INSERT INTO pull_rule (name, next_poll_at) VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, at))

    def due_pull_rules(self, at: datetime) -> tuple[str, ...]:
        """Return the rules that should have looked by now."""
        rows = self._all("SELECT name FROM pull_rule WHERE next_poll_at <= %s ORDER BY name", (at,))
        return tuple(row["name"] for row in rows)

    def next_poll(self, name: str, at: datetime) -> None:
        """Note when a rule looks next."""
        self._run("UPDATE pull_rule SET next_poll_at = %s WHERE name = %s", (at, name))

    def want_series(self, pacs: str, match: Match, at: datetime, *, again: bool = False) -> int | None:
        """Note that a series is to be fetched; return its id, or None when nothing is to be done about it.

        Args:
            pacs: which has it.
            match: the series, with its count where the PACS counts.
            at: now.
            again: fetch it even if it was fetched already, or given up.
        """
        row = self._one(
            "INSERT INTO pulled_series (pacs, study_instance_uid, series_instance_uid, patient_id, images, state,"
            " found_at, updated_at) VALUES (%s, %s, %s, %s, %s, 'wanted', %s, %s)"
            " ON CONFLICT (pacs, series_instance_uid) DO UPDATE SET state = 'wanted', images = EXCLUDED.images,"
            " attempts = 0, message = '', updated_at = EXCLUDED.updated_at"
            " WHERE %s OR EXCLUDED.images > coalesce(pulled_series.images, 0) RETURNING id",
            (
                pacs,
                match.study_instance_uid,
                match.series_instance_uid,
                match.patient_id,
                match.instances,
                at,
                at,
                again,
            ),
        )
        return None if row is None else int(row["id"])

    def pulled_series(self, pull_id: int, *, lock: bool = False) -> PulledSeries | None:
        """Return one series that is or was to be fetched."""
        row = self._one(
            f"SELECT * FROM pulled_series WHERE id = %s{' FOR UPDATE' if lock else ''}",  # noqa: S608 - constants only
            (pull_id,),
        )
        return None if row is None else read(PulledSeries, row, pull_id=row["id"])

    def set_pulled(self, pull_id: int, state: PullState, attempts: int, message: str, at: datetime) -> None:
        """Change the state of one."""
        self._run(
            "UPDATE pulled_series SET state = %s, attempts = %s, message = %s, updated_at = %s WHERE id = %s",
            (state, attempts, message, at, pull_id),
        )

    def set_counted(self, pull_id: int, images: int) -> None:
        """Note that the PACS names so many images of it, where that is more than it counted."""
        self._run(
            "UPDATE pulled_series SET images = %s WHERE id = %s AND coalesce(images, 0) < %s", (images, pull_id, images)
        )

    def counted_by_pacs(self, series_instance_uid: str) -> int | None:
        """Return how many images of a series a PACS has that did not give all of them yet; None without one."""
        row = self._one(
            "SELECT max(images) AS images FROM pulled_series WHERE series_instance_uid = %s AND state <> 'fetched'",
            (series_instance_uid,),
        )
        return None if row is None else row["images"]
