"""A head-and-neck phantom holds the fifty structures of HaN5K's list, consistent with the organs it holds anyway."""

from __future__ import annotations

import numpy as np
import pytest

from npc_phantom import Phantom, PhantomOptions, draw, render
from npc_phantom.han import LABEL, OF_OAR, STRUCTURES

TO_THE_BRONCHI = PhantomOptions(matrix=200, slice_spacing_mm=3.0, bottom_z_mm=-318.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    patient = draw(3, TO_THE_BRONCHI)
    return render(patient, patient.grid())


def test_every_structure_is_there(phantom: Phantom) -> None:
    voxels = np.bincount(phantom.han_labels.ravel(), minlength=51)

    assert len(STRUCTURES) == 50
    assert voxels.size == 51
    assert [name for name, label in LABEL.items() if voxels[label] == 0] == []


def test_divided_organs_are_whole_together(phantom: Phantom) -> None:
    han, oar = phantom.han_labels, phantom.oar_labels
    parts = {
        35: ("Cavity_Oral", "CavityOral_NoGum"),
        52: ("Musc_Constrict_S", "Musc_Constrict_M", "Musc_Constrict_I"),
        2: ("Brainstem",),
        40: ("Parotid_L",),
    }
    for label, names in parts.items():
        whole = oar == label
        if label == 52:
            whole |= oar == 51
        np.testing.assert_array_equal(np.isin(han, [LABEL[name] for name in names]), whole)


def test_constrictors_lie_above_each_other(phantom: Phantom) -> None:
    heights = [np.argwhere(phantom.han_labels == LABEL[f"Musc_Constrict_{level}"])[:, 0].mean() for level in "SMI"]

    assert heights == sorted(heights, reverse=True)


def test_what_the_list_adds_is_where_it_belongs(phantom: Phantom) -> None:
    hu, han = phantom.contrast_hu, phantom.han_labels
    bronchi, aorta = han == LABEL["BronchialTree"], han == LABEL["A_Aorta"]
    left, right = (np.argwhere(han == LABEL[f"BrachialPlex_{side}"]) for side in "LR")

    assert np.median(hu[bronchi]) < -400
    assert np.median(hu[aorta]) > 180
    assert left[:, 2].mean() > right[:, 2].mean()
    assert np.argwhere(bronchi)[:, 0].max() <= np.argwhere(han == LABEL["Trachea"])[:, 0].min() + 6


def test_each_of_the_54_labels_lies_in_one_structure() -> None:
    assert len(OF_OAR) == 54
    assert set(OF_OAR) <= set(STRUCTURES)
