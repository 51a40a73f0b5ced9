"""The time is the database's, goes on evenly, and what waits moves with it when somebody sets it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.clocks import clock_check
from npc_contour.application.intake import Intake
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.errors import ClockOffError
from npc_contour.settings import Completion
from npc_contour.store.clock import DatabaseClock
from npc_contour.store.database import Store
from npc_testkit.bench import plain_ct
from npc_testkit.postgres import SkewedClock

HOUR_S = 3600.0
QUIET = Completion(quiet_released_s=10)


@pytest.fixture
def skew(database_url: str) -> SkewedClock:
    return SkewedClock(database_url)


@pytest.fixture
def clocks(database_url: str) -> Iterator[tuple[DatabaseClock, DatabaseClock]]:
    pair = DatabaseClock(database_url, fresh_s=0.0), DatabaseClock(database_url, fresh_s=0.0)
    yield pair
    for clock in pair:
        clock.close()


def received(store: Store, clock: DatabaseClock) -> None:
    intake = Intake(store, clock, QUIET)
    row = AssociationRow("a", "receiver-0", "CT", "US", "127.0.0.1")
    for header in plain_ct(5):
        intake.keep(header, header.key, row)
    intake.association_ended("a", Ending.RELEASED)


def waits(store: Store, now: datetime) -> list[timedelta]:
    """How long ago the last image came, and when the series is looked at."""
    (series,) = store.query("SELECT last_instance_at AS at FROM series")
    (job,) = store.query("SELECT scheduled_at AS at FROM procrastinate_jobs")
    (ending,) = store.query("SELECT ended_at AS at FROM association")
    return [now - series["at"], now - ending["at"], job["at"] - now]


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_is_set_moves_what_waits_once(
    database_url: str, skew: SkewedClock, clocks: tuple[DatabaseClock, DatabaseClock], step_s: float
) -> None:
    with Store(database_url, defer) as store:
        before = [clock.now() for clock in clocks]
        received(store, clocks[0])
        skew.set(step_s)
        after = [clock.now() for clock in clocks]
        since_image, since_end, until_job = waits(store, after[1])

        assert after[0] - before[0] == pytest.approx(timedelta(seconds=step_s), abs=timedelta(seconds=30))
        assert timedelta(0) <= since_end <= since_image < timedelta(seconds=30)
        assert timedelta(seconds=-20) < until_job < timedelta(seconds=11)
        assert len(store.query("SELECT FROM event WHERE name = 'clock.stepped'")) == 1
        with pytest.raises(ClockOffError, match="the database's clock was set by"):
            clock_check(store).probe()


def test_a_clock_that_was_set_back_while_nobody_looked_is_noticed_at_the_start(
    database_url: str, skew: SkewedClock, clocks: tuple[DatabaseClock, DatabaseClock]
) -> None:
    with Store(database_url, defer) as store:
        received(store, clocks[0])
        skew.set(-HOUR_S)
        since_image, since_end, until_job = waits(store, clocks[1].now())
        assert timedelta(seconds=-5) < min(since_image, since_end)
        assert until_job < timedelta(seconds=15)


def test_while_a_row_is_held_the_time_goes_on_as_before(
    database_url: str, skew: SkewedClock, clocks: tuple[DatabaseClock, DatabaseClock]
) -> None:
    with Store(database_url, defer) as store:
        received(store, clocks[0])
        before = clocks[0].now()
        skew.set(HOUR_S)
        with store.transaction() as tx:
            tx.series("1.2.10", lock=True)
            assert clocks[0].now() - before < timedelta(seconds=60)
        assert clocks[0].now() - before > timedelta(seconds=HOUR_S - 60)


def test_a_machine_s_own_clock_is_noted_and_shown_and_decides_nothing(database_url: str) -> None:
    with Store(database_url, defer) as store:
        true = store.clock.now()
        clock = DatabaseClock(database_url, "worker", wall_s=lambda: true.timestamp() + HOUR_S)
        assert clock.now() - true < timedelta(seconds=60)
        clock.close()
        with pytest.raises(ClockOffError, match=r"the clock of worker on .* is 3\d\d\d\.\d s ahead of the database's"):
            clock_check(store).probe()
