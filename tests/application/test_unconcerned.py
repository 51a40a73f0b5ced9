"""A pipeline that a study does not concern makes no case where another one takes it, and is named in its timeline.

What was meant for a pipeline and cannot be used is refused in the open, and so is a study that nobody takes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from npc_contour.core.roles import Candidate
from npc_contour.core.routing import route
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.store.database import Store
from npc_contour.store.work_board import WorkBoard
from npc_testkit.bench import STUDY, WAIT_S, Bench, catalog, contrast_ct, plain_ct
from npc_testkit.ct_headers import ct_headers

ALL = ("han_oar", "mediastinal_ln", "npc_mr_gtv")


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store, catalog=catalog(*ALL))


def states(bench: Bench) -> dict[str, CaseState]:
    rows = bench.store.query("SELECT pipeline, state FROM contour_case WHERE state <> 'superseded'")
    return {row["pipeline"]: CaseState(row["state"]) for row in rows}


def told(bench: Bench) -> list[str]:
    details = WorkBoard(bench.store).study(STUDY)
    assert details is not None
    return [event.detail for event in details.timeline if event.event == "pipelines.unconcerned"]


def neck(headers: list[InstanceHeader]) -> list[InstanceHeader]:
    return [replace(header, body_part="NECK") for header in headers]


def scout() -> list[InstanceHeader]:
    """A CT of a region that no pipeline takes."""
    return [replace(header, body_part="KNEE", series_description="KNEE") for header in plain_ct(50, uid="1.2.5")]


def test_an_ordinary_pair_makes_cases_of_its_own_pipelines_only(bench: Bench) -> None:
    bench.receive(neck([*plain_ct(), *contrast_ct()]))
    bench.work_for(WAIT_S * 2)

    assert states(bench) == dict.fromkeys(("npc_oar_gtv", "ln_ctv", "han_oar"), CaseState.SENT)
    assert len(bench.store.query("SELECT id FROM contour_case")) == 3
    (line,) = told(bench)
    assert "mediastinal_ln needs contrast_ct: a contrast-enhanced CT series" in line
    assert "npc_mr_gtv needs t1c: a contrast-enhanced T1 MR series" in line


def test_a_study_that_nobody_takes_is_refused_in_the_open(bench: Bench) -> None:
    bench.receive(scout())
    bench.work_for(WAIT_S * 2)

    assert set(states(bench).values()) == {CaseState.REFUSED}
    assert told(bench) == []


def test_what_was_refused_before_anything_came_is_withdrawn(bench: Bench) -> None:
    bench.receive(scout())
    bench.work_for(WAIT_S * 2)
    bench.receive(neck([*plain_ct(), *contrast_ct()]))
    bench.work_for(WAIT_S * 2)

    assert states(bench) == dict.fromkeys(("npc_oar_gtv", "ln_ctv", "han_oar"), CaseState.SENT)
    assert len(told(bench)) == 1


def test_what_waits_while_other_series_arrive_is_withdrawn(bench: Bench) -> None:
    pair = neck([*plain_ct(), *contrast_ct()])
    bench.receive(pair[:60], ending=None)
    bench.receive(scout())
    bench.work_for(12, step_s=1)
    assert set(states(bench).values()) == {CaseState.WAITING}
    assert len(states(bench)) == 5

    bench.receive(pair[60:])
    bench.work_for(WAIT_S * 3)

    assert states(bench) == dict.fromkeys(("npc_oar_gtv", "ln_ctv", "han_oar"), CaseState.SENT)


def test_half_a_pair_waits_without_cases_of_other_regions(bench: Bench) -> None:
    bench.receive(neck(plain_ct()))
    bench.work_for(WAIT_S / 2)

    assert "mediastinal_ln" not in states(bench)
    assert states(bench)["npc_oar_gtv"] is CaseState.WAITING

    bench.work_for(WAIT_S)
    assert states(bench) == {
        "npc_oar_gtv": CaseState.REFUSED,
        "ln_ctv": CaseState.SENT,
        "han_oar": CaseState.SENT,
    }


def test_what_is_meant_and_cannot_be_used_is_refused_in_the_open(bench: Bench) -> None:
    chest = [
        replace(header, body_part="CHEST", rows=64, columns=480, study_instance_uid=STUDY)
        for header in ct_headers(60, gap_mm=9.0, uid="1.2.30", contrast_bolus_agent="IOHEXOL")
    ]
    bench.receive([*neck(plain_ct()), *chest])
    bench.work_for(WAIT_S * 2)

    refused = bench.case("mediastinal_ln")
    assert refused.state is CaseState.REFUSED
    assert any("slices are 9.00 mm apart" in reason for reason in refused.reasons)


def test_a_person_may_ask_for_a_pipeline_that_made_no_case(bench: Bench) -> None:
    bench.receive(neck([*plain_ct(), *contrast_ct()]))
    bench.work_for(WAIT_S)
    case = bench.case("ln_ctv")

    said = bench.assignment.assign(case.case_id, {"contrast_ct": "1.2.20"}, by="ana", pipeline="mediastinal_ln")
    bench.work_for(20)

    assert said == f"case {case.case_id}: for mediastinal_ln: contrast_ct is 1.2.20"
    assert bench.case("mediastinal_ln").state is CaseState.SENT
    assert bench.case("ln_ctv").case_id == case.case_id


def test_the_router_says_which_pipelines_a_study_concerns(bench: Bench) -> None:
    pipelines = tuple(bench.catalog.pipelines.values())
    answers = route([Candidate(Series(tuple(neck(plain_ct()))))], pipelines)

    assert {answer.pipeline for answer in answers if answer.concerned} == {"npc_oar_gtv", "ln_ctv", "han_oar"}
