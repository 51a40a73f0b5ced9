"""What is usual at this site, and whether it has shifted: every structure set adds its values when it is written.

Volumes are compared for each structure and version of its network; spacing, values and noise of the images, findings
and structures not found for each pipeline with the versions of its networks. A new version starts a new baseline. A
shift stands until a person accepts it; the next cases then make a new baseline.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from npc_contour.application.ports import Clock
from npc_contour.core.drift import Baseline, Shift, limit_of
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.findings import Severity
from npc_contour.domain.statistics import LEAST_DEVIATION, Measure, ScannerRow, SeriesKey, UsualRow
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.errors import OperationRefused
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.statistics import baseline_of, key_of
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

WORDS: Mapping[Measure, tuple[str, str]] = {
    Measure.VOLUME: ("volumes", "cc"),
    Measure.SOFT_TISSUE: ("values inside organs", "HU"),
    Measure.NOISE: ("noise inside organs", "HU"),
    Measure.SLICE: ("slice spacing", "mm"),
    Measure.FINDINGS: ("findings of a case", ""),
    Measure.NOT_FOUND: ("structures not found", ""),
}
"""What is measured, and its unit."""
_LAST = 200

_USUAL = """
SELECT baseline.*, seen.* FROM baseline LEFT JOIN LATERAL (
    SELECT count(*) AS n, percentile_cont(0.05) WITHIN GROUP (ORDER BY value) AS p05,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY value) AS p95
    FROM (SELECT value FROM observation o WHERE (o.measure, o.structure, o.network, o.version)
        = (baseline.measure, baseline.structure, baseline.network, baseline.version)
        ORDER BY at DESC LIMIT %(last)s) last
) seen ON true
ORDER BY shift = '', watch DESC, network, structure, measure"""

_BY_SCANNER = """
SELECT scanner, kernel, count(*) AS cases, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median,
    percentile_cont(0.05) WITHIN GROUP (ORDER BY value) AS low,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY value) AS high,
    (SELECT count(*) FROM observation f WHERE f.measure = 'findings' AND f.structure = %(structure)s AND f.value > 0
        AND (f.network, f.version, f.scanner, f.kernel) = (%(network)s, %(version)s, o.scanner, o.kernel)) AS doubtful
FROM observation o WHERE measure = %(measure)s AND structure = %(structure)s AND network = %(network)s
AND version = %(version)s GROUP BY scanner, kernel ORDER BY cases DESC, scanner, kernel LIMIT 50"""


def observe(tx: Transaction, case: CaseRecord, report: Mapping[str, Any], at: datetime) -> None:
    """Keep what a structure set adds, once for the same images, and tell of shifts.

    Args:
        tx: in which the structure set is written.
        case: its case; one that combines others adds nothing.
        report: of the structure set.
        at: now.
    """
    if case.members or "site" not in report:
        return
    values = dict(_values(report))
    images = hashlib.sha256((case.planning_series_uid or case.case_id).encode()).hexdigest()[:32]
    site = report["site"]
    new = {
        key: value
        for key, value in values.items()
        if tx.add_observation(key, value, images=images, scanner=site["scanner"], kernel=site["kernel"], at=at)
    }
    watched = [key for key in new if not (key.structure and key.measure is Measure.FINDINGS)]
    known = tx.baselines({key.network: key.version for key in watched}) if watched else {}
    limit = limit_of(len(watched))
    for key in watched:
        before, standing = known.get(key, (Baseline(), ""))
        if standing:
            continue
        baseline = before.after(key.measure.scaled(new[key]), LEAST_DEVIATION[key.measure])
        shift = baseline.shift(limit)
        words = sentence_of(key, before, shift) if shift else ""
        tx.put_baseline(key, baseline, baseline.sum / limit, words, at)
        if words:
            tx.record(
                TimelineEntry(
                    event=Event.SITE_SHIFTED, at=at, study=case.study_instance_uid, case=case.case_id, detail=words
                )
            )
            logger.warning(
                Event.SITE_SHIFTED,
                extra={"measure": key.measure, "structure": key.structure, "network": key.network, "detail": words},
            )


def sentence_of(key: SeriesKey, before: Baseline, shift: Shift) -> str:
    """Return a shift in words, with numbers."""
    what, unit = WORDS[key.measure]
    way = "up" if shift.deviations > 0 else "down"
    usual = f"{key.measure.unscaled(before.usual.mean):.3g} {unit}".strip()
    return (
        f"{key.text}: {what} have gone {way} by about {abs(shift.deviations):.1f} standard deviations in the last"
        f" {shift.cases} cases; usual were {usual}, over {before.usual.cases} cases"
    )


class SiteStatistics:
    """What is usual at this site, for the page and REST."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Read this store."""
        self._store = store
        self._clock = clock

    def usual(self) -> Sequence[UsualRow]:
        """Return every series of values, those that have shifted first, then those that speak most for a shift."""
        return tuple(
            UsualRow(
                key := key_of(row),
                row["n"],
                key.measure.unscaled(baseline_of(row).usual.mean),
                row["p05"] or 0.0,
                row["p95"] or 0.0,
                row["watch"],
                row["shift"],
                row["shifted_at"],
            )
            for row in self._store.query(_USUAL, {"last": _LAST})
        )

    def by_scanner(self, key: SeriesKey) -> Sequence[ScannerRow]:
        """Return the values of one series by scanner and kernel, the most frequent first."""
        rows = self._store.query(
            _BY_SCANNER,
            {"measure": key.measure, "structure": key.structure, "network": key.network, "version": key.version},
        )
        return tuple(ScannerRow(**row) for row in rows)

    def accept(self, key: SeriesKey, *, by: str, reason: str = "") -> str:
        """Take a shift as usual: a new baseline begins with the next case.

        Raises:
            OperationRefused: no shift stands on this series of values.
        """
        words = f"accepted by {by}{f': {reason}' if reason else ''}"
        with self._store.transaction() as tx:
            if not tx.forget_baseline(key):
                raise OperationRefused(f"no shift stands on {key.measure} of {key.text}")
            tx.record(
                TimelineEntry(event=Event.SITE_SHIFT_ACCEPTED, at=self._clock.now(), detail=f"{key.text}: {words}")
            )
        logger.info(Event.SITE_SHIFT_ACCEPTED, extra={"measure": key.measure, "structure": key.structure, "by": by})
        return f"{key.measure} of {key.text}: a new baseline begins with the next case"


def _values(report: Mapping[str, Any]) -> Iterator[tuple[SeriesKey, float]]:
    versions = {network["name"]: network["version"] for network in report["networks"]}
    doubts = [one for one in report["findings"] if Severity(one["severity"]).at_least(Severity.CHECK)]
    of_structure = Counter(one["structure"] for one in doubts)
    for roi in report["rois"]:
        version = versions.get(roi["network"])
        if version is None:
            continue
        if roi["found"]:
            yield SeriesKey(Measure.VOLUME, roi["name"], roi["network"], version), roi["volume_cc"]
        if of_structure[roi["name"]]:
            key = SeriesKey(Measure.FINDINGS, roi["name"], roi["network"], version)
            yield key, float(of_structure[roi["name"]])
    whole = report["pipeline"], "+".join(sorted(set(versions.values())))
    for name, value in report["site"]["values"].items():
        yield SeriesKey(Measure(name), "", *whole), value
    yield SeriesKey(Measure.FINDINGS, "", *whole), float(len(doubts))
    yield SeriesKey(Measure.NOT_FOUND, "", *whole), float(len(report["not_found"]))
