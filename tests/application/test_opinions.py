"""Networks of several pipelines that saw one planning CT are compared, whether their results are combined or not."""

from __future__ import annotations

import json
from typing import Any

from npc_contour.domain.findings import FindingCode
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, catalog, contrast_ct, plain_ct


def opinions(bench: Bench, pipeline: str) -> list[dict[str, Any]]:
    """What is told of disagreement in the structure set of a case."""
    case_id = bench.case(pipeline).case_id
    report = json.loads(bench.spool.read(bench.spool.artefact_key(case_id, "report.json")))
    return [one for one in report["findings"] if one["code"] == FindingCode.DISAGREEMENT]


def test_members_of_a_combined_case_are_compared(store: Store) -> None:
    """The bench's networks draw a block for each label, and number the structures differently."""
    bench = Bench(store, combine=True, catalog=catalog("han_oar"))
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)

    told = {one["structure"]: one["sentence"] for one in opinions(bench, "combined")}
    assert "npc_oar and han_oar draw it" in told["Parotid_L"]
    assert not any(name.startswith(("CTV", "GTV")) for name in told)


def test_the_later_of_two_cases_is_compared_with_the_earlier(store: Store) -> None:
    bench = Bench(store, catalog=catalog("han_oar"))
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)

    told = [opinions(bench, name) for name in ("npc_oar_gtv", "han_oar")]
    assert [one["structure"] for found in told for one in found if one["structure"] == "Parotid_L"]


def test_a_study_with_one_pipeline_has_no_second_opinion(store: Store) -> None:
    bench = Bench(store)
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(60)

    assert opinions(bench, "npc_oar_gtv") == opinions(bench, "ln_ctv") == []
