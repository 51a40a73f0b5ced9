"""A cached phantom is the rendered one, and on a network's grid image and labels still lie on each other."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from npc_networks.networks import NETWORKS
from npc_networks.phantom_data import Scan, ScanCache, cropped, on_network_grid

SPACING_MM = (4.0, 1.5, 1.5)


def _scan(seed: int = 5) -> Scan:
    """Return air with a block of water that carries the labels."""
    hu = np.full((2, 12, 60, 64), -1000, np.int16)
    block = np.zeros((12, 60, 64), np.uint8)
    block[4:9, 20:40, 24:44] = 1
    hu[:, block > 0] = 0
    return Scan(seed, hu, {"oar": 3 * block, "gtv": block, "ln": 2 * block}, SPACING_MM)


def test_body_is_cut_out_with_a_margin() -> None:
    small = cropped(_scan())

    # 10 mm: 3 slices, and 7 voxels in plane.
    assert small.images.shape == (2, 11, 34, 34)
    assert {name: volume.shape for name, volume in small.labels.items()} == dict.fromkeys(
        ("oar", "gtv", "ln"), (11, 34, 34)
    )


def test_cache_renders_once_and_gives_back_the_same(tmp_path: Path) -> None:
    rendered: list[int] = []

    def render(kind: str, seed: int) -> Scan:
        assert kind == "npc"
        rendered.append(seed)
        return _scan(seed)

    cache = ScanCache(tmp_path / "cache", "npc", render)
    first, second = cache.scan(5), cache.scan(5)

    assert rendered == [5]
    assert cache.has(5)
    assert not cache.has(6)
    np.testing.assert_array_equal(first.images, cropped(_scan()).images)
    np.testing.assert_array_equal(first.images, second.images)
    assert second.spacing_zyx_mm == SPACING_MM
    np.testing.assert_array_equal(second.labels["ln"], first.labels["ln"])
    assert [path.name for path in (tmp_path / "cache" / "npc").iterdir()] == ["phantom_00005.npz"]


def test_labels_stay_on_the_image_at_another_spacing() -> None:
    spec = replace(NETWORKS["npc_oar"], spacing_zyx_mm=(2.0, 2.0, 2.0))

    case = on_network_grid(cropped(_scan()), spec)

    assert case.labels.shape == case.images.shape[1:] == (22, 26, 26)
    assert set(np.unique(case.labels)) == {0, 3}
    water = case.images[0] > -500
    overlap = 2 * (water & (case.labels == 3)).sum() / (water.sum() + (case.labels == 3).sum())
    assert overlap > 0.97
