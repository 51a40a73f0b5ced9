"""One structure set of all pipelines on the planning CT: waits for the others, says what is missing, is redone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from npc_contour.application.operations import Operations
from npc_contour.domain.findings import HoldFrom
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.work import JobKind
from npc_contour.errors import NetworkMismatchError
from npc_contour.store.database import Store
from npc_testkit.bench import LOOPBACK, WAIT_S, Bench, catalog, contrast_ct, plain_ct


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store, combine=True)


def sent(bench: Bench) -> list[list[str]]:
    """ROI names of every structure set that was sent."""
    return [json.loads(data)["rois"] for _, data in bench.sender.sent]


def test_all_results_on_the_planning_ct_go_as_one(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)

    (rois,) = sent(bench)
    assert {"Brainstem", "GTVp", "CTVn_Ib_L"} <= set(rois)
    assert len(rois) == 53
    combined = bench.case("combined")
    assert (combined.state, combined.planning_series_uid) == (CaseState.SENT, "1.2.10")
    assert [bench.case(name).state for name in ("npc_oar_gtv", "ln_ctv")] == [CaseState.COMBINED] * 2
    assert combined.members == tuple(
        bench.case(name).case_id for name in bench.catalog.pipelines if name in ("ln_ctv", "npc_oar_gtv")
    )
    details = bench.board.details(bench.case("ln_ctv").case_id)
    assert details is not None
    assert f"part of the structure set of case {combined.case_id}" in [event.detail for event in details.timeline]


def test_rois_of_two_pipelines_are_sent_once_and_the_doubles_are_named(store: Store) -> None:
    bench = Bench(store, combine=True, catalog=catalog("han_oar"))
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)

    (rois,) = sent(bench)
    assert len(rois) == len(set(rois))
    (doubles,) = [reason for reason in bench.case("combined").reasons if "are left out" in reason]
    assert doubles.startswith("42 ROIs of han_oar are left out, npc_oar_gtv has them: Cochlea_L, ")
    assert "A_Aorta" not in doubles
    assert "A_Aorta" in rois
    assert doubles in bench.writer.written[-1].notes


def test_what_goes_beside_a_part_of_a_doubtful_set_waits_with_it(store: Store) -> None:
    voxels = replace(LOOPBACK, segmentations=True)
    bench = Bench(store, destinations=(voxels,), combine=True, hold_doubtful=HoldFrom.CHECK)
    bench.writer.segmentation = True
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)
    combined = bench.case("combined")
    assert combined.held_for
    assert bench.sender.sent == []

    operate = Operations(store, bench.clock, bench.destinations)
    operate.release(combined.case_id, by="Ann", reason="looked at", seen=combined.held_for)
    bench.work_for(60)

    # The set itself and its voxels, and the voxels of its two parts.
    assert len(bench.sender.sent) == 4


def test_it_waits_for_the_partner_and_then_says_what_is_missing(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(WAIT_S / 2)
    assert bench.case("ln_ctv").state is CaseState.CONTOURED
    assert sent(bench) == []

    bench.work_for(WAIT_S)

    (rois,) = sent(bench)
    assert len(rois) == 6
    reason = bench.case("combined").reasons[0]
    assert reason.startswith("npc_oar_gtv is missing: refused (no series for the role contrast_ct arrived")
    assert reason in bench.writer.written[-1].notes


def test_a_member_that_never_ends_is_not_waited_for_beyond_the_sites_time(bench: Bench) -> None:
    bench.receive([*plain_ct(), *plain_ct(uid="1.2.11"), *contrast_ct()])
    bench.work_for(20)
    bench.assignment.assign(bench.case("ln_ctv").case_id, {"planning_ct": "1.2.10"}, by="ana")
    bench.work_for(WAIT_S)
    assert sent(bench) == []

    bench.work_for(WAIT_S * 2)

    (rois,) = sent(bench)
    assert len(rois) == 6
    assert bench.case("combined").reasons[0].startswith("npc_oar_gtv is missing: ambiguous")


def test_a_member_that_comes_later_makes_the_next_generation(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(WAIT_S * 2)
    first = bench.case("combined")

    bench.receive(contrast_ct())
    bench.work_for(60)

    second = bench.case("combined")
    assert (second.predecessor, second.generation, second.state) == (first.case_id, 2, CaseState.SENT)
    assert [len(rois) for rois in sent(bench)] == [6, 53]
    last = bench.writer.written[-1]
    assert last.predecessor_sop_instance_uid
    assert last.uid_seed == second.uid_seed


def test_a_late_slice_makes_members_and_the_combined_set_anew(bench: Bench) -> None:
    images = plain_ct(51)
    bench.receive([*images[:-1], *contrast_ct()])
    bench.work_for(60)
    bench.receive(images[-1:])
    bench.work_for(60)

    assert [len(rois) for rois in sent(bench)] == [53, 53]
    assert bench.case("combined").generation == 2
    assert len(bench.case("combined").inputs["planning_ct"].sop_instance_uids) == 51


def test_a_failed_member_is_named(bench: Bench) -> None:
    bench.engine.failures = [NetworkMismatchError("another network is loaded")]
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)

    assert len(sent(bench)) == 1
    assert "is missing: failed (another network is loaded)" in bench.case("combined").reasons[0]


def test_the_combined_case_can_be_made_anew_by_hand_from_the_same_answers(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)
    calls = list(bench.engine.calls)

    Operations(bench.store, bench.clock, bench.destinations).supersede(bench.case("combined").case_id, by="ana")
    bench.work_for(20)

    assert bench.engine.calls == calls
    assert bench.case("combined").state is CaseState.SENT


def test_combining_is_taken_up_again_after_a_loss_of_the_job(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.COMBINE_STUDY)
    bench.store.query("DELETE FROM procrastinate_jobs WHERE task_name = 'combine_study' RETURNING id")

    with bench.store.transaction() as tx:
        missing = [job.kind for job in tx.jobs_missing()]

    assert JobKind.COMBINE_STUDY in missing
