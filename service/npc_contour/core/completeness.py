"""Whether a received series is complete: a quiet time and a geometric proof, never the end of an association.

DICOM has no signal for "that was the last slice". Associations end between slices of a series, carry several series,
and are aborted and repeated; so a series is ready when nothing came for a while *and* its slices form one regular
stack. A gap is waited for and then held, visibly. Slices missing at either end cannot be seen from the slices alone,
unless the scanner says how many there are (Images in Acquisition).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from npc_contour.core.grouping import group
from npc_contour.core.stacking import Fault, geometry_faults, stack
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.series import InstanceHeader, Series

OF_ACQUISITION = "images of the acquisition"
"""How a count that speaks against a series ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRules:
    """Times of the site's settings.

    Attributes:
        quiet_released_s: after the last association that carried the series was released.
        quiet_s: while an association that carried it is still open.
        quiet_aborted_s: after one that carried it was aborted or lost: the sender probably comes again.
        held_after_s: without a new image and still not regular, the series is held.
    """

    quiet_released_s: float = 10.0
    quiet_s: float = 60.0
    quiet_aborted_s: float = 300.0
    held_after_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When and how the images of a series came.

    Attributes:
        last_at: the last new image.
        open_associations: associations that carried images of it and still run.
        interrupted: whether the last association that carried it ended by abort or loss.
        last_ended_at: when the last of them ended; None when none has.
        counted: how many images of it a PACS has that did not give all of them; None without one.
    """

    last_at: datetime
    open_associations: int = 0
    interrupted: bool = False
    last_ended_at: datetime | None = None
    counted: int | None = None


@dataclass(frozen=True, slots=True)
class CompletionVerdict:
    """What to do with the series now.

    Attributes:
        state: RECEIVING (wait), READY, HELD or ASIDE (nothing in it to contour).
        reasons: in words, each a sentence.
        look_again_at: when waiting may end; None when only a new image can change the verdict.
        series: the stack, once READY.
    """

    state: SeriesState
    reasons: tuple[str, ...]
    look_again_at: datetime | None = None
    series: Series | None = None


def judge(
    instances: Sequence[InstanceHeader],
    arrivals: Arrivals,
    rules: CompletionRules,
    now: datetime,
    *,
    said_whole: bool = False,
) -> CompletionVerdict:
    """Say whether a series is complete.

    Args:
        instances: all images of one Series Instance UID kept so far, at least one.
        arrivals: when and how they came.
        rules: the site's times.
        now: the time, comparable with those of `arrivals`.
        said_whole: a person said of just these images that none is missing, whatever the scanner counted.
    """
    quiet_until, why = _quiet_until(arrivals, rules)
    if now < quiet_until:
        reason = f"waiting: {why}, {(quiet_until - now).total_seconds():.0f} s to go ({len(instances)} images so far)"
        return CompletionVerdict(SeriesState.RECEIVING, (reason,), quiet_until)
    grouped = group(instances)
    excluded_images = tuple(f"{len(one.instances)} images excluded: {one.reason}" for one in grouped.excluded)
    if not grouped.series:
        return CompletionVerdict(SeriesState.ASIDE, excluded_images)
    series = grouped.series[0]
    missing = count_faults(series.instances)
    faults = (
        *geometry_faults(series.instances),
        *(() if said_whole else missing),
        *_pull_faults(instances, arrivals),
    )
    if not faults:
        spacing_mm = stack(series).grid.spacing_zyx_mm[0]
        complete = f"complete: {len(series.instances)} slices, {spacing_mm:.2f} mm apart"
        said = tuple(f"a person said that it is whole: {fault.text}" for fault in missing)
        notes = (complete, *filter(None, (series.derived,)), *said, *_notes(series.instances), *excluded_images)
        return CompletionVerdict(SeriesState.READY, notes, series=series)
    if series.derived:
        words = f"{len(series.instances)} images excluded: {series.derived}; {'; '.join(f.text for f in faults)}"
        return CompletionVerdict(SeriesState.ASIDE, (words, *excluded_images))
    held_at = arrivals.last_at + timedelta(seconds=rules.held_after_s)
    texts = [fault.text for fault in faults]
    if now < held_at and all(fault.curable for fault in faults):
        return CompletionVerdict(SeriesState.RECEIVING, (*(f"waiting: {t}" for t in texts), *excluded_images), held_at)
    return CompletionVerdict(SeriesState.HELD, (*(f"held: {text}" for text in texts), *excluded_images))


def _quiet_until(arrivals: Arrivals, rules: CompletionRules) -> tuple[datetime, str]:
    ended_at = arrivals.last_ended_at
    if arrivals.open_associations or ended_at is None:
        return arrivals.last_at + timedelta(seconds=rules.quiet_s), "an association that brought images is still open"
    since = max(arrivals.last_at, ended_at)
    if arrivals.interrupted:
        return since + timedelta(seconds=rules.quiet_aborted_s), "the transfer was interrupted"
    return since + timedelta(seconds=rules.quiet_released_s), "more images may follow the last association"


def count_faults(instances: Sequence[InstanceHeader]) -> list[Fault]:
    """Images in Acquisition (0020,1002) against what came, where the scanner wrote it and there is one acquisition."""
    acquisitions = {instance.acquisition_number for instance in instances}
    expected = {instance.images_in_acquisition for instance in instances}
    if len(acquisitions) != 1 or len(expected) != 1:
        return []
    (count,) = expected
    if count is None or count <= len(instances):
        return []
    return [Fault(f"{len(instances)} of {count} {OF_ACQUISITION}", curable=True)]


def _pull_faults(instances: Sequence[InstanceHeader], arrivals: Arrivals) -> list[Fault]:
    """Images that a PACS counts against what came, where it was asked for the series and did not give all of it."""
    if arrivals.counted is None or arrivals.counted <= len(instances):
        return []
    return [Fault(f"{len(instances)} of {arrivals.counted} images that the PACS has", curable=True)]


def _notes(instances: Sequence[InstanceHeader]) -> list[str]:
    """Holes in the instance numbers: no proof of a loss, for some scanners count in steps, but worth a word."""
    numbers = sorted({instance.instance_number for instance in instances if instance.instance_number is not None})
    if not numbers:
        return []
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing <= 0:
        return []
    return [f"note: instance numbers {numbers[0]} to {numbers[-1]} leave out {missing}"]
