"""At every voxel of the planning grid stands what the network says, whatever the crop, padding and windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from npc_contour.core.class_doubts import AREA, COLUMNS, sum_doubts
from npc_contour.core.crossings import STEPS, fractions_of
from npc_contour.core.resampling import resample
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import LargestComponent, NetworkContract, Regions
from npc_networks.serving.engines import OpenVinoEngine, WeightsError
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.serving.preparation import VolumeRefused
from npc_testkit.crossings import crossings_of
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

Int16Array = npt.NDArray[np.int16]


def segmenter(tmp_path: Path, network: TinyNetwork) -> VolumeSegmenter:
    contract = write_tiny_network(tmp_path, network)
    return VolumeSegmenter(contract, OpenVinoEngine(contract, tmp_path / network.name / contract.weights_file))


def blocks(shape: tuple[int, ...], seed: int = 0) -> Int16Array:
    """Noise of -500 or 500 HU: no voxel is near the threshold of 100 HU."""
    return np.where(np.random.default_rng(seed).random(shape) < 0.5, -500, 500).astype(np.int16)


@pytest.mark.parametrize("shape", [(16, 32, 32), (40, 70, 61), (5, 20, 90), (33, 32, 32)])
def test_equals_the_closed_form_on_the_networks_own_grid(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    volume = blocks((1, *shape))

    labels = segmenter(tmp_path, TinyNetwork()).segment(volume, (3.0, 1.0, 1.0))

    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, volume[0] > 100)


@pytest.mark.parametrize("spacing", [(3.0, 0.5, 0.5), (2.0, 1.3, 0.7), (6.0, 2.0, 2.0)])
def test_other_spacing_equals_resampling_and_argmax_by_the_book(tmp_path: Path, spacing: Vec3) -> None:
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.normal(size=(30, 50, 45)), 2.5)
    volume = (smooth / smooth.std() * 300).astype(np.int16)[np.newaxis]

    labels = segmenter(tmp_path, TinyNetwork()).segment(volume, spacing)

    coarse = tuple(round(n * a / b) for n, a, b in zip(volume.shape[1:], spacing, (3.0, 1.0, 1.0), strict=True))
    hu = np.clip(resample(volume[0], (coarse[0], coarse[1], coarse[2]), order=3), -1000, 1000)
    zoom = [wanted / size for wanted, size in zip(volume.shape[1:], coarse, strict=True)]
    logit = ndimage.zoom(hu, zoom, order=1, mode="nearest", grid_mode=True)
    clear = np.abs(logit - 100) > 3  # bfloat16 keeps three digits
    np.testing.assert_array_equal(labels[clear], (logit > 100)[clear])
    assert clear.mean() > 0.97


@pytest.mark.parametrize("transpose", [(0, 1, 2), (0, 2, 1)])
def test_crossings_lie_where_the_networks_field_is_zero(tmp_path: Path, transpose: tuple[int, int, int]) -> None:
    """On the network's own grid nothing is interpolated: the field is the HU above the threshold."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(20, 40, 45)), 2.5)
    volume = (smooth / smooth.std() * 300).astype(np.int16)
    contract = write_tiny_network(tmp_path, TinyNetwork())
    crossings = np.zeros((2, *volume.shape), dtype=np.uint8)

    VolumeSegmenter(replace(contract, transpose=transpose), _Threshold100()).segment(
        volume[np.newaxis], (3.0, 1.0, 1.0), crossings=crossings
    )

    expected = fractions_of(crossings_of(np.clip(volume, -1000, 1000) - 100.001))
    np.testing.assert_allclose(fractions_of(crossings), expected, atol=1.01 / STEPS)


class _Threshold100:
    """Label 1 above 100 HU, in float32."""

    def predict(self, windows: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for window in windows:
            yield np.stack([np.full_like(window[0], 1.00001), window[0]], axis=-1)


def test_crop_changes_nothing_inside_the_body_and_leaves_background_outside(tmp_path: Path) -> None:
    volume = np.full((1, 40, 80, 80), -1000, dtype=np.int16)
    volume[0, 10:30, 20:60, 15:70] = blocks((20, 40, 55))
    volume[0, 10:30, 20:60, 15:70].flat[[0, -1]] = 500

    labels = segmenter(tmp_path, TinyNetwork(crop_above_hu=200.0, crop_margin_mm=4.0)).segment(volume, (3.0, 1.0, 1.0))

    np.testing.assert_array_equal(labels, volume[0] > 100)


def test_each_channel_reaches_its_own_input(tmp_path: Path) -> None:
    volume = np.concatenate([blocks((1, 20, 40, 40), 1), blocks((1, 20, 40, 40), 2)])

    labels = segmenter(tmp_path, TinyNetwork(channels=2, channel_of_label=1)).segment(volume, (3.0, 1.0, 1.0))

    np.testing.assert_array_equal(labels, volume[1] > 100)


def test_progress_counts_every_window(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    segmenter(tmp_path, TinyNetwork()).segment(
        blocks((1, 32, 64, 32)), (3.0, 1.0, 1.0), lambda done, total: seen.append((done, total))
    )

    assert seen == [(done, 9) for done in range(10)]


@pytest.mark.parametrize(
    ("volume", "spacing", "message"),
    [
        (np.zeros((2, 4, 4, 4), np.int16), (1.0, 1.0, 1.0), r"takes 1 channels \(CT 0\).*found shape \(2, 4, 4, 4\)"),
        (np.zeros((4, 4, 4), np.int16), (1.0, 1.0, 1.0), "found shape"),
        (np.zeros((1, 0, 4, 4), np.int16), (1.0, 1.0, 1.0), "empty"),
        (np.zeros((1, 4, 4, 4), np.float32), (1.0, 1.0, 1.0), "int16 HU, found float32"),
        (np.zeros((1, 4, 4, 4), np.int16), (1.0, 0.0, 1.0), r"spacing must be positive, found \(1\.0, 0\.0, 1\.0\)"),
        (np.zeros((1, 4, 4, 4), np.int16), (1.0, float("nan"), 1.0), "spacing must be positive"),
        (np.full((1, 4, 4, 4), -1000, np.int16), (1.0, 1.0, 1.0), r"no voxel above -400 HU .*largest -1000 HU"),
    ],
)
def test_what_the_network_cannot_take_is_refused(
    tmp_path: Path, volume: Int16Array, spacing: Vec3, message: str
) -> None:
    with pytest.raises(VolumeRefused, match=message):
        segmenter(tmp_path, TinyNetwork(crop_above_hu=-400.0)).segment(volume, spacing)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())
    weights = tmp_path / "tiny" / contract.weights_file
    weights.write_bytes(weights.read_bytes() + b"\0")

    with pytest.raises(WeightsError, match=f"the contract says {contract.weights_sha256}"):
        OpenVinoEngine(contract, weights)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())

    with pytest.raises(WeightsError, match="missing"):
        OpenVinoEngine(contract, tmp_path / "tiny" / "1" / "other.onnx")


