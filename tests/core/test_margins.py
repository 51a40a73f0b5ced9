"""Margins against closed forms: balls and boxes, slices 1 to 5 mm apart, grown and shrunk, to half a millimetre."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.margins import with_margin_mm
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Vec3
from npc_contour.domain.profiles import Margin

STEPS = [1.0, 3.0, 5.0]


def axes(step_mm: float) -> list[np.ndarray]:
    """Positions of voxel centres, z, y, x in mm, with (0, 0, 0) at one of them."""
    steps = (step_mm, 1.0, 1.0)
    places = [np.arange(-int(26 / step), int(26 / step) + 1) * step for step in steps]
    return list(np.meshgrid(*places, indexing="ij"))


@pytest.mark.parametrize("step_mm", STEPS)
@pytest.mark.parametrize("margin_mm", [3.0, 5.0, -2.0])
def test_a_ball_grows_and_shrinks(step_mm: float, margin_mm: float) -> None:
    z, y, x = axes(step_mm)
    distance_mm = np.sqrt((z - 0.3 * step_mm) ** 2 + (y - 0.2) ** 2 + (x + 0.3) ** 2)

    made = with_margin_mm(distance_mm <= 12.0, Margin.same(margin_mm), (step_mm, 1.0, 1.0))

    wrong = made != (distance_mm <= 12.0 + margin_mm)
    assert np.abs(distance_mm[wrong] - 12.0 - margin_mm).max(initial=0.0) < 0.5
    assert made.sum() == pytest.approx((distance_mm <= 12.0 + margin_mm).sum(), rel=0.02)


@pytest.mark.parametrize("step_mm", STEPS)
@pytest.mark.parametrize("margin_mm", [3.0, 5.0, -2.0])
def test_a_box_grows_and_shrinks(step_mm: float, margin_mm: float) -> None:
    half_mm = ((round(10 / step_mm) + 0.5) * step_mm, 8.5, 6.5)
    beyond = [np.abs(place) - half for place, half in zip(axes(step_mm), half_mm, strict=True)]
    outside_mm = np.sqrt(sum(np.maximum(part, 0) ** 2 for part in beyond))
    signed_mm = np.where(outside_mm > 0, outside_mm, np.maximum.reduce(beyond))

    made = with_margin_mm(signed_mm < 0, Margin.same(margin_mm), (step_mm, 1.0, 1.0))

    wrong = made != (signed_mm <= margin_mm)
    assert np.abs(signed_mm[wrong] - margin_mm).max(initial=0.0) < 0.5
    on_surface = np.abs(signed_mm - margin_mm) < 1e-6
    assert (made & ~on_surface).sum() == pytest.approx(((signed_mm <= margin_mm) & ~on_surface).sum(), rel=0.02)


TOWARDS = Margin(left=6.0, right=2.0, anterior=0.0, posterior=4.0, superior=5.0, inferior=3.0)
TURNED = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0))
"""Rows go to the front, columns to the right: as of a prone patient whose feet come first."""


@pytest.mark.parametrize("direction_lps", [HEAD_FIRST_SUPINE, TURNED])
def test_each_direction_of_the_patient_has_its_own_margin(direction_lps: tuple[Vec3, Vec3, Vec3]) -> None:
    mask = np.zeros((41, 41, 41), dtype=np.bool_)
    mask[18:23, 17:24, 16:25] = True

    for towards, sign in ((TOWARDS, 1), (Margin(**dict.fromkeys(Margin.__slots__, -1.0)), -1)):
        made = with_margin_mm(mask, towards, (1.0, 1.0, 1.0), direction_lps)

        lows, highs = np.argwhere(made).min(axis=0), np.argwhere(made).max(axis=0)
        left_is_up = direction_lps[2][0] > 0
        (up_x, down_x), (up_y, down_y) = (
            pair if left_is_up else pair[::-1]
            for pair in ((towards.left, towards.right), (towards.posterior, towards.anterior))
        )
        assert tuple(lows) == (18 - towards.inferior, 17 - down_y, 16 - down_x)
        assert tuple(highs) == (22 + towards.superior, 23 + up_y, 24 + up_x)
        assert (made.sum() - mask.sum()) * sign > 0
