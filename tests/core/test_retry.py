"""Pauses double up to the longest; tries end by their number or by the time since the beginning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from npc_contour.domain.retry import RetryPolicy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_pauses_double_and_stay_at_the_longest_however_many_failures_there_are() -> None:
    policy = RetryPolicy(first_s=5.0, longest_s=60.0)
    assert [policy.pause(n).total_seconds() for n in (1, 2, 3, 4, 5, 10**9)] == [5, 10, 20, 40, 60, 60]
    assert policy.next_try(10**9, NOW, NOW - timedelta(days=900)) == NOW + timedelta(seconds=60)


def test_the_last_try_is_the_one_of_the_policys_number() -> None:
    policy = RetryPolicy(first_s=5.0, longest_s=60.0, tries=3)
    assert policy.next_try(2, NOW) == NOW + timedelta(seconds=10)
    assert policy.next_try(3, NOW) is None


def test_no_try_is_planned_for_later_than_the_time_that_there_is() -> None:
    policy = RetryPolicy(first_s=600.0, longest_s=3600.0, within_h=1.0)
    assert policy.next_try(1, NOW, NOW - timedelta(minutes=50)) == NOW + timedelta(minutes=10)
    assert policy.next_try(1, NOW, NOW - timedelta(minutes=50, seconds=1)) is None
