"""Doubtful contours stay here until a person lets them go; what is doubtful stands in report, notes and timeline."""

from __future__ import annotations

from collections import Counter

import pytest

from npc_contour.application.operations import Operations
from npc_contour.domain.findings import Severity
from npc_contour.domain.jobs import DeliveryState
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, plain_ct


def worked(store: Store, hold: Severity | None) -> Bench:
    """The fake network draws boxes that are no nodal volumes."""
    bench = Bench(store, hold_doubtful=hold)
    bench.receive(plain_ct())
    bench.work_for(20)
    return bench


def test_a_doubtful_case_is_held_with_the_reason_and_sent_once_released(store: Store) -> None:
    bench = worked(store, Severity.CHECK)
    case = bench.case("ln_ctv")
    assert case.held_reason.startswith("the contours are doubtful: CTVn_")
    assert bench.sender.sent == []

    Operations(bench.store, bench.clock, bench.destinations).release(case.case_id, by="Ann")
    bench.work_for(20)

    assert len(bench.sender.sent) == 1
    assert [one.state for one in bench.board.details(case.case_id).deliveries] == [DeliveryState.SENT]  # type: ignore[union-attr]


def test_a_site_may_let_it_go_on(store: Store) -> None:
    bench = worked(store, None)

    assert bench.case("ln_ctv").held_reason == ""
    assert len(bench.sender.sent) == 1


def test_findings_are_kept_as_data_and_told_as_notes(store: Store) -> None:
    worked(store, None)
    (row,) = store.query("SELECT report FROM structure_set")
    findings = row["report"]["findings"]

    assert findings, "boxes are no nodal volumes"
    first = findings[0]
    assert set(first) == {"code", "severity", "structure", "sentence", "z_mm", "numbers"}
    assert f"{first['severity'].upper()}: {first['sentence']}" in row["report"]["notes"]
    assert [one["severity"] for one in findings] == sorted(
        (one["severity"] for one in findings), key=["stop", "check", "note"].index
    )


@pytest.mark.parametrize(("severity", "least", "held"), [("stop", "stop", True), ("check", "stop", False)])
def test_severities_are_in_order(severity: str, least: str, *, held: bool) -> None:
    assert Severity(severity).at_least(Severity(least)) == held


def test_what_is_doubtful_is_counted_by_code_and_told_to_other_programs(store: Store) -> None:
    bench = worked(store, None)
    (row,) = store.query("SELECT case_id, report FROM structure_set")
    told = [(one["code"], one["severity"]) for one in row["report"]["findings"]]
    with store.transaction() as tx:
        tx.add_structure_set(row["case_id"], "1.2.3", "again", row["report"], bench.clock.now())
        codes = tx.finding_codes(row["case_id"])

    assert bench.board.counts().findings == Counter(told)
    assert set(codes) == {code for code, _ in told}
    assert codes["volume"] is max((Severity(s) for c, s in told if c == "volume"), key=lambda one: one.rank)