def test_weights_with_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork(classes=3))

    with pytest.raises(WeightsError, match=r"\[1, 3, 16, 32, 32\], the contract says \[1, 2, 16, 32, 32\]"):
        OpenVinoEngine(replace(contract, labels=contract.labels[:2]), tmp_path / "tiny" / contract.weights_file)


class _Rough:
    """Answers each window with itself at three strengths: classes are in doubt everywhere."""

    def predict(self, windows: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for window in windows:
            yield np.stack([np.zeros_like(window[0]), window[0], 1.5 * window[0] - 1.0], axis=-1)


def test_doubts_put_together_plane_by_plane_are_those_of_the_whole_maps(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork(classes=3))
    volume = (ndimage.gaussian_filter(np.random.default_rng(7).normal(size=(1, 45, 50, 40)), 2.0) * 9000).astype(
        np.int16
    )
    doubts = np.zeros((3, COLUMNS))

    VolumeSegmenter(contract, _Rough()).segment(volume, (3.0, 1.0, 1.0), doubts=doubts)

    maps = np.moveaxis(VolumeSegmenter(contract, _Rough()).class_maps(volume, (3.0, 1.0, 1.0)), 0, -1)
    depth, rows, columns = maps.shape[:3]
    inner = (0, depth), (0, rows), (0, columns)
    labels = maps.argmax(axis=-1).astype(np.uint8)
    expected = sum_doubts(np.ascontiguousarray(maps), labels, inner, contract.spacing_zyx_mm, 0, depth)
    np.testing.assert_allclose(doubts[:, AREA], expected[:, AREA])
    np.testing.assert_allclose(doubts, expected, rtol=0.05)
    assert doubts.min() > 0


class BrokenEngine:
    def __init__(self, contract: NetworkContract) -> None:
        self._shape = (*contract.patch_zyx, len(contract.labels))

    def predict(self, windows: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for _ in windows:
            yield np.full(self._shape, np.nan, dtype=np.float32)


def test_an_answer_that_is_not_a_number_is_an_error_not_background(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork())

    with pytest.raises(ArithmeticError, match="not a number"):
        VolumeSegmenter(contract, BrokenEngine(contract)).segment(blocks((1, 16, 32, 32)), (3.0, 1.0, 1.0))


def test_nonzero_crop_leaves_background_outside_and_refuses_an_empty_volume(tmp_path: Path) -> None:
    contract = replace(write_tiny_network(tmp_path, TinyNetwork()), crop_nonzero=True)
    cropping = VolumeSegmenter(contract, OpenVinoEngine(contract, tmp_path / "tiny" / contract.weights_file))
    volume = np.zeros((1, 40, 80, 80), dtype=np.int16)
    volume[0, 10:30, 20:60, 15:70] = blocks((20, 40, 55))

    np.testing.assert_array_equal(cropping.segment(volume, (3.0, 1.0, 1.0)), volume[0] > 100)
    with pytest.raises(VolumeRefused, match="every voxel is zero"):
        cropping.segment(np.zeros_like(volume), (3.0, 1.0, 1.0))


class ThresholdsEngine:
    """Two regions: where the input is above -0.5 and where it is above 0.5 (in hundreds of HU)."""

    def predict(self, windows: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for window in windows:
            yield np.stack([window[0] + 0.5, window[0] - 0.5], axis=-1)


def test_regions_write_their_labels_in_order_and_pieces_are_dropped_after(tmp_path: Path) -> None:
    contract = replace(
        write_tiny_network(tmp_path, TinyNetwork(classes=3)),
        regions=Regions((2, 1), 0.0),
        keep_largest=(LargestComponent((1,), corners=True),),
    )
    volume = np.full((1, 16, 40, 40), -500, dtype=np.int16)
    volume[0, 2:12, 5:30, 5:30] = 0
    volume[0, 4:8, 8:20, 8:20] = 500
    volume[0, 14, 35, 35] = 500

    labels = VolumeSegmenter(contract, ThresholdsEngine()).segment(volume, (3.0, 1.0, 1.0))

    expected = np.select([volume[0] == 500, volume[0] == 0], [1, 2], 0)
    expected[14, 35, 35] = 0
    np.testing.assert_array_equal(labels, expected)
