"""Channels are prepared as nnU-Net v1 and v2 prepare them: scheme, order of the steps, thick slices, order of axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from skimage.transform import resize

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import Normalisation
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.serving.preparation import (
    VolumeRefused,
    nearest_index,
    nearest_lookup,
    prepare_channel,
    thick_axis,
)
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

CT = Normalisation((-200.0, 300.0), 40.0, 90.0)
ZSCORE = Normalisation((-np.inf, np.inf), 0.0, 1.0, "zscore")
SHAPE, TARGET = (9, 22, 26), (6, 15, 19)
FloatArray = npt.NDArray[np.float64]


def _volume() -> npt.NDArray[np.int16]:
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=SHAPE), 1.5)
    return np.asarray(noise / noise.std() * 300, dtype=np.int16)


def _by_the_book(volume: FloatArray, thick: int | None) -> FloatArray:
    """nnU-Net's resampling of data: scikit-image in three dimensions, or plane by plane and nearest between."""
    if thick is None:
        return np.asarray(resize(volume, TARGET, order=3, mode="edge", anti_aliasing=False))
    inside = [n for axis, n in enumerate(TARGET) if axis != thick]
    planes = [resize(p, inside, order=3, mode="edge", anti_aliasing=False) for p in np.moveaxis(volume, thick, 0)]
    stack = np.stack(planes)
    scale = len(stack) / TARGET[thick]
    grid = np.indices((TARGET[thick], *inside)).astype(np.float64)
    grid[0] = scale * (grid[0] + 0.5) - 0.5
    return np.asarray(np.moveaxis(ndimage.map_coordinates(stack, grid, order=0, mode="nearest"), 0, thick))


def _ct(values: FloatArray) -> FloatArray:
    return (np.clip(values, *CT.clip_hu) - CT.mean_hu) / CT.std_hu


def _zscore(values: FloatArray) -> FloatArray:
    return np.asarray((values - values.mean()) / (values.std() + 1e-8))


@pytest.mark.parametrize("thick", [None, 0, 2])
@pytest.mark.parametrize(("how", "norm"), [(CT, _ct), (ZSCORE, _zscore)])
@pytest.mark.parametrize("normalise_first", [True, False])
def test_equals_nnunets_steps_in_their_order(
    thick: int | None,
    how: Normalisation,
    norm: type,
    normalise_first: bool,  # noqa: FBT001
) -> None:
    volume = _volume().astype(np.float64)
    expected = _by_the_book(norm(volume), thick) if normalise_first else norm(_by_the_book(volume, thick))

    found = prepare_channel(_volume(), TARGET, how, normalise_first=normalise_first, thick=thick)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=3e-5)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((3.0, 0.5, 0.5), (3.0, 0.54, 0.54), 0),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 4.0), 2),
        ((3.0, 1.0, 1.0), (3.0, 1.0, 1.0), None),
        ((4.0, 4.0, 1.0), (5.0, 1.0, 1.0), None),
    ],
)
def test_which_axis_is_thick(spacing: Vec3, target: Vec3, axis: int | None) -> None:
    assert thick_axis(spacing, target) == axis


def test_a_constant_channel_becomes_zero() -> None:
    constant = np.full(SHAPE, 77, dtype=np.int16)

    assert not prepare_channel(constant, TARGET, ZSCORE, normalise_first=False, thick=None).any()


def test_nearest_lookup_copies() -> None:
    lookup = nearest_lookup(3, 6)

    np.testing.assert_array_equal(lookup.lower, [0, 0, 1, 1, 2, 2])
    assert not lookup.fraction.any()
    np.testing.assert_array_equal(nearest_index(6, 3), [1, 3, 5])


