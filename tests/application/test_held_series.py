"""Held series are listed with their reasons, and continue or are excluded as a person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from npc_contour.application.held_series import HeldSeries
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.work import JobKind
from npc_contour.errors import NoSuchRowError, OperationRefused
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard
from npc_contour.store.work_board import WorkBoard
from npc_testkit.bench import STUDY, Bench, contrast_ct, plain_ct

UID = "1.2.10"
HELD_S = 1900.0


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def held_series_of(bench: Bench, *, pacs: Sequence[str] = ()) -> HeldSeries:
    return HeldSeries(bench.store, HeldSeriesBoard(bench.store), bench.clock, pacs)


def hold(bench: Bench) -> None:
    """Receive a series that lacks slices, and wait until it is held."""
    images = plain_ct()
    bench.receive([*images[:20], *images[22:]])
    bench.work_for(HELD_S, 60)


def told(bench: Bench) -> str:
    details = WorkBoard(bench.store).study(STUDY)
    assert details is not None
    return " | ".join(f"{line.event} {line.detail}" for line in details.timeline)


def counted(slices: int) -> list[InstanceHeader]:
    return [replace(header, images_in_acquisition=100, acquisition_number=1) for header in plain_ct(slices)]


def test_a_person_says_that_a_series_is_whole_and_the_structure_set_says_so(bench: Bench) -> None:
    bench.receive(counted(50)[:49])
    bench.work_for(HELD_S, 60)
    held_series = held_series_of(bench)
    (one,) = held_series.series()
    assert one.may_be_whole

    held_series.take_as_whole(UID, by="ana", reason="two kernels")
    bench.work_for(200)
    case = bench.case("ln_ctv")
    assert case.state is CaseState.SENT
    assert any("a person said that it is whole: 49 of 100 images" in reason for reason in case.reasons)
    assert "said to be whole by ana: two kernels" in told(bench)

    bench.receive(counted(50)[49:])
    bench.work_for(HELD_S, 60)
    assert [series.state for series in held_series.series()] == [SeriesState.HELD]


def test_what_lacks_slices_is_not_whole_whatever_a_person_says(bench: Bench) -> None:
    hold(bench)
    with pytest.raises(OperationRefused, match=r"is not whole: held: gap of 9\.00 mm"):
        held_series_of(bench).take_as_whole(UID, by="ana")


def test_a_study_of_projections_alone_is_shown_as_left_aside(bench: Bench) -> None:
    derived = [replace(header, image_type=("DERIVED", "SECONDARY", "AXIAL", "MIP")) for header in plain_ct()]
    bench.receive(derived)
    bench.work_for(20)
    (one,) = held_series_of(bench).series()
    assert one.state is SeriesState.ASIDE
    assert "a projection" in one.reasons[0]


def test_a_pair_s_case_names_the_phase_that_is_here_and_held(bench: Bench) -> None:
    phase = contrast_ct()
    bench.receive([*plain_ct(), *phase[:20], *phase[22:]])
    bench.work_for(HELD_S, 60)
    reasons = bench.case("npc_oar_gtv").reasons
    assert any("series 'HEAD NECK C+' (48 images) is incomplete: gap of 9.00 mm" in reason for reason in reasons)


def test_held_series_says_what_was_found(bench: Bench) -> None:
    hold(bench)

    (one,) = held_series_of(bench).series()

    assert one.series_instance_uid == UID
    assert one.state is SeriesState.HELD
    assert any("gap" in reason for reason in one.reasons)
    assert (one.images, one.senders) == (48, ("CT_SCANNER",))
    assert held_series_of(bench).count() == 1


def test_series_left_aside_asks_nobody_any_more_until_an_image_comes(bench: Bench) -> None:
    hold(bench)
    held_series = held_series_of(bench)

    held_series.set_aside(UID, by="Ann", reason="a scout")

    assert held_series.count() == 0
    assert "excluded by Ann: a scout" in told(bench)
    with pytest.raises(OperationRefused, match="is aside"):
        held_series.set_aside(UID, by="Ann")
    bench.receive(plain_ct()[20:22])
    bench.work_for(60)
    assert bench.case("ln_ctv").state is CaseState.SENT


def test_series_is_fetched_from_a_pacs_of_the_settings(bench: Bench) -> None:
    hold(bench)
    held_series = held_series_of(bench, pacs=("archive",))
    with pytest.raises(NoSuchRowError, match="there are: archive"):
        held_series.fetch(UID, "elsewhere", by="Ann")
    asked: list[str] = []
    bench.more[JobKind.FETCH_SERIES] = asked.append
    bench.steps = bench.new_steps()

    held_series.fetch(UID, "archive", by="Ann")
    bench.work()

    assert len(asked) == 1
    assert "asked of archive by Ann" in told(bench)


def test_series_that_is_whole_is_left_alone(bench: Bench) -> None:
    bench.receive(plain_ct())
    bench.work_for(15)

    with pytest.raises(OperationRefused, match="is ready"):
        held_series_of(bench).set_aside(UID, by="Ann")
    with pytest.raises(NoSuchRowError):
        held_series_of(bench).set_aside("9.9", by="Ann")
