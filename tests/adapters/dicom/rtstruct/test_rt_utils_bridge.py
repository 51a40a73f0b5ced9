"""rt-utils draws and reads what the masks say, without the defects of its own files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct, second_reader_faults
from npc_contour.adapters.dicom.rtstruct.reader import parse_dicom, structure_set_of
from npc_contour.adapters.dicom.rtstruct.rt_utils_bridge import read_back, rt_utils_rois
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.adapters.profiles import PROFILES_DIR, read_profile
from npc_contour.core.contouring import ContourOptions
from npc_contour.domain.profiles import ContourSource
from npc_contour.errors import SettingsError
from npc_testkit.crossings import mask_with_crossings
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import (
    MADE_AT,
    Mask,
    Planning,
    crops,
    encoded,
    planning_series,
    plastimatch_masks,
    spec,
    structure_set,
)

pytest.importorskip("rt_utils", reason="pip install 'npc-autocontour[rtutils]'", exc_type=ImportError)
SQUARE = CtPlan(slices=6, rows=48, columns=48, patient_position="HFP", pixel_spacing_mm=(0.7, 0.7))


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), SQUARE)


def shapes(shape_zyx: tuple[int, int, int]) -> dict[str, Mask]:
    _, y, x = np.indices(shape_zyx)
    radius = np.hypot(y - 20.3, x - 23.8)
    single, line, islands = (np.zeros(shape_zyx, dtype=np.bool_) for _ in range(3))
    single[2, 7, 40] = True
    line[1:4, 3, 5:44] = True
    islands[2, 30:33, 5:8] = islands[2, 33:36, 8:11] = True
    return {
        "Disc": radius < 12.3,
        "Rings": (radius < 17) & (radius > 12) | (radius < 7) & (radius > 3),
        "Single": single,
        "Line": line,
        "Islands": islands,
        "Corner": (y < 3) & (x < 4),
    }


def drawn_by_rt_utils(planning: Planning, masks: dict[str, Mask], *, max_points: int = 2000) -> bytes:
    cropped = crops(masks)
    content = replace(structure_set(cropped, planning.volume), rois=rt_utils_rois(cropped, planning.volume, max_points))
    return encode_rtstruct(content, planning.volume, planning.header, made_at=MADE_AT)


def test_what_rt_utils_draws_passes_the_gate_voxel_by_voxel(planning: Planning) -> None:
    masks = shapes(planning.volume.grid.shape_zyx)

    report = check_rtstruct(
        drawn_by_rt_utils(planning, masks), crops(masks), planning.volume, planning.header, second_reader=True
    )

    assert [roi.differing_voxels for roi in report.rois] == [0] * len(masks)


def test_what_rt_utils_draws_is_read_alike_by_plastimatch(planning: Planning, tmp_path: Path) -> None:
    masks = {name: mask for name, mask in shapes(planning.volume.grid.shape_zyx).items() if name != "Rings"}
    path = tmp_path / "rt.dcm"
    path.write_bytes(drawn_by_rt_utils(planning, masks))

    for mask, back in zip(masks.values(), plastimatch_masks(path, planning, tmp_path / "out", masks), strict=True):
        np.testing.assert_array_equal(back, mask)


def test_outer_rings_run_clockwise_and_holes_the_other_way(planning: Planning) -> None:
    (rings,) = rt_utils_rois(crops({"Rings": shapes(planning.volume.grid.shape_zyx)["Rings"]}), planning.volume, 2000)

    down, right = planning.volume.grid.direction_lps[1:]
    areas = []
    for contour in rings.contours:
        x, y = contour.points_lps_mm @ np.asarray(right), contour.points_lps_mm @ np.asarray(down)
        areas.append(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)
    assert sum(area > 0 for area in areas) == sum(area < 0 for area in areas) == 2 * SQUARE.slices
    assert max(areas) > -min(areas)


def test_long_contours_are_thinned(planning: Planning) -> None:
    disc = crops({"Disc": shapes(planning.volume.grid.shape_zyx)["Disc"]})

    (whole,), (thin,) = (rt_utils_rois(disc, planning.volume, most) for most in (2000, 20))

    assert max(len(contour.points_lps_mm) for contour in whole.contours) > 20
    assert max(len(contour.points_lps_mm) for contour in thin.contours) <= 20


def test_every_shape_comes_back_from_our_own_contours(planning: Planning) -> None:
    masks = shapes(planning.volume.grid.shape_zyx)
    content = structure_set_of(parse_dicom(encoded(planning, masks)))

    read = read_back(content.rois, planning.volume)

    assert read is not None
    for name, mask in masks.items():
        np.testing.assert_array_equal(read[name], mask)


def test_contours_from_margins_pass_the_second_reader(planning: Planning) -> None:
    _, y, x = np.indices(planning.volume.grid.shape_zyx)
    field = 9.6 - np.hypot(y - 20.3, x - 23.8)
    mask = mask_with_crossings(spec("Disc"), field, planning.volume.grid)
    content = structure_set((mask,), planning.volume, options=ContourOptions(source=ContourSource.MARGINS))
    data = encode_rtstruct(content, planning.volume, planning.header, made_at=MADE_AT)

    report = check_rtstruct(data, (mask,), planning.volume, planning.header, second_reader=True)

    assert report.min_dice == 1.0


def test_voxels_that_rt_utils_reads_otherwise_are_counted_unless_they_are_at_the_edge(planning: Planning) -> None:
    disc = shapes(planning.volume.grid.shape_zyx)["Disc"]
    content = structure_set_of(parse_dicom(encoded(planning, {"Disc": disc})))

    by_one, by_three = (crops({"Disc": np.roll(disc, shift, axis=2)}) for shift in (1, 3))

    assert second_reader_faults(content, by_one, planning.volume) == []
    (fault,) = second_reader_faults(content, by_three, planning.volume)
    assert re.fullmatch(r"Disc: rt-utils reads \d+ voxels otherwise that are not at its edge", fault)


def test_images_that_are_not_square_are_not_read(tmp_path: Path) -> None:
    oblong = planning_series(tmp_path / "ct", replace(SQUARE, columns=40))

    assert read_back((), oblong.volume) is None


def test_a_profile_with_keyholes_cannot_have_it(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    text = (PROFILES_DIR / "generic.toml").read_text()
    path.write_text(text.replace('writer = "npc-contour"', 'writer = "rt-utils"'))

    with pytest.raises(SettingsError, match='needs holes = "parity"'):
        read_profile(path)
