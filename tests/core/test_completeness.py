"""A series is ready after a quiet time and with a geometric proof; a gap waits, then is held with its millimetres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from npc_contour.core.completeness import Arrivals, CompletionRules, judge
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.series import InstanceHeader
from npc_testkit.ct_headers import ct_header, ct_headers

LAST = datetime(2026, 1, 2, 11, 0, tzinfo=UTC)
RULES = CompletionRules()
RELEASED = Arrivals(last_at=LAST, last_ended_at=LAST + timedelta(seconds=1))


def state_after(seconds: float, headers: list[InstanceHeader], arrivals: Arrivals = RELEASED) -> SeriesState:
    return judge(headers, arrivals, RULES, LAST + timedelta(seconds=seconds)).state


@pytest.mark.parametrize(
    ("arrivals", "quiet_s"),
    [
        (RELEASED, 11),
        (Arrivals(last_at=LAST, open_associations=1), 60),
        (Arrivals(last_at=LAST, open_associations=1, last_ended_at=LAST), 60),
        (Arrivals(last_at=LAST, interrupted=True, last_ended_at=LAST + timedelta(seconds=2)), 302),
    ],
)
def test_the_quiet_time_depends_on_how_the_transfer_ended(arrivals: Arrivals, quiet_s: float) -> None:
    headers = ct_headers(60)

    early = judge(headers, arrivals, RULES, LAST + timedelta(seconds=quiet_s - 0.5))

    assert early.state is SeriesState.RECEIVING
    assert early.look_again_at == LAST + timedelta(seconds=quiet_s)
    assert "60 images so far" in early.reasons[0]
    assert state_after(quiet_s, headers, arrivals) is SeriesState.READY


def test_ready_says_what_is_complete_and_gives_the_stack() -> None:
    verdict = judge(ct_headers(60), RELEASED, RULES, LAST + timedelta(minutes=1))

    assert verdict.reasons == ("complete: 60 slices, 3.00 mm apart",)
    assert verdict.series is not None
    assert len(verdict.series.instances) == 60


def test_a_gap_waits_with_its_millimetres_and_is_held_in_the_end() -> None:
    headers = ct_headers(60)
    del headers[12]

    waiting = judge(headers, RELEASED, RULES, LAST + timedelta(minutes=5))
    held = judge(headers, RELEASED, RULES, LAST + timedelta(minutes=31))

    assert waiting.state is SeriesState.RECEIVING
    assert waiting.reasons[0].startswith("waiting: gap of 6.00 mm after slice 12 ")
    assert waiting.look_again_at == LAST + timedelta(minutes=30)
    assert held.state is SeriesState.HELD
    assert held.reasons[0].startswith("held: gap of 6.00 mm after slice 12 ")


def test_the_late_slice_cures_the_gap() -> None:
    assert state_after(60, ct_headers(60)) is SeriesState.READY


def test_what_no_further_slice_can_cure_is_held_at_once() -> None:
    headers = ct_headers(60)
    headers.append(replace(headers[3], sop_instance_uid="1.77"))

    assert state_after(60, headers) is SeriesState.HELD


def test_the_scanner_s_own_count_shows_slices_missing_at_the_end() -> None:
    headers = ct_headers(60, acquisition_number=1, images_in_acquisition=62)

    verdict = judge(headers, RELEASED, RULES, LAST + timedelta(minutes=1))

    assert verdict.state is SeriesState.RECEIVING
    assert verdict.reasons == ("waiting: 60 of 62 images of the acquisition",)


def test_holes_in_the_instance_numbers_are_a_note_not_a_refusal() -> None:
    headers = [replace(h, instance_number=2 * index) for index, h in enumerate(ct_headers(60))]

    verdict = judge(headers, RELEASED, RULES, LAST + timedelta(minutes=1))

    assert verdict.state is SeriesState.READY
    assert "note: instance numbers 0 to 118 leave out 59" in verdict.reasons


def test_localizers_alone_are_aside_with_the_reason() -> None:
    scouts = [ct_header(image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")) for _ in range(2)]

    verdict = judge(scouts, RELEASED, RULES, LAST + timedelta(minutes=1))

    assert verdict.state is SeriesState.ASIDE
    assert "2 images excluded: a localizer" in verdict.reasons[0]


def test_too_few_slices_wait_for_more() -> None:
    assert state_after(60, ct_headers(2)) is SeriesState.RECEIVING
    assert state_after(3600, ct_headers(2)) is SeriesState.HELD


def test_derived_images_are_ready_as_a_stack_and_aside_as_anything_else() -> None:
    stack = ct_headers(20, image_type=("DERIVED", "SECONDARY", "AXIAL"))

    whole, broken = (
        judge(images, RELEASED, RULES, LAST + timedelta(minutes=1)) for images in (stack, stack[:9] + stack[11:])
    )

    assert whole.state is SeriesState.READY
    assert any("derived from other images" in reason for reason in whole.reasons)
    assert broken.state is SeriesState.ASIDE
    assert "derived from other images" in broken.reasons[0]
    assert "gap of 9.00 mm" in broken.reasons[0]
