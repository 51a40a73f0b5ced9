"""MR values survive the way to int16 in their own proportions, and shading that N4 takes out is gone."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.mr_values import STRETCHED_PEAK, to_int16, without_bias
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.volumes import Volume


def test_values_that_fit_are_only_rounded() -> None:
    values = np.array([[[0.0, 12.4, 900.6]]], dtype=np.float32)

    assert to_int16(values).tolist() == [[[0, 12, 901]]]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_values_that_do_not_fit_keep_their_proportions(scale: float) -> None:
    values = np.linspace(0, 100, 10_000, dtype=np.float32).reshape(10, 100, 10) * np.float32(scale)

    found = to_int16(values)

    assert found.dtype == np.int16
    assert found.max() == pytest.approx(STRETCHED_PEAK, rel=0.01)
    assert np.corrcoef(found.ravel(), values.ravel())[0, 1] > 0.99999


def test_an_empty_volume_stays_empty() -> None:
    assert not to_int16(np.zeros((2, 3, 4), dtype=np.float32)).any()


def test_n4_takes_out_a_slow_shading() -> None:
    grid = Grid((24, 48, 48), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2")
    z, y, x = np.indices(grid.shape_zyx) - np.array([12, 24, 24]).reshape(3, 1, 1, 1)
    head = (z / 10.0) ** 2 + (y / 20.0) ** 2 + (x / 20.0) ** 2 < 1
    core = (z / 5.0) ** 2 + (y / 9.0) ** 2 + (x / 9.0) ** 2 < 1
    truth = np.where(core, 1400.0, 900.0) * head
    shaded = (truth * np.exp(0.02 * x)).astype(np.int16)
    volume = Volume(
        shaded, grid, tuple(f"1.{i}" for i in range(24)), grid.to_patient_mm([(i, 0, 0) for i in range(24)]), "MR"
    )

    corrected = without_bias(volume).hu

    def spread(values: np.ndarray) -> float:
        inside = values[core].astype(float)
        return float(inside.std() / inside.mean())

    assert spread(corrected) < 0.4 * spread(shaded)
