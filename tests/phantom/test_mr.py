"""An MR phantom has the contrasts of its sequences, the tumour where the truth says, and the receiver's unevenness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from npc_phantom.mr import MrOptions, MrPhantom, draw_mr, render_mr

EVEN = MrOptions(matrix=144, slice_spacing_mm=4.0, bias=0.0, fat_saturation=False)


def rendered(seed: int, options: MrOptions = EVEN) -> MrPhantom:
    patient, scan = draw_mr(seed, options)
    return render_mr(patient, replace(scan, noise=1.0, gain=(1.0, 1.0, 1.0)))


@pytest.fixture(scope="module")
def phantom() -> MrPhantom:
    return rendered(4)


def inside(phantom: MrPhantom) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = ndimage.binary_erosion(phantom.gtv_labels == 1)
    return found


def test_contrast_agent_brightens_the_tumour(phantom: MrPhantom) -> None:
    core = inside(phantom)
    t1, t2, t1c = (float(np.median(phantom.images[name][core])) for name in ("t1", "t2", "t1c"))

    assert t1c > 1.3 * t1
    assert 300 < t2 < 700


def test_water_is_dark_on_t1_and_bright_on_t2_and_fat_the_other_way(phantom: MrPhantom) -> None:
    t1, t2 = phantom.images["t1"], phantom.images["t2"]
    water, fat = t2 > 800, (t1 > 650) & (t2 < 700)

    assert water.sum() > 200
    assert np.median(t1[water]) < 250
    assert fat.sum() > 10_000


def test_fat_saturation_takes_the_fat_away() -> None:
    plain, saturated = rendered(4), rendered(4, replace(EVEN, fat_saturation=True))
    fat = (plain.images["t1"] > 650) & (plain.images["t2"] < 700)

    assert np.median(saturated.images["t1c"][fat]) < 0.5 * np.median(plain.images["t1c"][fat])
    np.testing.assert_array_equal(saturated.gtv_labels, plain.gtv_labels)


def test_bias_field_is_smooth_and_as_strong_as_asked() -> None:
    even, uneven = rendered(4), rendered(4, replace(EVEN, bias=0.3))
    body = ndimage.binary_erosion(even.images["t1"] > 200, iterations=2)
    ratio = np.log(uneven.images["t1"][body] / even.images["t1"][body])

    assert 0.1 < np.ptp(np.percentile(ratio, (2, 98))) < 1.5


def test_a_tilted_stack_shows_the_same_tumour(phantom: MrPhantom) -> None:
    tilted = rendered(4, replace(EVEN, tilt_deg=12.0))

    assert tilted.grid.direction_lps[0] == pytest.approx((0.0, -0.2079, 0.9781), abs=1e-4)
    ratio = (
        (tilted.gtv_labels == 1).sum()
        * tilted.grid.voxel_cc
        / ((phantom.gtv_labels == 1).sum() * phantom.grid.voxel_cc)
    )
    assert ratio == pytest.approx(1.0, abs=0.08)
    centres = [p.grid.to_patient_mm(np.argwhere(p.gtv_labels == 1).mean(axis=0)) for p in (phantom, tilted)]
    assert np.linalg.norm(centres[0] - centres[1]) < 3.0


def test_seed_decides_and_options_are_checked() -> None:
    assert draw_mr(9)[1] == draw_mr(9)[1]
    assert draw_mr(9)[1] != draw_mr(8)[1]
    with pytest.raises(ValueError, match="positive"):
        draw_mr(1, MrOptions(slices=0))
