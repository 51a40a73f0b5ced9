"""Two T1 series side by side tell which shows contrast, in any scale; what differs more says nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npc_contour.core.enhancement import compare_brightness
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import Contrast
from npc_contour.domain.volumes import Volume

AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
GRID = Grid((12, 64, 64), (4.0, 2.0, 2.0), (0.0, 0.0, 0.0), AXES, "1.2.3")


def head(*, glands: float = 1.0, fat: float = 2.5, scale: float = 400.0, grid: Grid = GRID, seed: int = 1) -> Volume:
    """A head of muscle, with fat around it and some glands in it, in any scale."""
    places = zip(grid.shape_zyx, grid.spacing_zyx_mm, grid.origin_lps_mm[::-1], strict=True)
    z, y, x = np.meshgrid(*(start + np.arange(count) * mm for count, mm, start in places), indexing="ij")
    away = np.hypot(x - 63, y - 63)
    values = np.where(away < 52, 1.0, 0.0)
    values[(away < 52) & (away > 42)] = fat
    values[(np.hypot(x - 45, y - 63) < 12) & (z > 6) & (z < 40)] = glands
    noisy = values * scale * np.random.default_rng(seed).normal(1.0, 0.05, values.shape)
    slices = grid.shape_zyx[0]
    positions = np.array([[0.0, 0.0, k * grid.spacing_zyx_mm[0]] for k in range(slices)])
    return Volume(noisy.astype(np.int16), grid, tuple(f"1.2.{k}" for k in range(slices)), positions, "MR")


@pytest.mark.parametrize("scale", [100.0, 400.0, 3000.0])
def test_series_with_the_agent_is_the_one_whose_glands_shine(scale: float) -> None:
    plain, enhanced = head(), head(glands=1.8, scale=scale, seed=2)

    found, turned = compare_brightness(enhanced, plain), compare_brightness(plain, enhanced)

    assert found is not None
    assert turned is not None
    assert (found.says, turned.says) == (Contrast.PRESENT, Contrast.ABSENT)
    told = found.evidence("'after'", "'before'")
    assert told is not None
    assert [one.says for one in told] == [Contrast.PRESENT, Contrast.ABSENT]
    assert "brighter than in 'before'" in told[0].text


def test_series_with_other_slices_is_compared_in_place() -> None:
    coarse = replace(GRID, shape_zyx=(9, 60, 64), spacing_zyx_mm=(5.0, 2.0, 2.0), origin_lps_mm=(0.0, 4.0, 2.0))

    found = compare_brightness(head(glands=1.8, grid=coarse, seed=2), head())

    assert found is not None
    assert found.says is Contrast.PRESENT


def test_fat_saturation_that_no_header_names_says_nothing() -> None:
    found = compare_brightness(head(glands=1.8, fat=0.5, seed=2), head())

    assert found is not None
    assert found.says is None


def test_two_of_the_same_say_nothing() -> None:
    found = compare_brightness(head(seed=2), head())

    assert found is not None
    assert found.says is None


def test_series_elsewhere_cannot_be_compared() -> None:
    assert compare_brightness(head(), replace(head(), grid=replace(GRID, origin_lps_mm=(900.0, 0.0, 0.0)))) is None
