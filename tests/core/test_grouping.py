"""What is no slice of a stack is excluded with its reason; the stack itself stays whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from npc_contour.core.grouping import aside_reason, derived_reason, group
from npc_contour.domain.series import InstanceHeader
from npc_testkit.ct_headers import ct_header, ct_headers

MR = "1.2.840.10008.5.1.4.1.1.4"
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "a localizer"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "TOPOGRAM")}, "a localizer"),
        ({"image_type": ("DERIVED", "SECONDARY", "DOSE_INFO")}, "a dose or protocol page"),
        ({"image_type": ("DERIVED", "SECONDARY", "AXIAL", "MIP")}, "a projection"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.67"}, "a radiation dose report"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.481.3"}, "an RT structure set"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4.1"}, "an Enhanced MR image (several frames in one object: send"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2.1"}, "an Enhanced CT image (several frames in one object: send"),
        ({"sop_class_uid": "1.2.3"}, "class 1.2.3"),
        ({"number_of_frames": 40}, "40 frames"),
        ({"orientation": CORONAL}, "coronal: the slices lean 90°"),
        ({"orientation": SAGITTAL}, "sagittal: the slices lean 90°"),
    ],
)
def test_other_images_are_excluded_by_name(change: dict[str, Any], reason: str) -> None:
    found = aside_reason(ct_header(**change))

    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"image_type": ()},
        {"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI")},
        {"orientation": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)},
        {"orientation": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4", "modality": "MR", "orientation": SAGITTAL},
    ],
)
def test_slices_stay(change: dict[str, Any]) -> None:
    assert aside_reason(ct_header(**change)) is None


@pytest.mark.parametrize(
    ("image_type", "reason"),
    [
        (("DERIVED", "SECONDARY", "AXIAL", "CSA MPR"), "reformatted"),
        (("DERIVED", "PRIMARY", "AXIAL", "VMI"), r"derived from other images (Image Type DERIVED\PRIMARY\AXIAL\VMI)"),
        (("ORIGINAL", "SECONDARY"), "a secondary image"),
    ],
)
def test_derived_images_are_a_series_that_says_so_and_are_excluded_beside_original_ones(
    image_type: tuple[str, ...], reason: str
) -> None:
    stack = ct_headers(60)
    derived = again(stack[:4], "1", image_type=image_type)

    alone, beside = group(derived), group([*stack, *derived])

    assert reason in alone.series[0].derived
    assert (len(beside.series[0].instances), beside.series[0].derived) == (60, "")
    assert reason in beside.excluded[0].reason


def test_scout_and_dose_page_in_the_series_of_the_stack_are_taken_out() -> None:
    stack = ct_headers(60)
    scout = ct_header(sop_instance_uid="1.9", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), orientation=CORONAL)
    page = ct_header(sop_instance_uid="1.10", image_type=("DERIVED", "SECONDARY", "RESULTS"), rows=1024)

    grouped = group([scout, *stack, page])

    assert [len(series.instances) for series in grouped.series] == [60]
    assert sorted(len(one.instances) for one in grouped.excluded) == [1, 1]


def test_few_images_of_another_size_are_strays_many_are_a_mixture() -> None:
    stack = ct_headers(60)
    strays = [replace(h, rows=256, sop_instance_uid=f"1.8.{i}") for i, h in enumerate(stack)]

    with_few = group([*stack, *strays[:2]])
    with_many = group([*stack, *strays[:30]])

    assert len(with_few.series[0].instances) == 60
    assert "256x512" in with_few.excluded[0].reason
    assert len(with_many.series[0].instances) == 90
    assert with_many.excluded == ()


def test_series_stay_apart() -> None:
    grouped = group([*ct_headers(60, uid="1.2.3"), *ct_headers(50, uid="1.2.4")])

    assert sorted(len(series.instances) for series in grouped.series) == [50, 60]


def mr(slices: int = 30, **changes: Any) -> list[InstanceHeader]:
    return ct_headers(slices, **{"sop_class_uid": MR, "modality": "MR", "scanning_sequence": ("SE",), **changes})


def again(images: list[InstanceHeader], tail: str, **changes: Any) -> list[InstanceHeader]:
    """The same slices once more, as other images of the same series."""
    return [replace(h, sop_instance_uid=f"{h.sop_instance_uid}.{tail}", **changes) for h in images]


def test_of_a_dixon_series_the_water_part_is_taken() -> None:
    water = mr(image_type=("DERIVED", "PRIMARY", "DIXON", "WATER"))
    fat = again(water, "1", image_type=("DERIVED", "PRIMARY", "DIXON", "FAT"))
    inside = again(water, "2", image_type=("ORIGINAL", "PRIMARY", "DIXON", "IN_PHASE"))

    grouped = group([*fat, *water, *inside])

    assert [set(series.instances) for series in grouped.series] == [set(water)]
    assert sorted(one.reason for one in grouped.excluded) == [
        "the fat part of a Dixon acquisition",
        "the in-phase part of a Dixon acquisition: the water part is taken",
    ]


@pytest.mark.parametrize(("kind", "kept_ms"), [("SE", 90.0), ("GR", 12.0)])
def test_of_two_echoes_one_is_taken(kind: str, kept_ms: float) -> None:
    first = mr(echo_time_ms=12.0, scanning_sequence=(kind,))
    second = again(first, "1", echo_time_ms=90.0)

    grouped = group([*second, *first])

    assert {image.echo_time_ms for image in grouped.series[0].instances} == {kept_ms}
    assert f"that of {kept_ms:g} ms is taken" in grouped.excluded[0].reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, "a phase image"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE")}, "a phase image"),
        ({"series_description": "3-Plane Loc"}, "a localizer"),
    ],
)
def test_mr_images_that_are_no_anatomy_are_excluded(change: dict[str, Any], reason: str) -> None:
    found = aside_reason(mr(**change)[0])

    assert found is not None
    assert reason in found


def test_filtered_and_distortion_corrected_mr_images_stay() -> None:
    filtered, other, reformatted = (
        mr(image_type=kinds)[0]
        for kinds in (
            ("DERIVED", "PRIMARY", "M", "NORM", "DIS2D"),
            ("DERIVED", "SECONDARY", "OTHER"),
            ("DERIVED", "PRIMARY", "MPR"),
        )
    )
    assert (aside_reason(filtered), derived_reason(filtered)) == (None, None)
    assert "derived from other images" in (derived_reason(other) or "")
    assert "reformatted" in (derived_reason(reformatted) or "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rescale_type": "EDW"}, "values in electron density relative to water, not in Hounsfield units"),
        ({"rescale_type": "US"}, "values in an unspecified unit"),
        ({"rescale_type": "HU_MOD"}, "values in modified Hounsfield units"),
        ({"rescale_type": "iodine"}, "values in another unit, not in Hounsfield units (Rescale Type iodine)"),
        ({"real_world_units": ("mg/mL",)}, "values in mg/mL, not in Hounsfield units (Real World Value Mapping)"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM")}, "a material map of multi-energy CT"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "MAT_REMOVED")}, "a material map of multi-energy CT"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "IODINE")}, "a material map of multi-energy CT"),
        ({"series_description": "Iodine_Map 1.5"}, "a map, not an image in Hounsfield units"),
        ({"series_description": "MD Iodine(Water)"}, "a map, not an image in Hounsfield units"),
        ({"series_description": "Carte d'iode"}, "a map, not an image in Hounsfield units"),
        ({"series_description": "Z Effective"}, "a map, not an image in Hounsfield units"),
        ({"series_description": "碘密度图"}, "a map, not an image in Hounsfield units"),
    ],
)
def test_ct_values_that_are_not_hounsfield_units_are_excluded(change: dict[str, Any], reason: str) -> None:
    assert reason in (aside_reason(ct_headers(1, **change)[0]) or "")


@pytest.mark.parametrize(
    "change",
    [
        {"rescale_type": "HU"},
        {"series_description": "NECK IODINATED CONTRAST 370"},
        {"series_description": "Neck bone density filter"},
        {"series_description": "Mono 70 keV"},
        {"real_world_units": ("mg/mL", "[hnsf'U]")},
        {"image_type": ("ORIGINAL", "PRIMARY", "AXIAL", "VMI")},
    ],
)
def test_hounsfield_units_by_any_of_their_names_stay(change: dict[str, Any]) -> None:
    assert aside_reason(ct_headers(1, **change)[0]) is None


def test_a_rounded_cosine_does_not_cut_the_end_off_a_stack() -> None:
    turned = [replace(h, orientation=(1.0, 0.0051, 0.0, -0.0051, 1.0, 0.0)) for h in ct_headers(44)]
    images = [*turned[:4], *(replace(h, orientation=(1.0, 0.0049, 0.0, -0.0049, 1.0, 0.0)) for h in turned[4:])]

    (series,) = group(images).series

    assert len(series.instances) == 44


def test_a_stack_tells_which_images_of_its_series_are_not_in_it() -> None:
    images = ct_headers(44)
    images[:3] = [replace(h, rows=256) for h in images[:3]]

    (series,) = group(images).series

    assert [words.partition(":")[0] for words in series.left_out] == ["3 images excluded"]


@pytest.mark.parametrize("apart_ms", [0.024, 3.0])
def test_echo_times_that_differ_between_slices_only_are_one_echo(apart_ms: float) -> None:
    slices = [
        replace(image, sop_class_uid=MR, modality="MR", echo_time_ms=9.168 + apart_ms * (index % 2))
        for index, image in enumerate(ct_headers(24, gap_mm=5.0))
    ]

    grouped = group(slices)

    assert len(grouped.series[0].instances) == 24
    assert grouped.excluded == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"series_description": "Calibration Scan"}, "a calibration scan"),
        ({"series_description": "T1W_TSE +C SUB"}, "a subtraction"),
        ({"image_type": ("DERIVED", "PRIMARY", "M", "SUB")}, "a subtraction"),
        ({"series_description": "s3DI_MC", "angio_flag": "Y"}, "an angiography"),
        ({"series_description": "gre_field_mapping"}, "a field map"),
        ({"series_description": "T1 SUBMANDIBULAR"}, None),
        ({"series_description": "T2 SUB-MANDIBULAR"}, None),
    ],
)
def test_mr_images_that_only_look_like_a_sequence(change: dict[str, Any], reason: str | None) -> None:
    found = aside_reason(ct_header(sop_class_uid=MR, modality="MR", **change))

    assert (found is None) if reason is None else (found is not None and reason in found)
