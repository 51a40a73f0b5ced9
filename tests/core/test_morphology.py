"""The mesh of a mask has the volume, surface, diameter and regularity of its shape."""

import math

import numpy as np
import pytest

from npc_contour.core.morphology import morphology

SPACING = (1.0, 0.5, 0.8)


def test_ball_is_regular() -> None:
    radius_mm = 12.0
    grids = np.meshgrid(*(np.arange(-30, 31) * step for step in SPACING), indexing="ij")
    ball = sum(grid**2 for grid in grids) <= radius_mm**2

    shape = morphology(np.asarray(ball), SPACING)

    assert shape.volume_mm3 == pytest.approx(4 / 3 * math.pi * radius_mm**3, rel=0.01)
    assert shape.diameter_mm == pytest.approx(2 * radius_mm, abs=1.0)
    # The mesh of a mask has steps: its surface is some per cent too large, for every mask alike.
    assert shape.surface_mm2 == pytest.approx(4 * math.pi * radius_mm**2, rel=0.12)
    assert 0.85 < shape.regularity < 1.0


def test_box_at_the_edge_of_the_volume_is_closed() -> None:
    sides_mm = (10.0, 10.0, 16.0)
    box = np.ones((10, 20, 20), dtype=np.bool_)

    shape = morphology(box, SPACING)

    assert shape.volume_mm3 == pytest.approx(math.prod(sides_mm), rel=0.01)
    assert shape.surface_mm2 == pytest.approx(2 * (100 + 160 + 160), rel=0.05)
    assert shape.diameter_mm == pytest.approx(math.dist((0, 0, 0), sides_mm), rel=0.05)
    radius = math.sqrt(shape.surface_mm2 / (4 * math.pi))
    assert shape.regularity == pytest.approx(shape.volume_mm3 / (4 / 3 * math.pi * radius**3))


def test_one_voxel_is_an_octahedron() -> None:
    voxel = np.zeros((3, 3, 3), dtype=np.bool_)
    voxel[1, 1, 1] = True

    shape = morphology(voxel, (2.0, 2.0, 2.0))

    assert shape.volume_mm3 == pytest.approx(4 / 3)
    assert shape.surface_mm2 == pytest.approx(4 * math.sqrt(3))
    assert shape.diameter_mm == pytest.approx(2.0)


def test_nothing_has_no_shape() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        morphology(np.zeros((3, 3, 3), dtype=np.bool_), SPACING)
