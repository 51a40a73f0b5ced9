"""Looking at dependencies never hangs, never piles up, and says what to do."""

from __future__ import annotations

import time
from threading import Event

import pytest

from npc_contour.application.checks import Check, Checkup, is_ready
from npc_contour.errors import StoreError


def fails() -> str:
    raise StoreError("no answer from PostgreSQL")


def breaks() -> str:
    raise KeyError("surprise")


def test_results_keep_the_order_and_carry_the_remedy_only_when_needed() -> None:
    checks = [Check("a", lambda: "fine", "never shown"), Check("b", fails, "restart it", required=False)]
    with Checkup(checks) as checkup:
        first, second = checkup.run()

    assert (first.name, first.ok, first.detail, first.remedy) == ("a", True, "fine", "")
    assert (second.name, second.ok, second.detail, second.remedy) == (
        "b",
        False,
        "no answer from PostgreSQL",
        "restart it",
    )
    assert is_ready([first, second])


def test_something_required_decides() -> None:
    with Checkup([Check("b", fails, "restart it")]) as checkup:
        assert not is_ready(checkup.run())


def test_checks_run_side_by_side() -> None:
    def slow() -> str:
        time.sleep(0.2)
        return "fine"

    started = time.monotonic()
    with Checkup([Check(str(n), slow, "") for n in range(8)]) as checkup:
        results = checkup.run()

    assert all(result.ok for result in results)
    assert time.monotonic() - started < 1.0


def test_hanging_check_costs_the_deadline_and_is_not_started_twice() -> None:
    release = Event()
    calls: list[int] = []

    def hangs() -> str:
        calls.append(1)
        release.wait(5)
        return "late"

    with Checkup([Check("a", hangs, "look"), Check("b", lambda: "fine", "")], deadline_s=0.1, keep_s=0.0) as checkup:
        hanging, fine = checkup.run()
        checkup.run()
        release.set()
        time.sleep(0.1)
        recovered, _ = checkup.run()

    assert not hanging.ok
    assert hanging.detail.startswith("no answer for 0.")
    assert fine.ok
    assert recovered.ok
    assert len(calls) == 1


def test_results_are_kept_for_a_moment() -> None:
    calls: list[int] = []

    def counts() -> str:
        calls.append(1)
        return "fine"

    with Checkup([Check("a", counts, "")], keep_s=60.0) as checkup:
        checkup.run()
        checkup.run()

    assert len(calls) == 1


def test_broken_check_is_not_ok_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with Checkup([Check("a", breaks, "tell us")]) as checkup:
        (result,) = checkup.run()

    assert not result.ok
    assert result.detail == "KeyError: 'surprise'"
    assert [record.message for record in caplog.records] == ["check.broken"]
