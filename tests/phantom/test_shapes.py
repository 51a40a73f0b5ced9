"""Shapes have the volume and the place that geometry gives them, on any grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_phantom import draw, render
from npc_phantom.parts import OAR, Look, Part
from npc_phantom.pose import Pose
from npc_phantom.shapes import Shape, below, ellipsoid, loft, tube

CUBE = Grid((60, 80, 80), (1.0, 0.75, 0.75), (-30.0, -30.0, -30.0), HEAD_FIRST_SUPINE, "1.2.3")
BALL = ellipsoid((0.0, 0.0, 0.0), (15.0, 15.0, 15.0))
BALL_CC = 4.0 / 3.0 * np.pi * 15.0**3 / 1000.0


def volume_cc(shape: Shape, grid: Grid = CUBE) -> float:
    straight = Pose(np.eye(3), np.zeros(3), 0.0, np.zeros((0, 9)))
    patient = replace(
        draw(1), parts=(Part("it", shape, Look(100.0), OAR, 1),), pose=straight, metal_mm=np.zeros((0, 3))
    )
    return int(np.count_nonzero(render(patient, grid, contrast=()).oar_labels)) * grid.voxel_cc


@pytest.mark.parametrize(
    ("shape", "expected_cc"),
    [
        (BALL, BALL_CC),
        (BALL & below((1.0, 0.0, 0.0), 0.001), BALL_CC / 2.0),
        (BALL - below((1.0, 0.0, 0.0), 0.375), BALL_CC / 2.0 - np.pi * 225.0 * 0.375 / 1000.0),
        (BALL.grown(-3.0), BALL_CC * 0.8**3),
        (BALL.moved((4.0, -3.0, 2.0), 0.9), BALL_CC * 0.9**3),
        (ellipsoid((1.0, 2.0, 3.0), (20.0, 10.0, 5.0), long_axis=(1.0, 1.0, 1.0)), 4.0 / 3.0 * np.pi * 1.0),
        (tube([(0.0, 0.0, -10.0), (0.0, 0.0, 10.0)], 8.0), np.pi * 64.0 * (20.0 + 4.0 / 3.0 * 8.0) / 1000.0),
        (loft([(-19.5, -4.0, 0.0, 10.0, 6.0), (19.5, 4.0, 0.0, 10.0, 6.0)]), np.pi * 60.0 * 39.0 / 1000.0),
        (BALL | BALL.moved((0.0, 0.0, 0.0)), BALL_CC),
        (ellipsoid((12.0, 0.0, 0.0), (8.0, 8.0, 8.0)).mirrored(), 4.0 / 3.0 * np.pi * 0.512),
    ],
)
def test_volume_is_that_of_the_solid(shape: Shape, expected_cc: float) -> None:
    assert volume_cc(shape) == pytest.approx(expected_cc, rel=0.04)


def test_a_fillet_adds_where_two_solids_meet() -> None:
    other = ellipsoid((20.0, 0.0, 0.0), (9.0, 9.0, 9.0))

    plain, blended = volume_cc(BALL | other), volume_cc(BALL.blended(other, 8.0))

    assert plain * 1.01 < blended < plain * 1.2


def test_cutting_with_what_is_no_union_is_refused() -> None:
    with pytest.raises(ValueError, match="union"):
        BALL - (BALL & below((1.0, 0.0, 0.0), 0.0))
    with pytest.raises(ValueError, match="one primitive"):
        BALL & (BALL | BALL)


def test_bounds_hold_the_shape() -> None:
    lower, upper = tube([(0.0, 0.0, 0.0), (10.0, 0.0, 0.0)], [2.0, 4.0]).bounds()

    assert lower.tolist() == [-2.0, -4.0, -4.0]
    assert upper.tolist() == [14.0, 4.0, 4.0]
