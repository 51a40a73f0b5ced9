"""The networks are tried on a phantom at night, after every case; what came of it is kept, told and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from npc_contour.app.self_test import self_test_check
from npc_contour.application.self_testing import NetworkScore, TryNetworks, next_due
from npc_contour.application.steps import Postponed
from npc_contour.application.upkeep import ALL
from npc_contour.domain.work import JobKind
from npc_contour.errors import InferenceError
from npc_contour.settings import SelfTest, Settings
from npc_contour.store.database import Store
from npc_testkit.bench import Bench

GOOD = (NetworkScore("npc_oar", 0.81, works=True), NetworkScore("han_oar", None, works=True))
WORSE = (*GOOD, NetworkScore("ln_ctv", 0.2, works=False))
NIGHT = SelfTest(every_h=24, at="02:30")


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


class Test:
    """A test of the networks that says what it is told to."""

    __test__ = False

    def __init__(self, bench: Bench, rules: SelfTest = NIGHT) -> None:
        self.scores: tuple[NetworkScore, ...] | None = GOOD
        self.runs = 0
        self.job = TryNetworks(bench.store, bench.clock, self, rules, 1)

    def __call__(self) -> tuple[NetworkScore, ...]:
        self.runs += 1
        if self.scores is None:
            raise InferenceError("Triton does not answer")
        return self.scores


def readiness(bench: Bench) -> str:
    return self_test_check(bench.store, Settings()).probe()


def events(bench: Bench) -> list[tuple[str, str]]:
    return [(row["name"], row["detail"]) for row in bench.store.query("SELECT * FROM event ORDER BY id")]


def test_a_good_night_is_kept_told_and_counted(bench: Bench) -> None:
    assert readiness(bench) == "has not run yet: the first is at 02:30"
    Test(bench).job.run(ALL)

    assert events(bench) == [("self_test.passed", "mean Dice: npc_oar 0.81")]
    assert readiness(bench).endswith(": mean Dice: npc_oar 0.81")
    assert bench.board.counts().self_test_dice == {"npc_oar": 0.81}


def test_a_network_that_got_worse_turns_readiness_red_until_a_test_is_good_again(bench: Bench) -> None:
    test = Test(bench)
    test.scores = WORSE
    test.job.run(ALL)

    assert events(bench)[-1][0] == "self_test.failed"
    with pytest.raises(InferenceError, match="ln_ctv does not contour a phantom any more"):
        readiness(bench)
    bench.clock.forward(1)
    test.scores = GOOD
    test.job.run(ALL)
    assert "npc_oar" in readiness(bench)


def test_a_kept_case_that_falls_is_told_by_roi(bench: Bench) -> None:
    test = Test(bench)
    test.scores = (*GOOD, NetworkScore("case1: own", 0.7, False, "Brainstem Dice 0.700, at least 0.98 was kept"))  # noqa: FBT003
    test.job.run(ALL)

    name, detail = events(bench)[-1]
    assert name == "self_test.failed"
    assert detail.startswith("case1: own: Brainstem Dice 0.700, at least 0.98 was kept; mean Dice: ")
    assert "phantom any more" not in detail


def test_a_triton_that_does_not_answer_is_a_failed_test_and_keeps_the_last_figures(bench: Bench) -> None:
    test = Test(bench)
    test.job.run(ALL)
    bench.clock.forward(1)
    test.scores = None
    test.job.run(ALL)

    assert events(bench)[-1] == ("self_test.failed", "Triton does not answer")
    assert bench.board.counts().self_test_dice == {"npc_oar": 0.81}


def test_a_case_in_the_networks_goes_first(bench: Bench) -> None:
    test = Test(bench)
    with bench.store.slot(1) as free:
        assert free
        with pytest.raises(Postponed):
            test.job.run(ALL)

    assert test.runs == 0
    (job,) = bench.store.query("SELECT task_name, scheduled_at FROM procrastinate_jobs WHERE status = 'todo'")
    assert job["task_name"] == JobKind.SELF_TEST
    assert job["scheduled_at"] > bench.clock.now()


def test_settings_turn_it_off(bench: Bench) -> None:
    test = Test(bench, SelfTest(every_h=0))
    test.job.run(ALL)
    assert (test.runs, events(bench)) == (0, [])


@pytest.mark.parametrize(
    ("now", "last", "every_h", "due"),
    [
        ("2026-03-02 01:00", None, 24, "2026-03-02 02:30"),
        ("2026-03-02 02:30", None, 24, "2026-03-03 02:30"),
        ("2026-03-02 04:00", "2026-03-02 03:10", 24, "2026-03-03 02:30"),
        ("2026-03-02 04:00", "2026-03-02 03:10", 72, "2026-03-05 02:30"),
        ("2026-03-02 04:00", "2026-03-02 02:40", 6, "2026-03-02 08:30"),
        ("2026-03-09 01:00", "2026-03-02 02:40", 24, "2026-03-09 02:30"),
    ],
)
def test_it_runs_at_its_time_of_day(now: str, last: str | None, every_h: float, due: str) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    rules = SelfTest(every_h=every_h, at="02:30")
    found = next_due(at(now), None if last is None else at(last), rules)
    assert found == at(due)
    # The worker asks again and again: the answer stays until that time has come.
    assert next_due(found - timedelta(seconds=1), None if last is None else at(last), rules) == found
