"""Results of the tests of the networks."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from npc_contour.domain.work import SelfTestResult
from npc_contour.store.rows import read
from npc_contour.store.statements import Statements


class SelfTests(Statements):
    """The part of a transaction that concerns the tests of the networks."""

    def add_self_test(self, result: SelfTestResult, forget_before: datetime) -> None:
        """Keep the result of a test, and forget old ones."""
        self._run(
            "INSERT INTO self_test (at, seconds, ok, detail, dice) VALUES (%s, %s, %s, %s, %s)",
            (result.at, result.seconds, result.ok, result.detail, Jsonb(dict(result.dice))),
        )
        self._run("DELETE FROM self_test WHERE at < %s", (forget_before,))

    def last_self_test(self) -> SelfTestResult | None:
        """Return how the last test ended; None before the first."""
        row = self._one("SELECT * FROM self_test ORDER BY at DESC LIMIT 1")
        return None if row is None else read(SelfTestResult, row)
