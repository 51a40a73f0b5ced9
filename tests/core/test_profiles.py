"""A profile derives, renames, chooses and orders ROIs, and says what it cannot do before it is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.profiles import apply_profile, body_mask, profile_faults, template_faults, with_margin
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.profiles import GENERIC, DerivedRoi, Margin, Profile, RoiOverride
from npc_contour.domain.structures import InterpretedType
from npc_contour.domain.volumes import Volume
from npc_testkit.rtstructs import Mask, spec

GRID = Grid((21, 41, 41), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_FIRST_SUPINE, "1.2.3")


def volume() -> Volume:
    _, y, x = np.indices(GRID.shape_zyx)
    hu = np.full(GRID.shape_zyx, -1000, dtype=np.int16)
    hu[np.hypot(y - 18, x - 20) < 15] = 40
    hu[np.hypot(y - 18, x - 20) < 4] = -900
    hu[:, 38:40, 5:35] = 200
    positions = GRID.to_patient_mm(np.array([[index, 0, 0] for index in range(21)]))
    return Volume(hu, GRID, tuple(f"1.{index}" for index in range(21)), positions)


def voxel(z: int, y: int, x: int) -> Mask:
    mask = np.zeros(GRID.shape_zyx, dtype=np.bool_)
    mask[z, y, x] = True
    return mask


def masks() -> tuple[RoiMask, ...]:
    box = np.zeros(GRID.shape_zyx, dtype=np.bool_)
    box[5:15, 10:30, 10:30] = True
    return mask_of_array(spec("Cord"), voxel(10, 20, 20)), mask_of_array(spec("Box"), box)


def derived(**fields: object) -> DerivedRoi:
    base = DerivedRoi(name="Made", interpreted_type=InterpretedType.CTV, colour_rgb=(1, 2, 3), union_of=("Cord",))
    return replace(base, **fields)  # type: ignore[arg-type]


def made(roi: DerivedRoi) -> Mask:
    (mask,) = apply_profile(replace(GENERIC, derived=(roi,), rois=("Made",)), masks(), volume())
    assert mask.spec.interpreted_type is InterpretedType.CTV
    return mask.on_grid(GRID.shape_zyx)


def test_a_margin_is_a_ball_in_mm() -> None:
    z, y, x = np.indices(GRID.shape_zyx)
    beyond = [abs(2.0 * (z - 10)) - 1.0, abs(y - 20) - 0.5, abs(x - 20) - 0.5]
    distance_mm = np.sqrt(sum(np.maximum(part, 0.0) ** 2 for part in beyond))

    wrong = made(derived(margin=Margin.same(5.0))) != (distance_mm <= 5.0)

    assert np.abs(distance_mm[wrong] - 5.0).max(initial=0.0) < 0.6


def test_a_margin_stops_at_the_edge_of_the_image() -> None:
    grown = with_margin(voxel(0, 0, 40), Margin.same(3.0), GRID)

    assert grown[0, 0, 37:].all()
    assert grown[1, 0, 40]
    assert grown.sum() < 60


def test_a_negative_margin_shrinks() -> None:
    _, box = masks()

    shrunk = with_margin(box.on_grid(GRID.shape_zyx), Margin.same(-2.0), GRID)

    expected = np.zeros(GRID.shape_zyx, dtype=np.bool_)
    expected[6:14, 12:28, 12:28] = True
    np.testing.assert_array_equal(shrunk, expected)


def test_rois_are_united_and_taken_away() -> None:
    both = made(derived(union_of=("Cord", "Box")))
    ring = made(derived(union_of=("Box",), minus=("Cord",)))

    assert both.sum() == 10 * 20 * 20
    assert ring.sum() == both.sum() - 1


def test_the_body_is_without_couch_and_has_no_cavities() -> None:
    body = body_mask(volume())

    _, y, x = np.indices(GRID.shape_zyx)
    disc = np.hypot(y - 18, x - 20)
    assert body[disc < 13].all()
    assert not body[disc > 16].any()


def test_a_derived_roi_is_cut_inside_the_skin() -> None:
    cut = made(derived(union_of=("Box",), inside_body_mm=5.0))

    _, y, x = np.indices(GRID.shape_zyx)
    disc = np.hypot(y - 18, x - 20)
    assert cut.any()
    assert not cut[disc > 11].any()


def test_the_body_is_an_roi_of_its_own() -> None:
    skin = derived(union_of=(), of_body=True)

    body = made(skin)

    np.testing.assert_array_equal(body, body_mask(volume()))
    assert made(replace(skin, margin=Margin.same(-5.0))).sum() < body.sum()


def test_a_derived_roi_may_use_one_before_it() -> None:
    first, second = derived(margin=Margin.same(2.0)), derived(name="Again", union_of=("Made",), margin=Margin.same(1.0))

    result = apply_profile(replace(GENERIC, derived=(first, second)), masks(), volume())

    assert [mask.spec.name for mask in result] == ["Cord", "Box", "Made", "Again"]
    assert result[3].voxels > result[2].voxels


def test_rois_are_chosen_ordered_and_renamed() -> None:
    change = RoiOverride("Rueckenmark", InterpretedType.CTV, (9, 8, 7))
    profile = replace(GENERIC, rois=("Box", "Cord"), overrides={"Cord": change})

    box, cord = apply_profile(profile, masks(), volume())

    assert box.spec.name == "Box"
    assert (cord.spec.name, cord.spec.interpreted_type) == ("Rueckenmark", InterpretedType.CTV)
    assert cord.spec.colour_rgb == (9, 8, 7)


def test_one_profile_serves_pipelines_with_other_rois() -> None:
    lens = DerivedRoi(
        name="Lenses", interpreted_type=InterpretedType.ORGAN, colour_rgb=(0, 0, 0), union_of=("Lens_L", "Lens_R")
    )
    profile = replace(GENERIC, derived=(lens,), rois=("Lenses",), overrides={"Lens_L": RoiOverride("Linse_L")})

    result = apply_profile(profile, masks(), volume())

    assert profile_faults(profile, [[mask.spec for mask in masks()], [spec("Lens_L"), spec("Lens_R")]]) == []
    assert [mask.spec.name for mask in result] == ["Cord", "Box"]


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        (replace(GENERIC, overrides={"Lens": RoiOverride("L")}), "override of Lens: no pipeline has such an ROI"),
        (replace(GENERIC, rois=("Cord", "Lens")), "rois names Lens"),
        (replace(GENERIC, derived=(derived(union_of=("Lens",)),)), "derived ROI Made: Lens is not known"),
        (replace(GENERIC, derived=(derived(minus=("Made",)),)), "Made is not known where it is used"),
        (replace(GENERIC, derived=(derived(name="Box"),)), "derived ROI Box has the name of another ROI"),
        (replace(GENERIC, overrides={"Cord": RoiOverride("box")}), "'box' and 'Box' differ only in case"),
        (replace(GENERIC, overrides={"Cord": RoiOverride("S" * 17)}), "has 17 characters, 16 are allowed"),
        (replace(GENERIC, overrides={"Cord": RoiOverride("a\\b")}), "has a backslash"),
    ],
)
def test_what_cannot_be_applied_is_told_before(profile: Profile, fault: str) -> None:
    faults = profile_faults(profile, [[mask.spec for mask in masks()]])

    assert any(fault in sentence for sentence in faults), faults


def test_a_good_profile_has_no_faults() -> None:
    assert profile_faults(GENERIC, [[mask.spec for mask in masks()]]) == []
    assert template_faults(GENERIC) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"label": "{label} of the clinic"}, "grows to 24 characters, 16 are allowed"),
        ({"label": "{pipeline}"}, "KeyError 'pipeline', allowed are"),
        ({"series_description": "{label"}, "ValueError"),
    ],
)
def test_a_wrong_template_is_told(change: dict[str, str], fault: str) -> None:
    (sentence,) = template_faults(replace(GENERIC, **change))  # type: ignore[arg-type]

    assert fault in sentence


def test_a_couch_that_touches_the_back_is_no_body() -> None:
    _, y, x = np.indices(GRID.shape_zyx)
    alone = np.full(GRID.shape_zyx, -1000, dtype=np.int16)
    alone[np.hypot(y - 18, x - 20) < 15] = 40
    lying = alone.copy()
    lying[:, 33:35][lying[:, 33:35] < -300] = -150
    positions = GRID.to_patient_mm(np.array([[index, 0, 0] for index in range(21)]))
    uids = tuple(f"1.{index}" for index in range(21))
    wide = replace(GRID, spacing_zyx_mm=(2.0, 2.0, 2.0))

    bodies = [body_mask(Volume(hu, wide, uids, positions)) for hu in (alone, lying)]

    assert bodies[0].any()
    assert not (bodies[1] & ~(alone > -300)).any()
    assert (bodies[0] & ~bodies[1]).sum() < 0.01 * bodies[0].sum()
