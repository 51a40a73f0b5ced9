"""Margins against closed forms: balls and boxes, slices 1 to 5 mm apart, grown and shrunk, to half a millimetre."""

from __future__ import annotations

import numpy as np
import pytest

from npc_contour.core.margins import with_margin_mm

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

    made = with_margin_mm(distance_mm <= 12.0, margin_mm, (step_mm, 1.0, 1.0))

    wrong = made != (distance_mm <= 12.0 + margin_mm)
    assert np.abs(distance_mm[wrong] - 12.0 - margin_mm).max(initial=0.0) < 0.6
    assert made.sum() == pytest.approx((distance_mm <= 12.0 + margin_mm).sum(), rel=0.05)


@pytest.mark.parametrize("step_mm", STEPS)
@pytest.mark.parametrize("margin_mm", [3.0, 5.0, -2.0])
def test_a_box_grows_and_shrinks(step_mm: float, margin_mm: float) -> None:
    half_mm = ((round(10 / step_mm) + 0.5) * step_mm, 8.5, 6.5)
    beyond = [np.abs(place) - half for place, half in zip(axes(step_mm), half_mm, strict=True)]
    outside_mm = np.sqrt(sum(np.maximum(part, 0) ** 2 for part in beyond))
    signed_mm = np.where(outside_mm > 0, outside_mm, np.maximum.reduce(beyond))

    made = with_margin_mm(signed_mm < 0, margin_mm, (step_mm, 1.0, 1.0))

    wrong = made != (signed_mm <= margin_mm)
    assert np.abs(signed_mm[wrong] - margin_mm).max(initial=0.0) < 0.5
