"""Sums over class maps are those of the softmax at every voxel; surfaces are counted once for each side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from npc_contour.core.class_doubts import AREA, MISSING, WRONG, sum_doubts

SPACING = (3.0, 2.0, 1.0)
INNER = ((1, 11), (0, 12), (2, 14))


def maps(seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Smooth enough in x to have an inside: (12, 13, 16, 4) logits and their largest class."""
    rng = np.random.default_rng(seed)
    logits = np.repeat(rng.normal(0.0, 2.0, (12, 13, 4, 4)), 4, axis=2).astype(np.float32)
    return logits, logits.argmax(axis=3).astype(np.uint8)


def inner(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    (z0, z1), (y0, y1), (x0, x1) = INNER
    return array[z0:z1, y0:y1, x0:x1]


def test_sums_are_those_of_the_softmax() -> None:
    """Every voxel of these maps lies at a surface, so none is passed over."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0.0, 2.0, (12, 13, 16, 4)).astype(np.float32)
    labels = (np.indices(logits.shape[:3]).sum(axis=0) % 4).astype(np.uint8)
    np.put_along_axis(logits, labels[..., np.newaxis].astype(np.int64), logits.max(axis=3, keepdims=True) + 0.1, axis=3)
    shares, own = inner(special.softmax(logits, axis=3)), inner(labels)

    found = sum_doubts(logits, labels, INNER, SPACING, 0, 12)

    wrong = [6.0 * (1.0 - shares[own == label, label]).sum() for label in range(4)]
    missing = [6.0 * shares[own != label, label].sum() for label in range(4)]
    np.testing.assert_allclose(found[:, WRONG], wrong, rtol=0.01)
    np.testing.assert_allclose(found[:, MISSING], missing, rtol=0.01)


def test_one_voxel_in_four_stands_for_the_inside() -> None:
    logits = np.zeros((8, 40, 40, 2), np.float32)
    logits[..., 1] = 1.0
    labels = np.ones(logits.shape[:3], np.uint8)

    found = sum_doubts(logits, labels, ((0, 8), (0, 40), (0, 40)), (1.0, 1.0, 1.0), 0, 8)

    faint = 1.0 / (1.0 + np.e)
    np.testing.assert_allclose(found, [[0.0, faint * labels.size, 0.0], [faint * labels.size, 0.0, 0.0]], rtol=1e-5)


def test_surface_of_a_box_is_its_faces() -> None:
    labels = np.zeros((12, 13, 16), np.uint8)
    labels[3:7, 4:9, 5:12] = 1
    logits = np.where(labels[..., np.newaxis] == np.arange(2), 20.0, 0.0).astype(np.float32)

    found = sum_doubts(logits, labels, INNER, SPACING, 0, 12)

    z, y, x = 4 * 3.0, 5 * 2.0, 7 * 1.0
    assert found[:, AREA] == pytest.approx(2.0 * (z * y + y * x + z * x))
    assert not found[:, :AREA].any()


def test_stretches_add_up() -> None:
    logits, labels = maps(2)

    whole = sum_doubts(logits, labels, INNER, SPACING, 0, 12)

    parts = sum(sum_doubts(logits, labels, INNER, SPACING, first, first + 3) for first in range(0, 12, 3))
    np.testing.assert_allclose(parts, whole)
