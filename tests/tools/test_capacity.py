"""The simulation agrees with what queueing theory says of a line, and finds a plant that suffices."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from npc_contour.errors import SettingsError
from npc_tools.capacity.arrivals import SITES, arrivals
from npc_tools.capacity.simulation import (
    DAY_S,
    Plant,
    StepTimes,
    Study,
    disk_bytes,
    exponential,
    lognormal,
    simulate,
    smallest_plant,
)

REAL = StepTimes(
    images_per_s=50, quiet_s=10, segment_s={"a": 60.0, "b": 20.0}, write_s={"a": 2.0, "b": 1.0}, send_s=0.5
)


def erlang_c_wait_s(rate: float, service_s: float, servers: int) -> float:
    """Mean wait of an M/M/c queue: Erlang's C formula."""
    load = rate * service_s
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    waits = last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)
    return waits * service_s / (servers - load)


def only_inference(service_s: float) -> StepTimes:
    return StepTimes(images_per_s=math.inf, quiet_s=0, segment_s={"a": service_s}, write_s={"a": 0.0}, send_s=0)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (3, 0.6), (8, 0.7)])
def test_waits_are_those_of_erlangs_formula(servers: int, load: float) -> None:
    service_s, rate = 60.0, servers * load / 60.0
    came_s = np.cumsum(np.random.default_rng(7).exponential(1 / rate, size=12_000))

    outcome = simulate([Study(at, 1) for at in came_s], only_inference(service_s), Plant(slots=servers), exponential(8))

    assert outcome.waited_s["slots"] == pytest.approx(erlang_c_wait_s(rate, service_s, servers), rel=0.1)
    assert outcome.busy["slots"] == pytest.approx(load, rel=0.03)


def test_each_wait_is_that_of_a_line_before_several_servers() -> None:
    """Kiefer and Wolfowitz: who comes takes the server that is free first."""
    rng = np.random.default_rng(5)
    came_s, service_s = np.cumsum(rng.exponential(10.0, size=400)), rng.exponential(25.0, size=400)
    free_s, done_s = [0.0, 0.0, 0.0], []
    for came, seconds in zip(came_s, service_s, strict=True):
        start = max(came, min(free_s))
        free_s[free_s.index(min(free_s))] = start + seconds
        done_s.append(start + seconds)
    drawn = iter(service_s)

    outcome = simulate(
        [Study(at, 1) for at in came_s],
        only_inference(1.0),
        Plant(receivers=50, slots=3, workers=50),
        lambda mean: float(next(drawn)) if mean else 0.0,
    )

    np.testing.assert_allclose(outcome.done_s, done_s)


def test_one_study_takes_the_sum_of_its_steps() -> None:
    outcome = simulate([Study(5.0, 100)], REAL, Plant(slots=2), lambda mean: mean)

    assert list(outcome.received_s) == [pytest.approx(7.0)]
    # The longer pipeline: 60 s for its networks; the worker is free by then.
    assert outcome.turnaround_s == [pytest.approx(10 + 60 + 2 + 0.5)]


def test_a_line_forms_and_goes() -> None:
    outcome = simulate([Study(0.0, 1)] * 3, only_inference(10.0), Plant(), lambda mean: mean)

    assert outcome.turnaround_s == [10.0, 20.0, 30.0]
    assert max(outcome.queue) == 2
    assert outcome.queue[-1] == 0
    assert outcome.busy["slots"] == 1.0


def test_the_smallest_plant_suffices_and_a_slot_less_does_not() -> None:
    studies = arrivals(SITES["hospital"], days=2, images=300, images_spread=0.3, seed=1)
    new_draw = partial(lognormal, 0.3, 2)
    wanted = {"within_s": 300.0, "part": 0.95}

    found = smallest_plant(studies, REAL, new_draw=new_draw, **wanted)
    fewer = Plant(found.plant.receivers, found.plant.slots - 1, found.plant.workers)

    assert found.quantile_s(0.95) <= 300
    assert found.plant.slots > 1
    assert simulate(studies, REAL, fewer, new_draw()).quantile_s(0.95) > 300
    with pytest.raises(SettingsError, match="alone takes 72 s"):
        smallest_plant(studies, REAL, within_s=30, part=0.95, new_draw=new_draw)


@pytest.mark.parametrize("name", SITES)
def test_a_week_has_as_many_studies_as_the_site_says(name: str) -> None:
    site = SITES[name]
    studies = arrivals(site, days=28, images=300, images_spread=0.3, seed=3)
    working = [study for study in studies if study.at_s // DAY_S % 7 < 5]

    assert len(working) / 20 == pytest.approx(site.per_day, rel=0.12)
    assert len(studies) - len(working) == pytest.approx(8 * site.per_day * site.weekend, rel=0.3)
    assert np.mean([study.images for study in studies]) == pytest.approx(300, rel=0.06)
    assert {int(study.at_s % DAY_S // 3600) for study in studies} <= {
        h for h, weight in enumerate(site.hours) if weight
    } | {int((study.at_s - 30) % DAY_S // 3600) for study in studies}


def test_disk_is_what_is_kept_of_what_comes() -> None:
    assert disk_bytes(10, images=300, image_mb=0.5, result_mb=8, days=(30, 365)) == 10 * 2**20 * (150 * 30 + 8 * 365)
