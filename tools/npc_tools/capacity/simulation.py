"""How much of everything a site needs: a queueing simulation of the way from the first image to the last structure set.

    images ─ receivers ─▶ quiet time ─▶ per pipeline: inference slot ─▶ worker ─▶ destination

A receiver is busy while it takes a study, an inference slot (a GPU, or Triton's share of a processor) while a case is
read and its networks run, a worker while contours are made, written and checked. Everything waits in the order of its
coming. What the hospital's network, the database and the disk take is in the measured times, not in a queue of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import simpy

from npc_contour.errors import SettingsError

DAY_S, HOUR_S = 86400.0, 3600.0
MOST = 400
"""Of any resource: a site that needs more asks for another unit than ours."""
SENDERS_WAIT_S = 1.0
"""On average, for an association."""
MEBIBYTE, GIGABYTE = 2**20, 10**9

Draw = Callable[[float], float]
"""From a mean time in seconds to the time of one study."""


@dataclass(frozen=True, slots=True)
class Study:
    """What one sender sends.

    Attributes:
        at_s: when its first image comes, in seconds from the start.
        images: of all of its series together.
    """

    at_s: float
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """What was measured of one study on an idle machine, or is assumed of another.

    Attributes:
        images_per_s: that one association brings.
        quiet_s: from the last image until a series counts as complete (`completion.quiet_released_s`).
        segment_s: pipeline → reading the images and running its networks.
        write_s: pipeline → contours, structure set and its check.
        send_s: to a destination, proof included.
    """

    images_per_s: float
    quiet_s: float
    segment_s: Mapping[str, float]
    write_s: Mapping[str, float]
    send_s: float

    def __post_init__(self) -> None:
        """Refuse pipelines that have only one of two times."""
        if set(self.segment_s) != set(self.write_s):
            raise SettingsError(
                f"pipelines of segment_s {sorted(self.segment_s)} and of write_s {sorted(self.write_s)}"
            )

    def with_inference(self, factor: float) -> StepTimes:
        """Return the same with networks that take `factor` times as long."""
        return replace(self, segment_s={name: seconds * factor for name, seconds in self.segment_s.items()})


@dataclass(frozen=True, slots=True)
class Plant:
    """What a site has: associations taken at once, inference slots, worker processes."""

    receivers: int = 1
    slots: int = 1
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a simulated run.

    Attributes:
        plant: what was there.
        received_s: of each study, when its last image was there.
        done_s: of each study, when its last structure set was there.
        busy: resource → part of the time, until the last study was done, in which it worked.
        waited_s: resource → mean wait for it of what asked for it.
        queue_s, queue: how many cases waited for an inference slot, and from when on.
    """

    plant: Plant
    received_s: Sequence[float]
    done_s: Sequence[float]
    busy: Mapping[str, float]
    waited_s: Mapping[str, float]
    queue_s: Sequence[float]
    queue: Sequence[int]

    @property
    def turnaround_s(self) -> list[float]:
        """Of each study, from its last image to its last structure set."""
        return [done - received for done, received in zip(self.done_s, self.received_s, strict=True)]

    def quantile_s(self, part: float) -> float:
        """Return the turnaround that this part of all studies does not exceed, in seconds."""
        return float(np.quantile(self.turnaround_s, part))


@dataclass
class _Station:
    """A resource with a line before it, and what it has seen."""

    env: simpy.Environment
    count: int
    busy_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])

    def __post_init__(self) -> None:
        self.resource = simpy.Resource(self.env, capacity=self.count)

    def hold(self, seconds: float) -> Generator[simpy.Event, object, None]:
        came = self.env.now
        with self.resource.request() as turn:
            self.changes.append((self.env.now, len(self.resource.queue)))
            yield turn
            self.changes.append((self.env.now, len(self.resource.queue)))
            self.waits_s.append(self.env.now - came)
            self.busy_s += seconds
            yield self.env.timeout(seconds)


