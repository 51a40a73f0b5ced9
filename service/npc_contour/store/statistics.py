"""What is usual at this site: values, and what they usually are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from npc_contour.core.drift import Baseline, Spread
from npc_contour.domain.statistics import Measure, SeriesKey
from npc_contour.store.connection import Row
from npc_contour.store.statements import Statements

_KEY = "measure = %(measure)s AND structure = %(structure)s AND network = %(network)s AND version = %(version)s"


class Statistics(Statements):
    """The part of a transaction that concerns what is usual at this site."""

    def add_observation(
        self, key: SeriesKey, value: float, *, images: str, scanner: str, kernel: str, at: datetime
    ) -> bool:
        """Keep a value; return False where these images have one for this version already."""
        row = self._one(
            "INSERT INTO observation (at, images, measure, structure, network, version, scanner, kernel, value)"
            " VALUES (%(at)s, %(images)s, %(measure)s, %(structure)s, %(network)s, %(version)s, %(scanner)s,"
            " %(kernel)s, %(value)s) ON CONFLICT DO NOTHING RETURNING id",
            {**asdict(key), "value": value, "images": images, "scanner": scanner, "kernel": kernel, "at": at},
        )
        return row is not None

    def baselines(self, versions: Mapping[str, str]) -> dict[SeriesKey, tuple[Baseline, str]]:
        """Return the baselines of networks, name → version, each with the shift that stands on it, "" for none.

        Others wait for the end of this transaction before they read one.
        """
        self._run("SELECT pg_advisory_xact_lock(hashtextextended('baseline', 0))")
        rows = self._all("SELECT * FROM baseline WHERE network = ANY(%s)", (list(versions),))
        kept = [row for row in rows if versions[row["network"]] == row["version"]]
        return {key_of(row): (baseline_of(row), row["shift"]) for row in kept}

    def put_baseline(self, key: SeriesKey, baseline: Baseline, watch: float, shift: str, at: datetime) -> None:
        """Keep a baseline, and the shift that stands on it; "" for none."""
        self._run(
            "INSERT INTO baseline (measure, structure, network, version, state, watch, shift, shifted_at, began_at,"
            " updated_at) VALUES (%(measure)s, %(structure)s, %(network)s, %(version)s, %(state)s, %(watch)s,"
            " %(shift)s, %(shifted_at)s, %(at)s, %(at)s)"
            " ON CONFLICT (measure, structure, network, version) DO UPDATE SET state = excluded.state,"
            " watch = excluded.watch, shift = excluded.shift, shifted_at = excluded.shifted_at,"
            " updated_at = excluded.updated_at",
            {
                **asdict(key),
                "state": Jsonb(asdict(baseline)),
                "watch": watch,
                "shift": shift,
                "shifted_at": at if shift else None,
                "at": at,
            },
        )

    def forget_baseline(self, key: SeriesKey) -> bool:
        """Let a new baseline begin with the next case; return False where no shift stands on this one."""
        row = self._one(f"DELETE FROM baseline WHERE {_KEY} AND shift <> '' RETURNING measure", asdict(key))  # noqa: S608 - constants only
        return row is not None


def key_of(row: Row) -> SeriesKey:
    """Return which series of values a row is about."""
    return SeriesKey(Measure(row["measure"]), row["structure"], row["network"], row["version"])


def baseline_of(row: Row) -> Baseline:
    """Return the baseline of a row."""
    state: dict[str, Any] = dict(row["state"])
    return Baseline(**{**state, "usual": Spread(**state["usual"]), "apart": Spread(**state["apart"])})
