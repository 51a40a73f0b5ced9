"""Pieces found from runs are those that a labelling of all voxels finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from npc_contour.core.components import components_of


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 9), (7, 9, 11), (12, 30, 20)])
def test_sizes_boxes_and_centres_are_those_of_labelled_voxels(shape: tuple[int, int, int], share: float) -> None:
    mask = np.random.default_rng(shape[1]).random(shape) <= share
    mask[0, 0, 0] = mask[-1, -1, -1] = True
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    found = components_of(mask)

    assert sorted(found.sizes) == sorted(np.bincount(labels.ravel())[1:])
    for number in range(count):
        inside, first = found.box([number])
        voxels = np.argwhere(inside) + first
        piece = np.argwhere(labels == labels[tuple(voxels[0])])
        assert voxels.tolist() == piece.tolist()
        assert found.centre_zyx(number) == pytest.approx(piece.mean(axis=0))


def test_several_pieces_share_one_box() -> None:
    mask = np.zeros((5, 5, 9), dtype=np.bool_)
    mask[1, 1, 1:3] = mask[3, 2, 5:8] = mask[4, 4, 0] = True
    found = components_of(mask)
    large = [number for number, size in enumerate(found.sizes) if size > 1]
    inside, first = found.box(large)

    assert (inside.shape, first, int(inside.sum())) == ((3, 2, 7), (1, 1, 1), 5)
