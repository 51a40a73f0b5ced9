"""Every structure set adds to what is usual at the site; a shift is told once, and stands until it is accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from npc_contour.application.statistics import SiteStatistics, observe
from npc_contour.domain.cases import CaseInput, CaseRecord
from npc_contour.domain.statistics import Measure, SeriesKey
from npc_contour.errors import OperationRefused
from npc_contour.logs import Event
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, plain_ct
from npc_testkit.fakes import FakeClock

AT = datetime(2026, 3, 1, tzinfo=UTC)
BRAIN = SeriesKey(Measure.VOLUME, "Brain", "npc_oar", "1")


@pytest.fixture
def case(store: Store) -> CaseRecord:
    bench = Bench(store)
    bench.receive(plain_ct())
    bench.work_for(20)
    store.query("DELETE FROM observation RETURNING id")
    store.query("DELETE FROM baseline RETURNING measure")
    return bench.case("ln_ctv")


def report(brain_cc: float, *, version: str = "1", kernel: str = "Hr40f", doubtful: bool = False) -> dict[str, Any]:
    finding = {"severity": "check", "structure": "Brain", "code": "volume"}
    return {
        "pipeline": "npc_oar_gtv",
        "networks": [{"name": "npc_oar", "version": version}],
        "rois": [{"name": "Brain", "network": "npc_oar", "volume_cc": brain_cc, "found": True}],
        "findings": [finding] if doubtful else [],
        "not_found": [],
        "site": {"scanner": "ACME One", "kernel": kernel, "values": {"slice_mm": 3.0, "noise_hu": 11.0}},
    }


def add(store: Store, case: CaseRecord, images: str, content: dict[str, Any]) -> None:
    given = CaseInput(images, ())
    with store.transaction() as tx:
        observe(tx, replace(case, inputs={case.planning_role: given}), content, AT)


def told(store: Store) -> list[str]:
    rows = store.query("SELECT detail FROM event WHERE name = %(name)s", {"name": Event.SITE_SHIFTED.value})
    return [row["detail"] for row in rows]


def test_a_network_that_draws_larger_brains_is_told_once_and_stands_until_accepted(
    store: Store, case: CaseRecord
) -> None:
    usual = np.random.default_rng(1).lognormal(np.log(1300.0), 0.08, 80)
    for number, brain_cc in enumerate(usual):
        add(store, case, f"1.{number}", report(brain_cc * (1.0 if number < 50 else 1.25)))
    statistics = SiteStatistics(store, FakeClock())
    counts = StatusBoard(store, str).counts()

    (words,) = told(store)
    assert words.startswith("Brain of npc_oar 1: volumes have gone up by about ")
    assert "over 5" in words
    first = statistics.usual()[0]
    assert first.key == BRAIN
    assert first.shift == words
    assert counts.watch["volume_cc", "Brain", "npc_oar"] >= 1.0
    assert counts.usual["volume_cc", "Brain", "npc_oar"] == pytest.approx(1300.0, rel=0.05)
    assert counts.watch["slice_mm", "", "npc_oar_gtv"] == 0.0

    assert "new baseline" in statistics.accept(BRAIN, by="Ann", reason="retrained")
    with pytest.raises(OperationRefused, match="no shift stands on volume_cc of Brain"):
        statistics.accept(BRAIN, by="Ann")
    add(store, case, "2.1", report(1600.0))
    assert StatusBoard(store, str).counts().watch["volume_cc", "Brain", "npc_oar"] == 0.0
    assert len(told(store)) == 1


def test_a_new_version_begins_anew_and_the_same_images_count_once(store: Store, case: CaseRecord) -> None:
    for number in range(40):
        add(store, case, f"1.{number}", report(1300.0 + number % 7))
    for number in range(40):
        add(store, case, f"1.{number}", report(900.0 + number % 7, version="2"))
        add(store, case, f"1.{number}", report(100.0, version="2"))

    assert told(store) == []
    cases = {row.key.version: row.cases for row in SiteStatistics(store, FakeClock()).usual() if row.key.structure}
    assert cases == {"1": 40, "2": 40}


def test_values_are_kept_by_scanner_and_kernel(store: Store, case: CaseRecord) -> None:
    for number in range(6):
        kernel = "Hr60f" if number < 2 else "Hr40f"
        add(store, case, f"1.{number}", report(1300.0 + number, kernel=kernel, doubtful=number == 0))

    rows = SiteStatistics(store, FakeClock()).by_scanner(BRAIN)

    assert [(row.scanner, row.kernel, row.cases, row.doubtful) for row in rows] == [
        ("ACME One", "Hr40f", 4, 0),
        ("ACME One", "Hr60f", 2, 1),
    ]
    assert rows[0].median == pytest.approx(1303.5)


def test_a_structure_set_of_the_service_adds_its_values(store: Store) -> None:
    bench = Bench(store)
    bench.receive(plain_ct())
    bench.work_for(20)

    kept = {(row["measure"], row["structure"]) for row in store.query("SELECT * FROM observation")}
    assert ("slice_mm", "") in kept
    assert any(measure == "volume_cc" and structure for measure, structure in kept)
    (row,) = store.query("SELECT report FROM structure_set")
    assert set(row["report"]["site"]) == {"scanner", "kernel", "values"}
