"""Agreement counts every voxel once and the Dice of every label that either answer has."""

from __future__ import annotations

import numpy as np
import pytest

from npc_networks.parity.comparison import compare

NAMES = ("background", "a", "b", "c")


def test_counts_voxels_labels_and_differences() -> None:
    ours = np.zeros((10, 10, 10), dtype=np.uint8)
    ours[:4] = 1
    ours[9, 9] = 2
    theirs = ours.copy()
    theirs[0, 0, :5] = 0
    maps = np.zeros((2, 3, 3, 3), dtype=np.float32)

    found = compare(ours, theirs, NAMES, (maps, maps - np.float32(0.25)))

    assert (found.disagreeing, found.voxels) == (5, 0.995)
    assert found.dice == {"a": pytest.approx(2 * 395 / 795), "b": 1.0}
    assert (found.largest_difference, found.largest_value) == (0.25, 0.25)
    assert not found.same
    assert compare(ours, ours, NAMES).same


def test_one_small_label_decides_though_nearly_all_voxels_agree() -> None:
    ours = np.zeros((40, 40, 40), dtype=np.uint8)
    ours[0, 0, :2] = 3
    theirs = ours.copy()
    theirs[0, 0, 0] = 0

    found = compare(ours, theirs, NAMES)

    assert found.voxels > 0.9999
    assert not found.same


def test_other_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match="have shapes"):
        compare(np.zeros((2, 2, 2), dtype=np.uint8), np.zeros((2, 2, 3), dtype=np.uint8), NAMES)
