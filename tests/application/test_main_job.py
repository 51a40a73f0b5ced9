"""From images to a sent structure set, whatever is late, missing, down or killed: nothing is lost, nothing done twice."""

from __future__ import annotations

import pytest

from npc_contour.adapters.store.database import PgStore
from npc_contour.application.records import Ending, JobKind
from npc_contour.domain.jobs import CaseState
from npc_testkit.bench import Bench, contrast_ct, plain_ct


@pytest.fixture
def bench(store: PgStore) -> Bench:
    return Bench(store)


def test_a_pair_becomes_two_structure_sets_at_the_destination(bench: Bench) -> None:
    bench.receive([*plain_ct(), *contrast_ct()])
    bench.work_for(15)
    assert {case.pipeline: case.state for case in bench.cases("ln_ctv") + bench.cases("npc_oar_gtv")} == {
        "ln_ctv": CaseState.SENT,
        "npc_oar_gtv": CaseState.SENT,
    }
    assert len(bench.sender.sent) == 2
    assert sorted(bench.engine.calls) == [("ln_ctv", 1), ("npc_gtv", 2), ("npc_oar", 2)]
