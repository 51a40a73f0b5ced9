"""Of the labels named only the largest piece stays, others are untouched; pieces touch as nnU-Net v1 or v2 has it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.pipelines import LargestComponent
from npc_networks.serving.components import keep_largest


def _scattered(seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(20, 24, 22)), 1.2)
    return np.asarray(np.digitize(noise / noise.std(), [0.6, 1.2]), dtype=np.uint8)


def _by_the_book(labels: npt.NDArray[np.uint8], rule: LargestComponent) -> npt.NDArray[np.uint8]:
    """Version 1's rule, object by object, over the whole volume."""
    mask = np.isin(labels, rule.labels)
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)) if rule.corners else None)
    sizes = [(pieces == piece).sum() for piece in range(1, count + 1)]
    kept = labels.copy()
    for piece, size in enumerate(sizes, 1):
        if size != max(sizes) and (rule.spare_mm3 is None or size * 3.0 < rule.spare_mm3):
            kept[pieces == piece] = 0
    return kept


def test_rules_are_nnunets() -> None:
    for rule in (
        LargestComponent((1,), corners=False),
        LargestComponent((1, 2), corners=True),
        LargestComponent((2,), corners=False, spare_mm3=30.0),
    ):
        labels = _scattered()
        expected = _by_the_book(labels, rule)

        keep_largest(labels, [rule], (3.0, 1.0, 1.0))

        np.testing.assert_array_equal(labels, expected)
        assert not np.array_equal(labels, _scattered())


def test_rules_follow_each_other_and_absent_labels_are_no_error() -> None:
    labels = np.zeros((1, 1, 9), dtype=np.uint8)
    labels[0, 0] = [1, 1, 2, 0, 2, 2, 2, 0, 1]

    keep_largest(labels, [LargestComponent((1, 2), corners=True), LargestComponent((7,), corners=True)], (1, 1, 1))

    assert labels[0, 0].tolist() == [1, 1, 2, 0, 2, 2, 2, 0, 0]
