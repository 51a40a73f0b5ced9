"""Windows lie and weigh as nnU-Net's, cover every voxel, and together change nothing that they all agree on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from npc_contour.core.tiling import axis_tiles, blend_rows, gaussian_profile, window_starts


@pytest.mark.parametrize(
    ("size", "patch", "step", "starts"),
    [
        (167, 96, 0.5, (0, 36, 71)),  # computed by nnU-Net 2.8.1; MONAI has (0, 48, 71)
        (96, 96, 0.5, (0,)),
        (97, 96, 0.5, (0, 1)),
        (1024, 224, 0.5, (0, 100, 200, 300, 400, 500, 600, 700, 800)),
    ],
)
def test_windows_are_spread_evenly(size: int, patch: int, step: float, starts: tuple[int, ...]) -> None:
    assert window_starts(size, patch, step) == starts


@given(patch=st.integers(10, 64), extra=st.integers(0, 300), step=st.floats(0.1, 1.0))
def test_windows_cover_the_axis(patch: int, extra: int, step: float) -> None:
    starts = window_starts(patch + extra, patch, step)

    assert starts[0] == 0
    assert starts[-1] == extra
    assert all(0 < after - before <= max(1, round(patch * step) + 1) for before, after in itertools.pairwise(starts))


def test_axis_below_the_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="95 voxels is shorter than the patch of 96"):
        window_starts(95, 96, 0.5)


@pytest.mark.parametrize("step", [0.0, 1.1])
def test_step_outside_its_range_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match="step"):
        window_starts(100, 96, step)


@pytest.mark.parametrize("patch", [16, 27, 96])
def test_importance_is_nnunets_gaussian(patch: int) -> None:
    impulse = np.zeros((patch, patch))
    impulse[patch // 2, patch // 2] = 1.0
    plane = ndimage.gaussian_filter(impulse, patch / 8, mode="constant", cval=0)
    plane /= plane.max()

    profile = gaussian_profile(patch)

    assert profile.min() > 0
    np.testing.assert_allclose(np.outer(profile, profile), plane, atol=1e-6)


@given(patch=st.integers(2, 48), extra=st.integers(0, 150), step=st.floats(0.25, 1.0))
def test_weights_at_every_voxel_sum_to_one(patch: int, extra: int, step: float) -> None:
    tiles = axis_tiles(patch + extra, patch, step)

    total = np.zeros(tiles.size)
    for start, weights in zip(tiles.starts, tiles.weights, strict=True):
        total[start : start + patch] += weights
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_blending_equals_nnunets_weighted_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape, patch, classes = (13, 17, 11), (6, 8, 5), 3
    tiles = [axis_tiles(size, length, 0.5) for size, length in zip(shape, patch, strict=True)]
    profiles = [gaussian_profile(length) for length in patch]
    importance = np.einsum("z,y,x->zyx", *profiles)[..., np.newaxis].astype(float)
    slab = np.zeros((*shape, classes), dtype=np.float32)
    total, weight = np.zeros((*shape, classes)), np.zeros((*shape, 1))

    for numbers in itertools.product(*(range(len(axis.starts)) for axis in tiles)):
        corner = tuple(axis.starts[number] for axis, number in zip(tiles, numbers, strict=True))
        logits = rng.normal(size=(*patch, classes)).astype(np.float32)
        z, y, x = (axis.weights[number] for axis, number in zip(tiles, numbers, strict=True))
        blend_rows(slab, logits, (corner[0], corner[1], corner[2]), (z, y, x), 0, 2)
        blend_rows(slab, logits, (corner[0], corner[1], corner[2]), (z, y, x), 2, patch[0])
        box = tuple(slice(start, start + length) for start, length in zip(corner, patch, strict=True))
        total[box] += importance * logits
        weight[box] += importance

    np.testing.assert_allclose(slab, total / weight, atol=1e-5)


def test_slab_is_a_ring() -> None:
    slab = np.zeros((3, 2, 2, 1), dtype=np.float32)
    ones = np.ones(2, dtype=np.float32)

    blend_rows(slab, np.ones((2, 2, 2, 1), dtype=np.float32), (5, 0, 0), (ones, ones, ones), 0, 2)

    assert slab[:, 0, 0, 0].tolist() == [1.0, 0.0, 1.0]