class _Threshold:
    """Label 1 where the first channel is above zero."""

    def predict(self, windows: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for window in windows:
            yield np.stack([np.zeros_like(window[0]), window[0]], axis=-1)


def test_axes_in_another_order_give_the_same_answer_turned_back(tmp_path: Path) -> None:
    network = TinyNetwork(patch_zyx=(8, 16, 12), spacing_zyx_mm=(2.0, 1.0, 1.5), threshold_hu=0.0)
    contract = write_tiny_network(tmp_path, network)
    turned = replace(contract, transpose=(2, 0, 1))
    volume = _volume()[np.newaxis]

    labels = VolumeSegmenter(turned, _Threshold()).segment(volume, (1.0, 1.1, 2.2))

    # In the network's order the axes are x, z, y.
    expected = VolumeSegmenter(contract, _Threshold()).segment(
        np.ascontiguousarray(volume.transpose(0, 3, 1, 2)), (2.2, 1.0, 1.1)
    )
    assert labels.shape == SHAPE
    np.testing.assert_array_equal(labels.transpose(2, 0, 1), expected)
    assert 0.2 < labels.mean() < 0.8


@pytest.mark.parametrize("flipped", [(1, 2), (0,)])
def test_axes_the_other_way_round_give_the_answer_of_the_turned_volume(
    tmp_path: Path, flipped: tuple[int, ...]
) -> None:
    """Windows do not lie alike from both ends of a volume, so all of it is turned."""
    network = TinyNetwork(patch_zyx=(8, 16, 12), spacing_zyx_mm=(2.0, 1.0, 1.5), threshold_hu=0.0)
    contract = write_tiny_network(tmp_path, network)
    volume = _volume()[np.newaxis]

    labels = VolumeSegmenter(replace(contract, flipped_zyx=flipped), _Threshold()).segment(volume, (1.1, 1.0, 2.2))

    there = np.ascontiguousarray(np.flip(volume, tuple(axis + 1 for axis in flipped)))
    expected = VolumeSegmenter(contract, _Threshold()).segment(there, (1.1, 1.0, 2.2))
    np.testing.assert_array_equal(np.flip(labels, flipped), expected)
    assert 0.2 < labels.mean() < 0.8


def test_labels_of_thick_slices_are_copied_between_them(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork(spacing_zyx_mm=(4.0, 1.0, 1.0), patch_zyx=(4, 16, 16)))
    volume = np.where(np.arange(8) < 4, -500, 500).astype(np.int16)[np.newaxis, :, np.newaxis, np.newaxis]
    volume = np.ascontiguousarray(np.broadcast_to(volume, (1, 8, 16, 16)))
    separate = replace(contract, separate_z=True)

    labels = VolumeSegmenter(separate, _Threshold()).segment(volume, (2.0, 1.0, 1.0))

    np.testing.assert_array_equal(labels, volume[0] > 0)


def _framed() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Return a volume that is zero around a box, and the box."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:8, 3:20, 2:22] = True
    return np.where(mask, _volume() + 700, 0).astype(np.int16), mask


def test_masked_statistics_come_from_the_mask_and_outside_is_zero() -> None:
    volume, mask = _framed()
    inside = volume[mask].astype(np.float64)
    expected = np.where(mask, (volume - inside.mean()) / (inside.std() + 1e-8), 0.0)

    found = prepare_channel(volume, SHAPE, replace(ZSCORE, masked=True), normalise_first=True, thick=None, mask=mask)

    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_version_1_resamples_the_mask_and_takes_half_a_voxel_of_it() -> None:
    volume, mask = _framed()
    values = _by_the_book(volume.astype(np.float64), None)
    half = resize(mask.astype(np.float64), TARGET, order=1, mode="edge", anti_aliasing=False) >= 0.5
    expected = np.where(half, (values - values[half].mean()) / (values[half].std() + 1e-8), 0.0)

    found = prepare_channel(volume, TARGET, replace(ZSCORE, masked=True), normalise_first=False, thick=None, mask=mask)

    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert not half.all()


def test_other_schemes_are_nnunets() -> None:
    volume = _volume()
    inside = volume[(volume > -200) & (volume < 300)].astype(np.float64)
    clipped = (np.clip(volume, -200.0, 300.0) - inside.mean()) / inside.std()
    positive = np.clip(volume, 0, 255).astype(np.int16)
    for how, given, expected in (
        (Normalisation((-200.0, 300.0), 0.0, 1.0, "clipped_zscore"), volume, clipped),
        (replace(ZSCORE, scheme="rescale01"), volume, (volume - volume.min()) / (volume.max() - float(volume.min()))),
        (replace(ZSCORE, scheme="rgb01"), positive, positive / 255.0),
    ):
        found = prepare_channel(given, SHAPE, how, normalise_first=True, thick=None)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_values_that_are_no_colours_are_refused() -> None:
    with pytest.raises(VolumeRefused, match="takes values from 0 to 255, found -"):
        prepare_channel(_volume(), SHAPE, replace(ZSCORE, scheme="rgb01"), normalise_first=True, thick=None)
