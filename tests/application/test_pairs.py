"""A pair that the evidence does not settle waits for a person, whose word holds; every verdict is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from npc_contour.core.evidence import STRONG, ContrastEvidence
from npc_contour.domain.cases import CaseRecord
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.pipelines import Contrast
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.status import Part
from npc_contour.errors import CaseRefused, NoSuchRowError, OperationRefused
from npc_contour.store.database import Store
from npc_testkit.bench import STUDY, WAIT_S, Bench, contrast_ct, plain_ct
from npc_testkit.ct_headers import ct_header

REG = "1.2.840.10008.5.1.4.1.1.66.1"
MOVE = RigidMove("9.2", "1.2.9", ((1, 0, 0, 4.0), (0, 1, 0, 0.0), (0, 0, 1, -6.0), (0, 0, 0, 1)), ("1.2.66.1",))


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def two_plain() -> list[InstanceHeader]:
    return [*plain_ct(), *plain_ct(uid="1.2.11"), *contrast_ct()]


def unnamed() -> list[InstanceHeader]:
    """Two series of which no header says what they are."""
    named = [*plain_ct(), *contrast_ct()]
    return [
        replace(header, series_description="", contrast_bolus_agent="?" if ".20." in header.key else "X")
        for header in named
    ]


def registration() -> InstanceHeader:
    return ct_header(
        sop_class_uid=REG, sop_instance_uid="1.2.66.1", series_instance_uid="1.2.66", modality="REG",
        study_instance_uid=STUDY, rows=0, columns=0, position_lps_mm=None, pixel_spacing_mm=None, orientation=None,
    )  # fmt: skip


def test_two_candidates_wait_for_a_person_for_ever(bench: Bench) -> None:
    bench.receive(two_plain())
    bench.work_for(WAIT_S * 3)

    case = bench.case("npc_oar_gtv")
    assert case.state is CaseState.AMBIGUOUS
    assert {choice["planning_ct"] for choice in case.choices} == {"1.2.10", "1.2.11"}
    assert "a person must say which" in case.reasons[0]
    details = bench.board.details(case.case_id)
    assert details is not None
    assert "case.ambiguous" in [event.event for event in details.timeline]
    assert details.job.reason == "; ".join(case.reasons)


def test_where_only_weak_evidence_speaks_a_partner_is_waited_for_before_a_person_is_asked(bench: Bench) -> None:
    bench.receive([replace(header, series_description="", contrast_bolus_agent="") for header in unnamed()])
    bench.work_for(WAIT_S / 2)
    assert bench.case("npc_oar_gtv").state is CaseState.WAITING

    bench.work_for(WAIT_S)
    bench.receive([registration()])
    bench.work_for(WAIT_S)

    case = bench.case("npc_oar_gtv")
    assert case.state is CaseState.AMBIGUOUS
    assert len(case.choices) == 2
    assert any("only weak evidence tells" in reason for reason in case.reasons)


def test_a_persons_word_makes_the_case_run_and_is_told(bench: Bench) -> None:
    bench.receive(two_plain())
    bench.work_for(20)
    case = bench.case("npc_oar_gtv")

    said = bench.assignment.assign(case.case_id, {"planning_ct": "11"}, by="ana")
    bench.work_for(20)

    assert said == f"case {case.case_id}: planning_ct is 1.2.11"
    done = bench.case("npc_oar_gtv")
    assert (done.case_id, done.state) == (case.case_id, CaseState.SENT)
    assert done.inputs["planning_ct"].series_instance_uid == "1.2.11"
    assert any("assigned by a person" in reason for reason in done.reasons)
    details = bench.board.details(done.case_id)
    assert details is not None
    assert [event.detail for event in details.timeline if event.event == "case.assigned"] == [
        "by ana: planning_ct is 1.2.11"
    ]


def test_the_word_holds_when_slices_come_later(bench: Bench) -> None:
    late = plain_ct(51, uid="1.2.11")
    bench.receive([*plain_ct(), *late[:-1], *contrast_ct()])
    bench.work_for(20)
    bench.assignment.assign(bench.case("npc_oar_gtv").case_id, {"planning_ct": "1.2.11"}, by="ana")
    bench.work_for(20)
    bench.receive(late[-1:])
    bench.work_for(20)

    case = bench.case("npc_oar_gtv")
    assert (case.state, case.generation) == (CaseState.SENT, 2)
    assert len(case.inputs["planning_ct"].sop_instance_uids) == 51


def test_a_person_may_correct_what_was_sent(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(20)
    first = bench.case("npc_oar_gtv")

    bench.assignment.assign(first.case_id, {"planning_ct": "1.2.20", "contrast_ct": "1.2.10"}, by="ana")
    bench.work_for(20)

    second = bench.case("npc_oar_gtv")
    assert (second.predecessor, second.state) == (first.case_id, CaseState.SENT)
    assert second.inputs["planning_ct"].series_instance_uid == "1.2.20"


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ({"planning_ct": "1.2.10", "contrast_ct": "1.2.10"}, "one series cannot fill two roles"),
        ({"planning_ct": "7.7.7"}, "no series of the study ends in '7.7.7'"),
        ({"planning_ct": "1"}, "2 series"),
        ({"bone_ct": "1.2.10"}, "no role 'bone_ct', it has"),
        ({}, "say at least one role"),
    ],
)
def test_what_cannot_be_is_refused_in_words(bench: Bench, roles: dict[str, str], problem: str) -> None:
    bench.receive([*plain_ct(uid="1.2.10.1"), *plain_ct(uid="1.2.11.1"), *plain_ct(uid="1.2.10"), *contrast_ct()])
    bench.work_for(20)

    with pytest.raises((NoSuchRowError, OperationRefused), match=problem):
        bench.assignment.assign(bench.case("npc_oar_gtv").case_id, roles, by="ana")


def live(bench: Bench) -> dict[CaseState, CaseRecord]:
    return {case.state: case for case in bench.cases("npc_oar_gtv") if case.state is not CaseState.SUPERSEDED}


def test_a_second_scan_that_comes_later_asks_a_person_and_disturbs_nothing(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(20)
    bench.receive(plain_ct(uid="1.2.11"))
    bench.work_for(20)

    assert set(live(bench)) == {CaseState.SENT, CaseState.AMBIGUOUS}
    first, asked = live(bench)[CaseState.SENT], live(bench)[CaseState.AMBIGUOUS]
    assert first.case_id in asked.reasons[0]
    assert {choice["planning_ct"] for choice in asked.choices} == {"1.2.10", "1.2.11"}

    bench.assignment.assign(asked.case_id, {"planning_ct": "1.2.10"}, by="ana")
    bench.work_for(20)
    assert live(bench) == {CaseState.SENT: first}

    bench.receive(plain_ct(uid="1.2.12"))
    bench.work_for(20)
    again = live(bench)[CaseState.AMBIGUOUS]
    assert {choice["planning_ct"] for choice in again.choices} == {"1.2.10", "1.2.11", "1.2.12"}
    bench.assignment.assign(again.case_id, {"planning_ct": "1.2.12"}, by="ana")
    bench.work_for(20)
    second = live(bench)
    assert set(second) == {CaseState.SENT}
    assert (second[CaseState.SENT].case_id, second[CaseState.SENT].predecessor) == (again.case_id, first.case_id)


def test_a_scan_of_another_frame_is_asked_about_whatever_became_of_the_first(bench: Bench) -> None:
    bench.engine.failures += [CaseRefused("no voxels")] * 2
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(20)
    assert set(live(bench)) == {CaseState.REFUSED}
    both = [*plain_ct(uid="1.2.11"), *contrast_ct(uid="1.2.21")]
    bench.receive([replace(header, frame_of_reference_uid="1.2.88") for header in both])
    bench.work_for(20)

    assert set(live(bench)) == {CaseState.REFUSED, CaseState.AMBIGUOUS}
    assert len(live(bench)[CaseState.AMBIGUOUS].choices) == 2


def test_the_other_half_of_a_scan_under_another_uid_is_asked_about(bench: Bench) -> None:
    whole = plain_ct(60)
    bench.receive(whole[:45])
    bench.work_for(WAIT_S * 2)
    assert [case.state for case in bench.cases("ln_ctv")] == [CaseState.SENT]
    tail = [replace(h, series_instance_uid="1.2.13", sop_instance_uid=f"1.2.13.{n}") for n, h in enumerate(whole[45:])]
    bench.receive(tail)
    bench.work_for(20)

    asked = bench.cases("ln_ctv")[-1]
    assert asked.state is CaseState.AMBIGUOUS
    assert any("look like two parts of one scan" in reason for reason in asked.reasons)


def test_vessels_are_looked_at_once_and_only_where_headers_do_not_tell(bench: Bench) -> None:
    bench.looker.seen = {
        "1.2.10": ContrastEvidence(Contrast.ABSENT, STRONG, "0.4 cc as vessels"),
        "1.2.20": ContrastEvidence(Contrast.PRESENT, STRONG, "44 cc as vessels"),
    }
    nameless = [replace(header, series_description="", contrast_bolus_agent="") for header in unnamed()]
    bench.receive(nameless)
    bench.work_for(20)

    case = bench.case("npc_oar_gtv")
    assert (case.state, case.inputs["contrast_ct"].series_instance_uid) == (CaseState.SENT, "1.2.20")
    assert sorted(bench.looker.looks) == ["1.2.10", "1.2.20"]
    assert any("44 cc as vessels" in reason for verdict in case.verdicts for reason in verdict.reasons)


def test_a_named_pair_is_not_looked_at(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(20)

    assert bench.looker.looks == []


def test_a_registration_that_comes_late_links_the_frames(bench: Bench) -> None:
    other = [replace(header, frame_of_reference_uid="9.2") for header in contrast_ct()]
    bench.registrations.moves = {"1.2.66.1": (MOVE,)}
    bench.receive([*plain_ct(), *other])
    bench.work_for(20)
    waiting = bench.case("npc_oar_gtv")
    assert waiting.state is CaseState.WAITING
    assert any("no Spatial Registration of the study links them" in reason for reason in waiting.reasons)

    bench.receive([registration()])
    bench.work_for(20)

    assert {row.modality: row.state for row in bench.board.series(Part(limit=9))}["REG"] is SeriesState.ASIDE
    case = bench.case("npc_oar_gtv")
    assert case.state is CaseState.SENT
    assert case.inputs["contrast_ct"].move == MOVE
    assert case.inputs["planning_ct"].move is None
    assert any("by registration 1.2.66.1" in reason for reason in case.reasons)


def test_what_runs_alone_after_the_wait_says_so(bench: Bench) -> None:
    bench.receive(contrast_ct())
    bench.work_for(WAIT_S + 20)

    case = bench.case("ln_ctv")
    assert case.state is CaseState.SENT
    assert case.reasons[0] == f"no better series for planning_ct arrived within {WAIT_S:g} s: run on what is there"
    assert case.reasons[0] in bench.writer.written[0].notes


def test_every_verdict_is_kept_and_shown(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(20)

    details = bench.board.details(bench.case("npc_oar_gtv").case_id)
    assert details is not None
    found = {(v.series_instance_uid, v.role): v.accepted for v in details.verdicts}
    assert found == {
        ("1.2.10", "planning_ct"): True,
        ("1.2.10", "contrast_ct"): False,
        ("1.2.20", "planning_ct"): False,
        ("1.2.20", "contrast_ct"): True,
    }
    assert all(verdict.reasons for verdict in details.verdicts)
