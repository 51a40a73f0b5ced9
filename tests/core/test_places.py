"""Where structures lie among each other: what strays is told, and one that strays moves no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from npc_contour.core.places import look_at_places, robust_fit
from npc_contour.domain.findings import FindingCode, Severity
from npc_contour.domain.geometry import FloatArray
from npc_contour.plausibility import read_rules

RULES = {name: rule for name, rule in read_rules().items() if rule.place_lps_mm is not None}


def patient(change: Callable[[FloatArray], FloatArray] = lambda point: point) -> dict[str, FloatArray]:
    """Someone lying elsewhere, a little turned and a little larger; `change` acts on the usual places first."""
    turn = Rotation.from_euler("xyz", (8.0, 3.0, 5.0), degrees=True).as_matrix()
    return {
        name: 1.05 * turn @ change(np.asarray(rule.place_lps_mm)) + (120.0, -40.0, -800.0)
        for name, rule in RULES.items()
    }


def test_an_ordinary_patient_raises_nothing() -> None:
    assert look_at_places(patient(), RULES) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_structure_elsewhere_is_told_with_millimetres_and_no_other(axis: int) -> None:
    found = patient()
    found["Parotid_L"][axis] += 30.0
    (finding,) = look_at_places(found, RULES)

    assert (finding.structure, finding.code, finding.severity) == ("Parotid_L", FindingCode.PLACE, Severity.CHECK)
    assert finding.numbers["astray_mm"] == pytest.approx(30.0 / 1.05, abs=2.5)


def test_a_structure_far_away_is_a_stop() -> None:
    found = patient()
    found["Glnd_Thyroid"][2] -= 150.0
    (finding,) = look_at_places(found, RULES)

    assert finding.severity is Severity.STOP


def test_swapped_sides_are_told_for_both() -> None:
    found = patient()
    found["Eye_L"], found["Eye_R"] = found["Eye_R"], found["Eye_L"]
    findings = look_at_places(found, RULES)

    assert {(one.structure, one.code) for one in findings} == {
        ("Eye_L", FindingCode.SIDE),
        ("Eye_R", FindingCode.SIDE),
    }
    assert all(one.severity is Severity.STOP for one in findings)


@pytest.mark.parametrize("signs", [(1, 1, -1), (1, -1, 1), (-1, 1, 1)], ids=["head down", "face down", "mirrored"])
def test_a_scan_the_other_way_round_is_one_stop(signs: tuple[int, int, int]) -> None:
    findings = look_at_places(patient(lambda point: point * signs), RULES)

    assert [one.code for one in findings if one.severity is Severity.STOP][-1] is FindingCode.ANATOMY
    assert all(one.structure == "" for one in findings)


@pytest.mark.parametrize("factor", [0.6, 1.35])
@pytest.mark.parametrize("axes", [(1, 1, 1), (0, 0, 1)], ids=["all axes", "slice spacing"])
def test_a_wrong_spacing_is_told_as_such(factor: float, axes: tuple[int, int, int]) -> None:
    findings = look_at_places(patient(lambda point: point * np.where(axes, factor, 1.0)), RULES)

    assert FindingCode.SCALE in {one.code for one in findings}
    assert any("spacing" in one.sentence for one in findings)


def test_few_landmarks_say_nothing() -> None:
    found = patient()
    assert look_at_places({name: found[name] for name in ("Eye_L", "Parotid_R", "Brain")}, RULES) == []


def test_the_fit_is_that_of_the_majority() -> None:
    usual = np.random.default_rng(3).normal(0.0, 60.0, (20, 3))
    turn = Rotation.from_euler("z", 20.0, degrees=True).as_matrix()
    found = (usual - (5.0, 6.0, 7.0)) @ turn / 1.1
    found[:4] += (70.0, -50.0, 90.0)
    fit = robust_fit(found, usual, np.full(20, 3.0))

    assert fit.scale == pytest.approx(1.1, abs=0.01)
    assert fit.tilt_deg == pytest.approx(20.0, abs=0.5)
    np.testing.assert_allclose(fit.of(found[4:]), usual[4:], atol=1.5)
