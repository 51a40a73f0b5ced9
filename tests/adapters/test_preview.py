"""The preview draws what the RTSTRUCT says, and says what it is."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.adapters.preview import outline_segments, render_preview, telling_slices
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import Planning, encoded, planning_series


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    plan = CtPlan(slices=12, rows=60, columns=60, pixel_spacing_mm=(1.0, 1.0))
    return planning_series(Path(tmp_path_factory.mktemp("ct")), plan)


def test_the_picture_is_a_png_with_the_rois_colour(planning: Planning) -> None:
    mask = np.zeros(planning.volume.grid.shape_zyx, dtype=np.bool_)
    mask[3:9, 20:40, 15:45] = True
    content = read_rtstruct(encoded(planning, {"Brainstem": mask}))

    with_roi = np.asarray(Image.open(BytesIO(render_preview(content, planning.volume))).convert("RGB")).astype(int)

    assert min(with_roi.shape[:2]) > 800
    close = np.abs(with_roi - np.array([200, 80, 40])).max(axis=2) < 12
    assert np.count_nonzero(close) > 2000


def test_slices_are_chosen_where_rois_are_largest() -> None:
    low = np.array([0, 9, 4, 0, 0, 0, 0])
    high = np.array([0, 0, 0, 0, 3, 8, 1])

    assert telling_slices([low, high, np.zeros(7, dtype=int)], 2) == [5, 1]


def test_slices_that_show_nothing_new_are_spread_and_never_empty() -> None:
    nothing = [0, 0, 0]
    alike = np.array([*nothing, 5, 5, 5, 5, 5, 5, 5, 5, 5, *nothing])

    assert telling_slices([alike], 3) == [11, 7, 3]
    assert telling_slices([np.array([*nothing, 2, 9, *nothing])], 6) == [4, 3]


def test_no_roi_no_slices() -> None:
    assert telling_slices([], 6) == []


def test_a_keyholes_bridge_is_not_drawn() -> None:
    square = [[0, 0], [10, 0], [10, 10], [0, 10]]
    hole = [[4, 4], [4, 6], [6, 6], [6, 4]]
    keyhole = np.array([*square, [0, 4], [4, 4], *hole[1:], [4, 4], [0, 4]], dtype=float)

    segments = outline_segments(keyhole)

    lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    assert lengths.sum() == pytest.approx(40 + 8)