def simulate(studies: Sequence[Study], times: StepTimes, plant: Plant, draw: Draw) -> Outcome:
    """Send studies through a plant.

    Args:
        studies: in any order; each is contoured by every pipeline of `times`.
        times: mean times of the steps.
        plant: what is there.
        draw: makes a time of a mean.

    Raises:
        SettingsError: there is no study.
    """
    if not studies:
        raise SettingsError("no study comes")
    env = simpy.Environment()
    stations = {name: _Station(env, getattr(plant, name)) for name in ("receivers", "slots", "workers")}
    received_s, done_s = [0.0] * len(studies), [0.0] * len(studies)

    def case(pipeline: str) -> Generator[simpy.Event, object, None]:
        yield from stations["slots"].hold(draw(times.segment_s[pipeline]))
        yield from stations["workers"].hold(draw(times.write_s[pipeline]))
        yield env.timeout(draw(times.send_s))

    def comes(number: int, study: Study) -> Generator[simpy.Event, object, None]:
        yield env.timeout(study.at_s)
        yield from stations["receivers"].hold(draw(study.images / times.images_per_s))
        received_s[number] = env.now
        yield env.timeout(times.quiet_s)
        yield env.all_of([env.process(case(pipeline)) for pipeline in times.segment_s])
        done_s[number] = env.now

    for number, study in enumerate(studies):
        env.process(comes(number, study))
    env.run()
    span_s = max(done_s) - min(study.at_s for study in studies)
    return Outcome(
        plant=plant,
        received_s=received_s,
        done_s=done_s,
        busy={name: one.busy_s / (one.count * span_s) if span_s else 0.0 for name, one in stations.items()},
        waited_s={name: float(np.mean(one.waits_s)) for name, one in stations.items()},
        queue_s=[at for at, _ in stations["slots"].changes],
        queue=[length for _, length in stations["slots"].changes],
    )


def smallest_plant(
    studies: Sequence[Study], times: StepTimes, *, within_s: float, part: float, new_draw: Callable[[], Draw]
) -> Outcome:
    """Return the run of the smallest plant that does what is asked: where the line is longest, there is added.

    Args:
        studies: that come.
        times: of the steps.
        within_s: turnaround asked for.
        part: of all studies that it must hold for.
        new_draw: makes the same random times for each plant that is tried.

    Raises:
        SettingsError: one study alone takes longer, or more than `MOST` of something were needed.
    """
    alone_s = times.quiet_s + times.send_s + max(times.segment_s[one] + times.write_s[one] for one in times.segment_s)
    if alone_s > within_s:
        raise SettingsError(f"one study alone takes {alone_s:.0f} s, {within_s:.0f} s are asked for")
    plant = Plant()
    while True:
        outcome = simulate(studies, times, plant, new_draw())
        # Senders must not wait either: their associations run into time limits.
        if outcome.waited_s["receivers"] > SENDERS_WAIT_S:
            longest = "receivers"
        elif outcome.quantile_s(part) <= within_s:
            return outcome
        else:
            longest = max(("slots", "workers"), key=lambda name: outcome.waited_s[name])
        count = getattr(plant, longest)
        if count >= MOST:
            raise SettingsError(f"{MOST} {longest} are not enough")
        plant = replace(plant, **{longest: count + max(1, count // 8)})


def disk_bytes(
    studies_per_day: float, *, images: float, image_mb: float, result_mb: float, days: tuple[float, float]
) -> float:
    """Return what lies on disk once as much is deleted as comes.

    Args:
        studies_per_day: averaged over all days of a week.
        images: of a study.
        image_mb: of an image, in MiB.
        result_mb: of all results of a study, in MiB.
        days: that images and results are kept (`retention.images_days`, `retention.structure_sets_days`).
    """
    images_days, results_days = days
    return studies_per_day * MEBIBYTE * (images * image_mb * images_days + result_mb * results_days)


def lognormal(spread: float, seed: int) -> Draw:
    """Return times around a mean with this coefficient of variation; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    sigma = math.sqrt(math.log1p(spread**2))
    return lambda mean: float(mean * rng.lognormal(-(sigma**2) / 2, sigma)) if mean > 0 else 0.0


def exponential(seed: int) -> Draw:
    """Return exponentially distributed times, for which closed forms exist; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    return lambda mean: float(rng.exponential(mean)) if mean > 0 else 0.0
