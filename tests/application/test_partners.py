"""What a pair lacks is asked of the PACS, fetched like any other series, and makes the pair; nothing comes twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from npc_contour.application.partners import FindPartner
from npc_contour.application.pulling import FetchSeries, PullTools
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.work import JobKind
from npc_contour.store.database import Store
from npc_testkit.bench import STUDY, WAIT_S, Bench, contrast_ct, plain_ct
from npc_testkit.header_archive import HeaderArchive, NoKeeper


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


@pytest.fixture
def archive(bench: Bench) -> HeaderArchive:
    dose = [replace(contrast_ct()[0], series_instance_uid="1.2.77", modality="SR")]
    archive = HeaderArchive(bench.intake, [plain_ct(), contrast_ct(), dose])
    tools = PullTools(
        store=bench.store,
        clock=bench.clock,
        intake=bench.intake,
        keeper=NoKeeper(),
        archives={"pacs": archive},
        ae_titles={"pacs": "PACS"},
        our_ae_title="NPC_CONTOUR",
    )
    bench.more[JobKind.FIND_PARTNER] = FindPartner(tools, bench.catalog, ["pacs"]).run
    bench.more[JobKind.FETCH_SERIES] = FetchSeries(tools).run
    bench.steps = bench.new_steps()
    return archive


def told(bench: Bench) -> list[str]:
    rows = bench.store.query("SELECT detail FROM event WHERE name = 'partner.sought' ORDER BY id")
    return [row["detail"] for row in rows]


def test_the_partner_is_fetched_and_the_pair_runs_long_before_the_wait_is_over(
    bench: Bench, archive: HeaderArchive
) -> None:
    bench.receive(plain_ct())
    bench.work_for(WAIT_S * 0.9)

    assert archive.fetched == ["1.2.20"]
    assert (archive.queries[0].study_instance_uid, archive.queries[0].patient_id) == (STUDY, "TK0001")
    assert bench.case("npc_oar_gtv").state is CaseState.SENT
    assert told(bench) == ["pacs has 3 series of the study, fetched from it: 'HEAD NECK C+' (50 images)"]


def test_what_is_here_already_is_not_fetched(bench: Bench, archive: HeaderArchive) -> None:
    archive.series = [plain_ct()]
    bench.receive(plain_ct())
    bench.work_for(WAIT_S * 0.9)

    assert archive.fetched == []
    assert told(bench) == ["pacs has 1 series of the study, none that is looked for and not here"]
    assert bench.case("npc_oar_gtv").state is CaseState.WAITING


def test_a_complete_pair_asks_nobody(bench: Bench, archive: HeaderArchive) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(20)

    assert archive.queries == []


def test_a_silent_pacs_is_asked_again_and_said(bench: Bench, archive: HeaderArchive) -> None:
    archive.down = True
    bench.receive(plain_ct())
    bench.work_for(20)
    assert told(bench)[0] == "pacs did not answer: the PACS does not answer"

    archive.down = False
    bench.work_for(WAIT_S * 0.7)

    assert archive.fetched == ["1.2.20"]
    assert bench.case("npc_oar_gtv").state is CaseState.SENT


def test_before_a_person_is_asked_for_want_of_evidence_the_pacs_is_asked_once_more(
    bench: Bench, archive: HeaderArchive
) -> None:
    nameless = [
        replace(header, series_description="", contrast_bolus_agent="") for header in [*plain_ct(), *contrast_ct()]
    ]
    archive.series = []
    bench.receive(nameless)
    bench.work_for(WAIT_S * 0.9)
    assert bench.case("npc_oar_gtv").state is CaseState.WAITING
    assert len(archive.queries) == 1

    bench.work_for(WAIT_S * 2)

    assert bench.case("npc_oar_gtv").state is CaseState.AMBIGUOUS
    assert bench.case("npc_oar_gtv").waiting_for == ("contrast_ct",)
    assert len(archive.queries) == 2
