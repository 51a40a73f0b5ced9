"""A chest phantom shows its nodes where the truth says, apart from vessels and airways, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from npc_phantom.chest_patient import ChestOptions, ChestPhantom, draw_chest, render_chest

COARSE = ChestOptions(matrix=192, slice_spacing_mm=3.0, nodes=6, noise_hu=0.0)


def rendered(seed: int, options: ChestOptions = COARSE) -> ChestPhantom:
    patient = draw_chest(seed, options)
    return render_chest(patient, patient.grid())


@pytest.fixture(scope="module")
def phantom() -> ChestPhantom:
    return rendered(5)


def test_every_node_is_labelled_and_looks_like_one(phantom: ChestPhantom) -> None:
    labels = phantom.node_labels

    assert set(np.unique(labels)) == set(range(7))
    for number in range(1, 7):
        inside = ndimage.binary_erosion(labels == number)
        if inside.sum() > 8:
            assert 20 < np.median(phantom.contrast_hu[inside]) < 130


def test_nodes_are_apart_from_vessels_and_air(phantom: ChestPhantom) -> None:
    core = ndimage.binary_erosion(phantom.node_labels > 0)
    values = phantom.contrast_hu[core]

    assert (values < -300).mean() < 0.01
    assert (values > 200).mean() < 0.01


def test_chest_has_lungs_bone_and_bright_vessels(phantom: ChestPhantom) -> None:
    hu = phantom.contrast_hu
    body = hu[hu > -950]

    assert (body < -700).mean() > 0.15
    assert (hu > 400).any()
    assert ((hu > 140) & (hu < 330)).mean() > 0.005


def test_seed_decides() -> None:
    np.testing.assert_array_equal(rendered(6).contrast_hu, rendered(6).contrast_hu)
    assert draw_chest(6).parts != draw_chest(7).parts


def test_options_are_kept_and_checked() -> None:
    grid = draw_chest(1, ChestOptions(matrix=128, slices=30, slice_spacing_mm=5.0)).grid()

    assert grid.shape_zyx == (30, 128, 128)
    assert grid.spacing_zyx_mm[0] == 5.0
    with pytest.raises(ValueError, match="positive"):
        draw_chest(1, ChestOptions(slices=0))
