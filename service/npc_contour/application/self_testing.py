"""The networks are tried on a phantom by themselves, at night: does this installation still contour what it must?

Nothing is sent and nothing is kept but the result. The test takes one of the places of the networks, like a case, and
goes after every case that waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from npc_contour.application.ports import Clock
from npc_contour.application.steps import Postponed
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.domain.work import Job, JobKind, SelfTestResult
from npc_contour.errors import AutocontourError
from npc_contour.logs import Event
from npc_contour.settings import SelfTest
from npc_contour.store.database import Store

logger = logging.getLogger(__name__)

PLACE_PAUSE_S = 60.0
KEPT = timedelta(days=400)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class NetworkScore:
    """What one network made of the phantom, or one pipeline of a case that the site keeps.

    Attributes:
        network: or the case and the pipeline.
        mean_dice: over the ROIs; None where the phantom has no truth for the network.
        fallen: what is not as it was kept, in words; of a kept case only.
    """

    network: str
    mean_dice: float | None
    works: bool
    fallen: str = ""


class TryNetworks:
    """Does the test, when its time has come.

    Args:
        store: keeps the result.
        clock: the time.
        test: contours the phantom with every network in use; raises AutocontourError when one does not answer.
        rules: when.
        segmentations_at_once: places of the networks, in the whole installation.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        test: Callable[[], Sequence[NetworkScore]],
        rules: SelfTest,
        segmentations_at_once: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._test = test
        self._rules = rules
        self._at_once = segmentations_at_once

    def run(self, key: str) -> None:
        """Do it once, unless the settings have turned it off meanwhile.

        Raises:
            Postponed: no place is free.
        """
        if not self._rules.every_h:
            return
        began = self._clock.now()
        with self._store.slot(self._at_once) as free:
            if not free:
                with self._store.transaction() as tx:
                    tx.defer(Job(JobKind.SELF_TEST, key, began + timedelta(seconds=PLACE_PAUSE_S)))
                raise Postponed
            try:
                scores = self._test()
            except AutocontourError as error:
                self._note(began, ok=False, detail=str(error), dice={})
                return
        dice = {score.network: score.mean_dice for score in scores if score.mean_dice is not None}
        broken = [score.network for score in scores if not score.works and not score.fallen]
        fallen = [f"{score.network}: {score.fallen}" for score in scores if score.fallen]
        words = ", ".join(f"{network} {value:.2f}" for network, value in sorted(dice.items()))
        detail = f"mean Dice: {words}" if words else "every network answers"
        if broken:
            detail = f"{', '.join(broken)} does not contour a phantom any more; {detail}"
        detail = "; ".join([*fallen, detail])
        self._note(began, ok=not (broken or fallen), detail=detail, dice=dice)

    def _note(self, began: datetime, *, ok: bool, detail: str, dice: Mapping[str, float]) -> None:
        now = self._clock.now()
        seconds = (now - began).total_seconds()
        event = Event.SELF_TEST_PASSED if ok else Event.SELF_TEST_FAILED
        with self._store.transaction() as tx:
            tx.add_self_test(SelfTestResult(at=now, seconds=seconds, ok=ok, detail=detail, dice=dice), now - KEPT)
            tx.record(TimelineEntry(event=event, at=now, detail=detail))
        logger.log(
            logging.INFO if ok else logging.ERROR,
            event,
            extra={"detail": detail, "mean_dice": dict(dice), "seconds": round(seconds, 1)},
        )


def next_due(now: datetime, last: datetime | None, rules: SelfTest) -> datetime:
    """Return when the next test begins: the first of its times of day that is long enough after the last test.

    Args:
        now: with the time zone in which `rules.at` is meant.
        last: when the last test ended; None before the first.
        rules: `every_h` is not 0.
    """
    every = timedelta(hours=rules.every_h)
    # A test that began late must not move the next one to another day.
    earliest = now if last is None else max(now, last + every - min(every / 2, timedelta(hours=6)))
    day = datetime.combine(earliest.astimezone(now.tzinfo) - DAY, time.fromisoformat(rules.at), now.tzinfo)
    step = min(every, DAY)
    while True:
        due = day
        while due < day + DAY:
            if due > earliest:
                return due
            due += step
        day += DAY
