"""Two networks that draw a structure in one place agree; what one draws elsewhere is told, with the slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.second_opinions import look_at_second_opinions
from npc_contour.domain.findings import FindingCode, Severity, StructureRule
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec

GRID = Grid((20, 60, 60), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")


def box(name: str, network: str, z: slice, shift: int = 0, *, whole: bool = True) -> RoiMask:
    mask: npt.NDArray[np.bool_] = np.zeros(GRID.shape_zyx, np.bool_)
    mask[z, 20:40, 10 + shift : 30 + shift] = True
    rule = StructureRule(whole=whole)
    return mask_of_array(RoiSpec(name, InterpretedType.ORGAN, network, frozenset({1}), (0, 0, 0), rule=rule), mask)


def test_what_lies_apart_is_told() -> None:
    own = box("Parotid_L", "one", slice(5, 12))

    (finding,) = look_at_second_opinions([own], [box("parotid_l", "two", slice(5, 12), 12)], GRID)

    assert (finding.code, finding.severity, finding.structure) == (
        FindingCode.DISAGREEMENT,
        Severity.CHECK,
        "Parotid_L",
    )
    assert finding.sentence.startswith("Parotid_L: one and two draw it ")
    assert finding.numbers["dice"] == pytest.approx(0.4)
    assert finding.numbers["apart_mm"] > 3.0


@pytest.mark.parametrize(
    "other",
    [
        box("Parotid_L", "two", slice(5, 12), 2),
        box("Parotid_L", "one", slice(5, 12), 25),
        box("Parotid_R", "two", slice(5, 12), 25),
        box("Parotid_L", "two", slice(0, 0)),
    ],
    ids=["nearly the same", "the same network", "another structure", "not found"],
)
def test_nothing_is_told_of_the_others(other: RoiMask) -> None:
    assert look_at_second_opinions([box("Parotid_L", "one", slice(5, 12))], [other], GRID) == ()


def test_what_goes_on_beyond_the_scan_is_compared_where_both_see_it() -> None:
    cord = box("SpinalCord", "one", slice(0, 10), whole=False)

    assert look_at_second_opinions([cord], [box("SpinalCord", "two", slice(4, 20), whole=False)], GRID) == ()
    assert look_at_second_opinions([cord], [box("SpinalCord", "two", slice(12, 20), whole=False)], GRID) == ()
    assert look_at_second_opinions([cord], [box("SpinalCord", "two", slice(4, 20), 15, whole=False)], GRID) != ()
