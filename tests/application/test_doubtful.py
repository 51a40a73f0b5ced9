"""Doubtful contours stay here until a person lets them go; what is doubtful stands in report, notes and timeline."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from npc_contour.application.operations import Operations
from npc_contour.domain.findings import HoldFrom, Severity
from npc_contour.domain.jobs import AnyDestination, Deliverable, DeliveryState
from npc_contour.errors import OperationRefused
from npc_contour.store.database import Store
from npc_testkit.bench import LOOPBACK, Bench, plain_ct


def worked(store: Store, hold: HoldFrom, *more: AnyDestination) -> Bench:
    """The fake network draws boxes that are no nodal volumes."""
    bench = Bench(store, destinations=(LOOPBACK, *more), hold_doubtful=hold)
    bench.receive(plain_ct())
    bench.work_for(20)
    return bench


def test_a_doubtful_case_is_held_with_the_reason_and_sent_once_released(store: Store) -> None:
    bench = worked(store, HoldFrom.CHECK)
    case = bench.case("ln_ctv")
    assert case.held_reason.startswith("the contours are doubtful: CTVn_")
    assert bench.sender.sent == []

    operate = Operations(bench.store, bench.clock, bench.destinations)
    with pytest.raises(OperationRefused, match=r"held for its findings .*volume.*: look at each"):
        operate.release(case.case_id, by="Ann", reason="looked at", seen=case.held_for[1:])
    with pytest.raises(OperationRefused, match="say why"):
        operate.release(case.case_id, by="Ann", seen=case.held_for)
    assert operate.release(case.case_id, by="Ann", reason="a child", seen=case.held_for).endswith(
        f"a child; findings seen: {', '.join(case.held_for)}"
    )
    bench.work_for(20)

    assert len(bench.sender.sent) == 1
    assert [one.state for one in bench.board.details(case.case_id).deliveries] == [DeliveryState.SENT]  # type: ignore[union-attr]


def test_a_person_who_holds_it_too_does_not_take_the_question_away(store: Store) -> None:
    bench = worked(store, HoldFrom.CHECK)
    case = bench.case("ln_ctv")
    operate = Operations(bench.store, bench.clock, bench.destinations)

    operate.hold(case.case_id, by="Ann", reason="the right study?")

    with pytest.raises(OperationRefused, match="held for its findings"):
        operate.release(case.case_id, by="Ann", reason="it is")


def test_each_destination_has_a_rule_of_its_own(store: Store) -> None:
    taking = replace(LOOPBACK, name="archive", hold_doubtful=HoldFrom.NEVER, findings=True)
    bench = worked(store, HoldFrom.CHECK, taking)
    case = bench.case("ln_ctv")

    assert case.held_for
    assert [destination for destination, _ in bench.sender.sent] == ["archive", "archive"]
    assert bench.board.counts().undelivered_s["tps"] == 0.0, "what a person holds is not late"

    operate = Operations(bench.store, bench.clock, bench.destinations)
    operate.release(case.case_id, by="Ann", reason="looked at", seen=case.held_for)
    bench.work_for(20)
    assert [destination for destination, _ in bench.sender.sent] == ["archive", "archive", "tps"]


def test_what_was_found_goes_as_objects_of_its_own_where_it_is_asked_for(store: Store) -> None:
    wants = replace(LOOPBACK, name="archive", findings=True, findings_pdf=True)
    bench = worked(store, HoldFrom.NEVER, wants)
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None

    sent = {(one.destination, one.what) for one in details.deliveries if one.state is DeliveryState.SENT}
    assert sent == {
        ("tps", Deliverable.RTSTRUCT),
        ("archive", Deliverable.RTSTRUCT),
        ("archive", Deliverable.FINDINGS),
        ("archive", Deliverable.FINDINGS_PDF),
    }
    assert {Deliverable.FINDINGS, Deliverable.FINDINGS_PDF} <= set(details.objects)


def test_a_site_may_let_it_go_on(store: Store) -> None:
    bench = worked(store, HoldFrom.NEVER)

    assert bench.case("ln_ctv").held_reason == ""
    assert len(bench.sender.sent) == 1


def test_findings_are_kept_as_data_and_told_as_notes(store: Store) -> None:
    worked(store, HoldFrom.NEVER)
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
    bench = worked(store, HoldFrom.NEVER)
    (row,) = store.query("SELECT case_id, report FROM structure_set")
    told = [(one["code"], one["severity"]) for one in row["report"]["findings"]]
    with store.transaction() as tx:
        tx.add_structure_set(row["case_id"], "1.2.3", "again", row["report"], bench.clock.now())
        codes = tx.finding_codes(row["case_id"])

    assert bench.board.counts().findings == Counter(told)
    assert set(codes) == {code for code, _ in told}
    assert codes["volume"] is max((Severity(s) for c, s in told if c == "volume"), key=lambda one: one.rank)
