"""A series is one regular stack, ordered by position alone, or it is refused by slices and millimetres."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_contour.core.stacking import geometry_faults, stack
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.errors import SeriesGeometryError
from npc_testkit.ct_headers import ct_header, ct_headers, ct_series

ORIENTATIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
}


def along_normal(orientation: tuple[float, ...], slices: int, gap_mm: float) -> list[InstanceHeader]:
    normal = np.cross(orientation[:3], orientation[3:])
    origin = np.array([-20.0, 35.0, 400.0])
    return [
        ct_header(
            sop_instance_uid=f"1.2.{index + 1}",
            orientation=orientation,
            position_lps_mm=tuple(origin + index * gap_mm * normal),
            pixel_spacing_mm=(1.5, 0.75),
            rows=20,
            columns=30,
        )
        for index in range(slices)
    ]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_orientation_gives_a_right_handed_grid_that_ascends_along_the_normal(name: str) -> None:
    headers = along_normal(ORIENTATIONS[name], 7, 2.5)
    shuffled = random.Random(3).sample(headers, len(headers))

    ordered = stack(Series(tuple(shuffled)))

    assert [h.sop_instance_uid for h in ordered.instances] == [h.sop_instance_uid for h in headers]
    assert ordered.grid.shape_zyx == (7, 20, 30)
    assert ordered.grid.spacing_zyx_mm == pytest.approx((2.5, 1.5, 0.75))
    assert np.linalg.det(np.array(ordered.grid.direction_lps)[::-1]) == pytest.approx(1.0)
    for index, header in enumerate(headers):
        assert tuple(ordered.grid.to_patient_mm((index, 0, 0))) == pytest.approx(header.position_lps_mm, abs=1e-9)
    column_step = ordered.grid.to_patient_mm((0, 0, 1)) - ordered.grid.to_patient_mm((0, 0, 0))
    np.testing.assert_allclose(column_step, 0.75 * np.array(ORIENTATIONS[name][:3]), atol=1e-9)


@given(
    st.integers(4, 30),
    st.floats(0.5, 7.0),
    st.floats(-0.6, 0.6),
    st.floats(-0.6, 0.6),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_any_oblique_stack_is_placed_where_its_headers_say(
    slices: int, gap_mm: float, pitch: float, yaw: float, rng: random.Random
) -> None:
    row = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    column = np.cross([-np.sin(yaw) * np.sin(pitch), np.cos(yaw) * np.sin(pitch), np.cos(pitch)], row)
    column -= (column @ row) * row
    orientation = (*row, *(column / np.linalg.norm(column)))
    headers = along_normal(orientation, slices, gap_mm)
    rng.shuffle(headers)

    ordered = stack(Series(tuple(headers)))

    for index, header in enumerate(ordered.instances):
        assert tuple(ordered.grid.to_patient_mm((index, 0, 0))) == pytest.approx(header.position_lps_mm, abs=1e-3)


@pytest.mark.parametrize("lost", [1, 30, 58])
def test_lost_slice_is_named_with_its_gap_and_may_be_cured(lost: int) -> None:
    headers = ct_headers(60)
    del headers[lost]

    with pytest.raises(SeriesGeometryError, match=rf"gap of 6\.00 mm after slice {lost} .*expected 3\.00 mm"):
        stack(Series(tuple(headers)))
    assert all(fault.curable for fault in geometry_faults(headers))


def test_two_slices_at_one_position_name_position_and_acquisitions() -> None:
    headers = ct_headers(10, acquisition_number=1)
    headers.append(replace(headers[4], sop_instance_uid="1.2.3.99", acquisition_number=2))

    (fault,) = geometry_faults(headers)

    assert "slices 5 and 6 (at -78.00 mm)" in fault.text
    assert "several acquisitions in one series: numbers 1, 2" in fault.text
    assert not fault.curable


@pytest.mark.parametrize("tilt_deg", [-18.5, -0.2, 0.2, 14.0])
def test_tilted_stack_is_refused_with_its_angle_whatever_the_tilt_attribute_says(tilt_deg: float) -> None:
    shear = np.tan(np.radians(tilt_deg))
    headers = [
        replace(h, position_lps_mm=(-256.0, -256.0 + shear * 3.0 * index, 3.0 * index), gantry_tilt_deg=0.0)
        for index, h in enumerate(ct_headers(60))
    ]

    with pytest.raises(SeriesGeometryError, match=f"tilted: .* leans {abs(tilt_deg):.1f}°"):
        stack(Series(tuple(headers)))


def test_rounded_headers_are_straight() -> None:
    headers = [
        replace(h, position_lps_mm=(-256.0, -256.0, round(0.625 * index, 2)), orientation=(0.999999, 0, 0, 0, 1, 0))
        for index, h in enumerate(ct_headers(200))
    ]

    assert geometry_faults(headers) == ()


def test_spacing_that_drifts_within_tolerance_is_refused() -> None:
    gaps = np.repeat([2.98, 3.02], 100)
    z = np.concatenate([[0.0], np.cumsum(gaps)])
    headers = [replace(h, position_lps_mm=(0.0, 0.0, float(p))) for h, p in zip(ct_headers(201), z, strict=True)]

    with pytest.raises(SeriesGeometryError, match=r"drifts: slice 101 lies 2\.00 mm"):
        stack(Series(tuple(headers)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"frame_of_reference_uid": "1.2.10"},
            r"mixed frames of reference: 1\.2\.9 \(59 slices\), 1\.2\.10 \(1 slices\)",
        ),
        ({"orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}, "mixed orientations"),
        ({"rows": 256}, r"mixed matrix sizes: 512x512 \(59 slices\), 256x512 \(1 slices\)"),
        ({"pixel_spacing_mm": (0.5, 0.5)}, "mixed pixel spacings"),
        ({"position_lps_mm": None}, r"Image Position \(Patient\) is absent.* in instance number 50"),
        ({"position_lps_mm": (0.0, 0.0, 1e308)}, "below 10 m in instance number 50"),
        ({"orientation": None}, r"Image Orientation \(Patient\) is absent"),
        ({"orientation": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)}, "two perpendicular unit vectors"),
        ({"orientation": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)}, "two perpendicular unit vectors"),
        ({"pixel_spacing_mm": (0.0, 1.0)}, "Pixel Spacing is absent or not two numbers between 0 and 10 mm"),
        ({"pixel_spacing_mm": (-1.0, 1.0)}, "Pixel Spacing"),
        ({"frame_of_reference_uid": ""}, "Frame of Reference UID is absent"),
        ({"rows": 0}, "Rows or Columns is zero"),
        ({"number_of_frames": 2}, "more than one frame"),
    ],
)
def test_each_wrong_header_value_is_refused_by_name(change: dict[str, object], message: str) -> None:
    headers = ct_headers(60)
    headers[10] = replace(headers[10], **change)  # type: ignore[arg-type]

    with pytest.raises(SeriesGeometryError, match=message):
        stack(Series(tuple(headers)))


def test_every_reason_is_given_at_once() -> None:
    headers = ct_headers(60)
    headers[1] = replace(headers[1], frame_of_reference_uid="1.2.10", rows=256)

    texts = [fault.text for fault in geometry_faults(headers)]

    assert len(texts) == 2


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_too_few_slices_prove_nothing(slices: int) -> None:
    with pytest.raises(SeriesGeometryError, match=f"{slices} slices, at least 4"):
        stack(ct_series(slices))


def test_a_long_list_of_faults_is_counted_not_printed() -> None:
    headers = [replace(h, position_lps_mm=None) for h in ct_headers(60)]

    (fault,) = geometry_faults(headers)

    assert fault.text.endswith("and 55 more")
