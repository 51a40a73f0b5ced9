"""ROIs of two structure sets are paired by name, then by meaning; what is ambiguous is paired with nothing."""

from __future__ import annotations

from npc_contour.core.pairing import paired
from npc_contour.structure_names import meaning


def test_names_are_paired_by_what_they_mean() -> None:
    ours = ["Brainstem", "Parotid_L", "Parotid_R", "GTVp", "Eye_L"]
    theirs = ["parotid gland right", "BRAINSTEM", "Left Parotid", "PTV 70", "GTVp"]

    assert paired(ours, theirs, meaning) == ((0, 1), (1, 2), (2, 0), (3, 4))


def test_an_equal_name_goes_before_one_of_the_same_meaning() -> None:
    assert paired(["SpinalCord"], ["Cord", "SpinalCord"], meaning) == ((0, 1),)


def test_what_could_be_either_is_paired_with_neither() -> None:
    assert paired(["SpinalCord"], ["Cord", "Myelon"], meaning) == ()
    assert paired(["Eye_L"], ["Eye_R"], meaning) == ()
