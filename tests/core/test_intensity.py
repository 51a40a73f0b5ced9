"""HU reach a network clipped and scaled, and the body box holds the body and nothing it need not."""

from __future__ import annotations

import numpy as np

from npc_contour.core.intensity import body_box, nonzero_box, nonzero_mask, normalise
from npc_contour.domain.pipelines import Normalisation


def test_normalises_as_written() -> None:
    hu = np.array([-2000.0, -600.0, 40.0, 240.0, 9000.0], dtype=np.float32)

    found = normalise(hu, Normalisation((-600.0, 1200.0), 40.0, 200.0))

    np.testing.assert_allclose(found, [-3.2, -3.2, 0.0, 1.0, 5.8], rtol=1e-6)


def test_normalises_in_place() -> None:
    hu = np.array([40.0], dtype=np.float32)

    assert normalise(hu, Normalisation((-600.0, 1200.0), 40.0, 200.0), out=hu) is hu
    assert hu[0] == 0.0


def test_box_spans_all_channels_with_a_margin_in_millimetres() -> None:
    volume = np.full((2, 20, 30, 40), -1000, dtype=np.int16)
    volume[0, 8, 10, 15] = 0
    volume[1, 11, 14, 22] = 0

    box = body_box(volume, above_hu=-400, margin_mm=5.0, spacing_zyx_mm=(3.0, 1.0, 1.0))

    assert box == (slice(6, 14), slice(5, 20), slice(10, 28))


def test_margin_ends_at_the_border() -> None:
    volume = np.zeros((1, 3, 4, 5), dtype=np.int16)

    box = body_box(volume, above_hu=-400, margin_mm=50.0, spacing_zyx_mm=(1.0, 1.0, 1.0))

    assert box == (slice(0, 3), slice(0, 4), slice(0, 5))


def test_voxel_at_the_threshold_does_not_count() -> None:
    volume = np.full((1, 3, 4, 5), -400, dtype=np.int16)

    assert body_box(volume, above_hu=-400, margin_mm=0.0, spacing_zyx_mm=(1.0, 1.0, 1.0)) is None


def test_nonzero_box_and_mask_look_at_every_channel_and_fill_holes() -> None:
    volume = np.zeros((2, 6, 8, 9), dtype=np.int16)
    volume[0, 1:4, 2:6, 3:7] = -50
    volume[0, 2, 3, 4] = 0
    volume[1, 4, 2, 3] = 7

    assert nonzero_box(volume) == (slice(1, 5), slice(2, 6), slice(3, 7))
    assert nonzero_mask(volume).sum() == 3 * 4 * 4 + 1
    assert nonzero_box(np.zeros((1, 3, 3, 3), dtype=np.int16)) is None
