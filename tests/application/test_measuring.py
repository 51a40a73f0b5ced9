"""Measurements of a case go, as an object of their own, to destinations that take them; nothing else waits for it."""

from __future__ import annotations

import json

from npc_contour.application.artefacts import MEASUREMENTS
from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState
from npc_contour.store.database import Store
from npc_testkit.bench import chest, chest_bench

NAME = "mediastinal_ln"


def test_measurements_go_where_they_are_taken(store: Store) -> None:
    bench = chest_bench(store)
    bench.receive(chest())
    bench.work_for(15)

    details = bench.board.details(bench.case(NAME).case_id)
    assert details is not None
    assert {(d.destination, d.what) for d in details.deliveries} == {
        ("tps", Deliverable.RTSTRUCT),
        ("archive", Deliverable.RTSTRUCT),
        ("archive", Deliverable.MEASUREMENTS),
    }
    assert details.measurements is not None
    assert len(details.measurements["nodes"]) == 1
    assert details.measurements_file.endswith(MEASUREMENTS)
    uids = {d.what: d.sop_instance_uid for d in details.deliveries if d.destination == "archive"}
    assert sorted(json.loads(data)["uid"] for name, data in bench.sender.sent if name == "archive") == sorted(
        uids.values()
    )


def test_a_destination_without_sr_fails_that_delivery_alone(store: Store) -> None:
    bench = chest_bench(store)
    bench.sender.sr = False
    bench.receive(chest())
    bench.work_for(15)

    case = bench.case(NAME)
    details = bench.board.details(case.case_id)
    assert details is not None
    states = {(d.destination, d.what): d.state for d in details.deliveries}
    assert states.pop(("archive", Deliverable.MEASUREMENTS)) is DeliveryState.FAILED
    assert set(states.values()) == {DeliveryState.SENT}
    assert case.state is CaseState.SENT
