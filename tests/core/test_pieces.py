"""What lies apart from an organ is taken away and told; targets stay whole, and it is told."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.pieces import without_far_pieces
from npc_contour.domain.findings import Finding, FindingCode, Severity, StructureRule
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec

GRID = Grid((60, 80, 80), (3.0, 1.0, 1.0), (-40.0, -40.0, -300.0), HEAD_FIRST_SUPINE, "1.2")


def mask(*boxes: tuple[slice, slice, slice], kind: InterpretedType = InterpretedType.ORGAN) -> RoiMask:
    array = np.zeros(GRID.shape_zyx, dtype=np.bool_)
    for box in boxes:
        array[box] = True
    rule = StructureRule(near_mm=10.0)
    return mask_of_array(RoiSpec("Parotid_L", kind, "net", frozenset({1}), (0, 0, 0), rule=rule), array)


GLAND = (slice(40, 50), slice(20, 50), slice(20, 50))


def cut(one: RoiMask, grid: Grid = GRID) -> tuple[RoiMask, tuple[Finding, ...]]:
    cleaned = without_far_pieces([one], grid)
    return cleaned.masks[0], cleaned.findings


def below(gap_mm: float, rows: int = 12) -> tuple[slice, slice, slice]:
    """So far below the gland, voxel centre to voxel centre."""
    last = 40 - int(gap_mm / 3.0)
    return (slice(last - 3, last + 1), slice(20, 20 + rows), slice(20, 32))


def voxels(one: RoiMask) -> npt.NDArray[np.bool_]:
    return one.on_grid(GRID.shape_zyx)


@pytest.mark.parametrize(("gap_mm", "stays"), [(6.0, True), (9.0, True), (12.0, False), (60.0, False)])
def test_a_piece_within_the_rule_s_distance_stays(gap_mm: float, *, stays: bool) -> None:
    kept, findings = cut(mask(GLAND, below(gap_mm)))

    assert voxels(kept)[below(gap_mm)].all() == stays
    assert voxels(kept)[GLAND].all()
    # What stays and does not touch is told, too.
    assert [(one.code, round(one.numbers["gap_mm"])) for one in findings] == [
        (FindingCode.PIECE_APART if stays else FindingCode.PIECE_LEFT_OUT, gap_mm)
    ]


def test_the_finding_says_how_large_how_far_where_and_on_which_slice() -> None:
    _, (finding,) = cut(mask(GLAND, below(60.0, rows=24)))

    assert finding.code is FindingCode.PIECE_LEFT_OUT
    assert finding.severity is Severity.CHECK
    assert finding.sentence == (
        "Parotid_L: a second piece of 3.5 cc, 60 mm below the rest (slice at z -244.5 mm), was left out"
    )


def test_what_may_be_the_other_half_stays_and_is_told() -> None:
    half = (slice(20, 30), slice(20, 50), slice(20, 50))
    kept, (finding,) = cut(mask(GLAND, half))

    assert voxels(kept)[half].all()
    assert (finding.code, finding.severity) == (FindingCode.PIECE_APART, Severity.CHECK)


def test_many_pieces_are_one_finding() -> None:
    _, (finding,) = cut(mask(GLAND, below(60.0, rows=24), below(90.0, rows=2)))

    assert finding.numbers["pieces"] == 2
    assert finding.sentence == (
        "Parotid_L: 2 more pieces of 3.7 cc in all, the largest 60 mm below the rest (slice at z -244.5 mm),"
        " were left out"
    )


def test_an_elective_volume_is_cut_and_that_is_always_worth_a_look() -> None:
    kept, (finding,) = cut(mask(GLAND, below(60.0, rows=2), kind=InterpretedType.CTV))

    assert not voxels(kept)[below(60.0, rows=2)].any()
    assert (finding.code, finding.severity) == (FindingCode.PIECE_LEFT_OUT, Severity.CHECK)


def test_a_small_piece_is_a_note() -> None:
    _, (finding,) = cut(mask(GLAND, below(60.0, rows=2)))

    assert finding.severity is Severity.NOTE


def test_gross_tumour_is_told_of_and_never_cut() -> None:
    given = mask(GLAND, below(60.0), kind=InterpretedType.GTV)
    kept, (finding,) = cut(given)

    assert kept is given
    assert finding.code is FindingCode.PIECE_APART
    assert "gross tumour is never cut" in finding.sentence


def test_the_direction_is_the_patient_s_whichever_way_the_stack_runs() -> None:
    upside_down = Grid(
        GRID.shape_zyx, GRID.spacing_zyx_mm, (40.0, -40.0, 300.0), ((0, 0, -1), (0, 1, 0), (-1, 0, 0)), "1.2"
    )
    _, (finding,) = cut(mask(GLAND, below(60.0)), upside_down)

    assert " 60 mm above the rest" in finding.sentence
