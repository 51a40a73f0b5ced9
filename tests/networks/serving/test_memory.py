"""What a volume takes stays within what is stated, and class maps do not grow with the number of slices."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_networks.serving.memory import segment_peak_bytes
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

Shape = tuple[int, int, int]
GIB = 2**30


class Zeros:
    """A network that answers zeros, a new array each time."""

    def __init__(self, contract: NetworkContract) -> None:
        self._shape = (*contract.patch_zyx, contract.outputs)

    def predict(self, windows: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        for _ in windows:
            yield np.zeros(self._shape, dtype=np.float32)


def contract_of(tmp_path: Path, classes: int, patch: Shape, spacing: Vec3 = (3.0, 1.0, 1.0)) -> NetworkContract:
    contract = write_tiny_network(tmp_path, TinyNetwork(channels=2, patch_zyx=patch, spacing_zyx_mm=spacing))
    return replace(contract, labels=tuple(f"label {index}" for index in range(classes)))


def peak_bytes(contract: NetworkContract, shape: Shape, spacing: Vec3) -> int:
    """Return the most that numpy held at once, the volume included."""
    segmenter = VolumeSegmenter(contract, Zeros(contract))
    segmenter.segment(np.full((2, 2, *shape[1:]), 40, dtype=np.int16), spacing)  # kernels and bands
    tracemalloc.start()
    try:
        volume = np.full((2, *shape), 40, dtype=np.int16)
        segmenter.segment(volume, spacing, crossings=np.zeros((2, *shape), dtype=np.uint8))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("classes", "patch", "shape", "spacing"),
    [
        (55, (28, 56, 56), (60, 192, 192), (3.0, 1.0, 1.0)),
        (3, (16, 32, 32), (80, 192, 192), (1.5, 0.5, 0.5)),
        (12, (32, 32, 32), (40, 200, 160), (3.0, 2.0, 2.0)),
    ],
)
def test_peak_stays_within_what_is_stated(
    tmp_path: Path, classes: int, patch: Shape, shape: Shape, spacing: Vec3
) -> None:
    contract = contract_of(tmp_path, classes, patch)

    found = peak_bytes(contract, shape, spacing)

    stated = segment_peak_bytes(contract, shape, spacing)
    assert found <= stated
    # A bound that is far off would tell nobody how much memory to buy.
    assert stated <= 1.5 * found


def test_class_maps_do_not_grow_with_slices(tmp_path: Path) -> None:
    contract = contract_of(tmp_path, 55, (28, 56, 56))
    few, many = (peak_bytes(contract, (slices, 96, 96), (3.0, 1.0, 1.0)) for slices in (60, 240))

    # Volume, labels, crossings and the image: 15 bytes for a voxel more; 55 class maps would be 220.
    assert many - few <= 1.1 * 15 * 180 * 96 * 96


def test_planning_grid_of_1024_with_55_classes(tmp_path: Path) -> None:
    """The size that docs/inference.md states: SegRap2023's plan on a field of view of 1024 x 1024 x 200."""
    contract = contract_of(tmp_path, 55, (28, 224, 224), spacing=(3.0, 0.5429, 0.5429))

    stated = segment_peak_bytes(contract, (200, 1024, 1024), (3.0, 0.5429, 0.5429))

    assert stated / GIB == pytest.approx(10.1, abs=0.05)
    assert stated < 0.25 * 4 * 55 * 200 * 1024 * 1024
