"""From images to a sent structure set, whatever is late, missing, down or killed: nothing lost, nothing done twice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from npc_contour.application.artefacts import REPORT, RTSTRUCT
from npc_contour.application.steps import MAX_ATTEMPTS, MAX_CRASHES
from npc_contour.catalog import Catalog
from npc_contour.domain.jobs import CaseState, DeliveryState, Destination, SeriesState
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.status import Part
from npc_contour.domain.work import JobKind
from npc_contour.errors import GateError, InstanceRefused, NetworkMismatchError, PixelDataError
from npc_contour.store.database import Store
from npc_testkit.bench import LOOPBACK, WAIT_S, Bench, catalog, contrast_ct, plain_ct
from npc_testkit.fakes import triton_down


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def pair() -> list[InstanceHeader]:
    return [*plain_ct(), *contrast_ct()]


def test_a_pair_becomes_two_structure_sets_at_the_destination(bench: Bench) -> None:
    bench.receive(pair())
    bench.work_for(15)
    assert {case.pipeline: case.state for case in bench.cases("ln_ctv") + bench.cases("npc_oar_gtv")} == {
        "ln_ctv": CaseState.SENT,
        "npc_oar_gtv": CaseState.SENT,
    }
    assert len(bench.sender.sent) == 2
    assert sorted(bench.engine.calls) == [("ln_ctv", 1), ("npc_gtv", 2), ("npc_oar", 2)]


def test_the_planning_series_is_the_one_without_contrast_and_each_volume_is_read_once_a_case(bench: Bench) -> None:
    bench.receive(pair())
    bench.work_for(15)
    assert bench.case("ln_ctv").planning_series_uid == "1.2.10"
    assert bench.case("npc_oar_gtv").planning_series_uid == "1.2.10"
    assert sorted(bench.reader.reads) == ["1.2.10", "1.2.10", "1.2.20"]


def test_the_story_of_a_case_tells_volumes_deliveries_and_seconds(bench: Bench) -> None:
    bench.receive(pair())
    bench.work_for(15)
    details = bench.board.details(bench.case("npc_oar_gtv").case_id)
    assert details is not None
    assert details.job.demo
    assert {roi.name for roi in details.rois if roi.found} >= {"Brainstem", "GTVp"}
    assert [(d.destination, d.state) for d in details.deliveries] == [("tps", DeliveryState.SENT)]
    events = [event.event for event in details.timeline]
    for expected in ("series.ready", "case.created", "case.segmented", "structure_set.written", "delivery.sent"):
        assert expected in events
    assert "segment npc_oar" in bench.board.counts().steps
    report = json.loads(bench.spool.files[f"artefacts/{details.job.case_id}/{REPORT}"])
    assert report["networks"][0]["demo"] is True


def test_a_series_is_not_closed_while_slices_come(bench: Bench) -> None:
    images = plain_ct()
    for part in (images[:20], images[20:35], images[35:]):
        bench.receive(part)
        bench.clock.forward(9)
        bench.work()
        assert bench.board.series(Part(limit=1))[0].state is SeriesState.RECEIVING
    bench.work_for(15)
    assert bench.board.series(Part(limit=1))[0].state is SeriesState.READY


def test_missing_slices_are_waited_for_and_then_held_with_the_millimetres(bench: Bench) -> None:
    images = plain_ct()
    bench.receive(images[:20] + images[22:])
    bench.work_for(60)
    series = bench.board.series(Part(limit=1))[0]
    assert series.state is SeriesState.RECEIVING
    assert "gap" in series.reasons[0]
    bench.work_for(1800, step_s=300)
    assert bench.board.series(Part(limit=1))[0].state is SeriesState.HELD
    bench.receive(images[20:22])
    bench.work_for(15)
    assert bench.board.series(Part(limit=1))[0].state is SeriesState.READY


def test_an_incomplete_series_does_not_keep_the_others_from_being_contoured(bench: Bench) -> None:
    third = plain_ct(uid="1.2.30")
    bench.receive([*pair(), *third[:10], *third[20:]])
    bench.work_for(20)
    assert bench.case("npc_oar_gtv").state is CaseState.SENT


def test_a_late_slice_makes_a_new_structure_set_that_names_the_old_one(bench: Bench) -> None:
    images = plain_ct(51)
    bench.receive([*images[:-1], *contrast_ct()])
    bench.work_for(15)
    first = bench.case("npc_oar_gtv")
    bench.receive(images[-1:])
    bench.work_for(15)
    old, new = bench.cases("npc_oar_gtv")
    assert (old.case_id, old.state, new.state, new.generation) == (
        first.case_id,
        CaseState.SUPERSEDED,
        CaseState.SENT,
        2,
    )
    assert (
        bench.spool.files[f"artefacts/{old.case_id}/{RTSTRUCT}"]
        != (bench.spool.files[f"artefacts/{new.case_id}/{RTSTRUCT}"])
    )
    written = [s for s in bench.writer.written if s.uid_seed == new.uid_seed]
    old_uid = json.loads(bench.spool.files[f"artefacts/{old.case_id}/{REPORT}"])["sop_instance_uid"]
    assert written[0].predecessor_sop_instance_uid == old_uid


def test_a_late_slice_while_the_network_runs_takes_the_old_case_out(bench: Bench) -> None:
    images = plain_ct(51)
    bench.receive([*images[:-1], *contrast_ct()])
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEGMENT_CASE)

    def late_slice() -> None:
        bench.engine.before = lambda: None
        bench.receive(images[-1:])
        bench.clock.forward(11)
        with bench.store.transaction() as tx:
            tx.lock_study("1.2")
        bench.steps.run(JobKind.CLOSE_SERIES, "1.2.10")
        bench.steps.run(JobKind.ROUTE_STUDY, "1.2")

    bench.engine.before = late_slice
    bench.work_for(15)
    for pipeline in ("npc_oar_gtv", "ln_ctv"):
        old, new = bench.cases(pipeline)
        assert (old.state, new.state) == (CaseState.SUPERSEDED, CaseState.SENT)
        assert len(new.inputs["planning_ct"].sop_instance_uids) == 51
    assert len(bench.sender.sent) == 2


def test_the_same_images_again_change_nothing(bench: Bench) -> None:
    bench.receive(pair())
    bench.work_for(15)
    bench.receive(pair())
    bench.work_for(400)
    assert [len(bench.cases(p)) for p in ("npc_oar_gtv", "ln_ctv")] == [1, 1]
    assert len(bench.sender.sent) == 2


def test_without_a_partner_the_pair_pipeline_waits_then_is_refused_and_nodes_run_alone(bench: Bench) -> None:
    bench.receive(contrast_ct())
    bench.work_for(20)
    assert bench.case("npc_oar_gtv").state is CaseState.WAITING
    assert bench.case("ln_ctv").state is CaseState.WAITING
    assert bench.case("npc_oar_gtv").waiting_for == ("planning_ct",)
    bench.work_for(WAIT_S)
    refused = bench.case("npc_oar_gtv")
    assert refused.state is CaseState.REFUSED
    assert refused.reasons[0] == f"no series for the role planning_ct arrived within {WAIT_S:g} s"
    assert bench.case("ln_ctv").state is CaseState.SENT
    assert bench.case("ln_ctv").planning_series_uid == "1.2.20"


def test_where_no_pipeline_asks_for_pairs_nodes_do_not_wait_for_one(store: Store) -> None:
    both = catalog()
    alone = Catalog({"ln_ctv": both.pipelines["ln_ctv"]}, both.contracts)
    bench = Bench(store, catalog=alone)
    bench.receive(contrast_ct())
    bench.work_for(15)
    assert bench.case("ln_ctv").state is CaseState.SENT


def test_a_partner_that_comes_after_the_refusal_is_used(bench: Bench) -> None:
    bench.receive(contrast_ct())
    bench.work_for(WAIT_S + 20)
    bench.receive(plain_ct())
    bench.work_for(20)
    assert [case.state for case in bench.cases("npc_oar_gtv")] == [CaseState.SUPERSEDED, CaseState.SENT]
    old, new = bench.cases("ln_ctv")
    assert (old.planning_series_uid, old.state) == ("1.2.20", CaseState.SUPERSEDED)
    assert (new.planning_series_uid, new.state) == ("1.2.10", CaseState.SENT)


def test_a_plain_series_alone_serves_the_nodes_at_once(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(15)
    assert bench.case("ln_ctv").state is CaseState.SENT
    assert bench.case("npc_oar_gtv").state is CaseState.WAITING


def test_images_that_suit_no_pipeline_are_refused_with_every_reason(bench: Bench) -> None:
    bench.receive(plain_ct(12))
    bench.work_for(15)
    for pipeline in ("npc_oar_gtv", "ln_ctv"):
        case = bench.case(pipeline)
        assert case.state is CaseState.REFUSED
        assert any("12 slices, at least 40" in reason for reason in case.reasons)


def test_pixels_that_cannot_be_decoded_refuse_the_case(bench: Bench) -> None:
    bench.reader.failure = PixelDataError("slice 3 of 50: truncated")
    bench.receive(pair())
    bench.work_for(15)
    case = bench.case("ln_ctv")
    assert case.state is CaseState.REFUSED
    assert case.reasons[0] == "slice 3 of 50: truncated"
    assert not bench.engine.calls


def test_networks_that_find_nothing_refuse_the_case(bench: Bench) -> None:
    bench.engine.empty = True
    bench.receive(pair())
    bench.work_for(15)
    assert bench.case("ln_ctv").state is CaseState.REFUSED
    assert "found none of its 6 ROIs" in bench.case("ln_ctv").reasons[0]
    assert not bench.sender.sent


def test_triton_that_is_down_for_a_while_only_delays(bench: Bench) -> None:
    bench.engine.failures = [triton_down() for _ in range(4)]
    bench.receive(pair())
    bench.work_for(120)
    assert bench.case("npc_oar_gtv").state is CaseState.SENT
    assert bench.case("ln_ctv").state is CaseState.SENT
    # What had answered before the failure is not asked again.
    assert len(bench.engine.calls) == 3 + 4


def test_triton_that_stays_down_fails_the_case_with_the_reason(bench: Bench) -> None:
    bench.engine.failures = [triton_down() for _ in range(2 * MAX_ATTEMPTS)]
    bench.receive(pair())
    bench.work_for(3600, step_s=60)
    case = bench.case("ln_ctv")
    assert case.state is CaseState.FAILED
    assert case.reasons[0] == f"segment_case failed {MAX_ATTEMPTS} times: {triton_down()}"


def test_another_network_in_triton_fails_the_case_at_once(bench: Bench) -> None:
    bench.engine.failures = [NetworkMismatchError("Triton runs another network") for _ in range(2)]
    bench.receive(pair())
    bench.work_for(15)
    assert bench.case("ln_ctv").state is CaseState.FAILED
    assert len(bench.engine.calls) == 2


def test_an_unforeseen_error_is_tried_again(bench: Bench) -> None:
    bench.engine.failures = [ZeroDivisionError("a bug")]
    bench.receive(pair())
    bench.work_for(60)
    assert bench.case("ln_ctv").state is CaseState.SENT
    assert bench.case("npc_oar_gtv").state is CaseState.SENT


def test_a_structure_set_that_fails_its_own_check_is_never_sent(bench: Bench) -> None:
    bench.writer.failure = GateError("Lens_L came back with Dice 0.4")
    bench.receive(pair())
    bench.work_for(60)
    assert bench.case("ln_ctv").state is CaseState.FAILED
    assert bench.case("ln_ctv").reasons[0] == "Lens_L came back with Dice 0.4"
    assert not bench.sender.sent


def test_a_step_done_again_skips_what_is_there_and_writes_the_same_bytes(bench: Bench) -> None:
    bench.receive(pair())
    bench.work_for(15)
    case = bench.case("ln_ctv")
    before = dict(bench.spool.files)
    with bench.store.transaction() as tx:
        tx.set_case(case.case_id, CaseState.ROUTED, bench.clock.now())
    calls = len(bench.engine.calls)
    fresh = bench.new_steps()
    fresh.run(JobKind.SEGMENT_CASE, case.case_id)
    del bench.spool.files[f"artefacts/{case.case_id}/{RTSTRUCT}"]
    fresh.run(JobKind.WRITE_STRUCTURE_SET, case.case_id)
    bench.work()
    assert len(bench.engine.calls) == calls
    rtstruct = f"artefacts/{case.case_id}/{RTSTRUCT}"
    assert bench.spool.files[rtstruct] == before[rtstruct]
    assert len(bench.sender.sent) == 2
    assert bench.case("ln_ctv").state is CaseState.CONTOURED


def test_a_case_that_kills_its_process_again_and_again_is_given_up(bench: Bench) -> None:
    bench.receive(pair())
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    poison = bench.case("ln_ctv").case_id
    for _ in range(MAX_CRASHES):
        # What a killed process leaves: an attempt that was counted, and no word of how it ended.
        with bench.store.transaction() as tx:
            tx.count_attempt(JobKind.SEGMENT_CASE, poison, bench.clock.now())
    bench.work_for(10)
    assert bench.case("ln_ctv").state is CaseState.FAILED
    assert "killed or out of memory" in bench.case("ln_ctv").reasons[0]
    assert bench.case("npc_oar_gtv").state is CaseState.SENT


def test_a_destination_that_is_down_is_tried_with_growing_pauses_until_it_takes_it(bench: Bench) -> None:
    bench.sender.down = True
    bench.receive(plain_ct())
    bench.work_for(12, step_s=1)
    tries = bench.sender.tries
    bench.work_for(600, step_s=1)
    assert 6 <= bench.sender.tries - tries <= 8
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    assert "connection refused" in details.deliveries[0].last_error
    assert details.job.state is CaseState.CONTOURED
    bench.sender.down = False
    bench.work_for(1300)
    assert bench.case("ln_ctv").state is CaseState.SENT
    assert len(bench.sender.sent) == 1


@pytest.mark.parametrize("status", [0x0122, 0x0124, 0xA900, 0xC000, 0xFF00, 0x1234])
def test_what_is_refused_for_good_fails_soon(bench: Bench, status: int) -> None:
    bench.sender.status = status
    bench.receive(plain_ct())
    bench.work_for(300)
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    assert details.deliveries[0].state is DeliveryState.FAILED
    assert "given up after 3 tries, for this does not pass by itself" in details.deliveries[0].last_error
    assert f"0x{status:04X}" in details.deliveries[0].last_error


def test_a_warning_is_stored_and_told(bench: Bench) -> None:
    bench.sender.status = 0xB007
    bench.receive(plain_ct())
    bench.work_for(15)
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    assert details.deliveries[0].state is DeliveryState.SENT
    assert "0xB007 stored, although" in details.deliveries[0].last_error


def test_a_destination_that_refuses_for_days_is_given_up_with_its_status(bench: Bench) -> None:
    bench.sender.status = 0x0110
    bench.receive(plain_ct())
    bench.work_for(97 * 3600, step_s=3600)
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    assert details.deliveries[0].state is DeliveryState.FAILED
    assert "given up after 96 h" in details.deliveries[0].last_error
    assert "0x0110" in details.deliveries[0].last_error


def test_one_destination_that_is_down_does_not_hold_the_other(store: Store) -> None:
    other = Destination("pacs", "PACS", "localhost", 104)
    bench = Bench(store, destinations=(LOOPBACK, other))
    bench.receive(plain_ct())
    bench.work_for(15)
    assert sorted(name for name, _ in bench.sender.sent) == ["pacs", "tps"]


def test_results_of_demo_networks_stay_on_this_machine_unless_allowed(store: Store) -> None:
    remote = Destination("remote", "TPS", "10.0.0.7", 104)
    allowed = Destination("lab", "LAB", "10.0.0.8", 104, allow_demo=True)
    bench = Bench(store, destinations=(LOOPBACK, remote, allowed))
    bench.receive(plain_ct())
    bench.work_for(15)
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    states = {delivery.destination: delivery.state for delivery in details.deliveries}
    assert states == {"tps": DeliveryState.SENT, "remote": DeliveryState.BLOCKED, "lab": DeliveryState.SENT}
    assert "demo network" in next(d.last_error for d in details.deliveries if d.destination == "remote")


def test_results_of_clinical_networks_go_anywhere(store: Store) -> None:
    remote = Destination("remote", "TPS", "10.0.0.7", 104)
    bench = Bench(store, destinations=(remote,), catalog=catalog(demo=False))
    bench.receive(plain_ct())
    bench.work_for(15)
    assert [name for name, _ in bench.sender.sent] == ["remote"]


def test_an_image_under_the_uid_of_another_is_refused_and_told(bench: Bench) -> None:
    bench.receive(plain_ct())
    row = AssociationRow("a2", "receiver-0", "CT", "NPC_CONTOUR", "127.0.0.1")
    thief = replace(plain_ct()[0], series_instance_uid="1.2.66")
    with pytest.raises(InstanceRefused, match="kept for another series"):
        bench.intake.keep(thief, "instances/elsewhere", row)
    rows = bench.store.query("SELECT detail FROM event WHERE name = 'instance.conflict'")
    assert [row["detail"].split(":")[0] for row in rows] == [thief.sop_instance_uid]


def test_lost_jobs_are_made_anew_from_the_rows(bench: Bench) -> None:
    bench.receive(pair())
    for _ in range(12):
        bench.store.query("DELETE FROM procrastinate_jobs RETURNING id")
        bench.clock.forward(11)
        with bench.store.transaction() as tx:
            for job in tx.jobs_missing():
                tx.defer(job)
        rows = bench.store.query("SELECT task_name, args FROM procrastinate_jobs ORDER BY id LIMIT 1")
        for row in rows:
            bench.steps.run(JobKind(row["task_name"]), row["args"]["key"])
    assert bench.case("npc_oar_gtv").state is CaseState.SENT
    assert bench.case("ln_ctv").state is CaseState.SENT
    with bench.store.transaction() as tx:
        assert tx.jobs_missing() == ()


def test_a_slice_that_comes_late_is_no_long_step(bench: Bench) -> None:
    images = plain_ct()
    bench.receive(images[:-1])
    bench.work_for(60)
    bench.clock.forward(10800)
    bench.receive(images[-1:])
    bench.work_for(60)

    assert bench.board.series(Part(limit=1))[0].state is SeriesState.READY
    assert bench.board.counts().steps["receive"].seconds < 60
