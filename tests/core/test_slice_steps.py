"""A whole slice that is shifted in value is found; anatomy that begins and ends is none."""

from __future__ import annotations

import numpy as np

from npc_contour.core.slice_steps import value_step


def patient() -> np.ndarray[tuple[int, int, int], np.dtype[np.int16]]:
    """A body of 40 HU, wider from slice to slice, that ends before the last one; air around it, with noise."""
    hu = np.full((12, 64, 64), -1000)
    for k in range(11):
        hu[k, 20 - k : 44 + k, 20 - k : 44 + k] = 40
    noisy = hu + np.random.default_rng(3).normal(0.0, 10.0, hu.shape)
    return noisy.astype(np.int16)


def test_slices_of_one_scale_have_no_step() -> None:
    assert value_step(patient()) is None


def test_slice_with_another_intercept_is_found() -> None:
    hu = patient()
    hu[7] += 1024

    found = value_step(hu)

    assert found is not None
    assert found[0] == 7
    assert abs(found[1] - 1024) < 30
