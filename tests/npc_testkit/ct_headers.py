"""Headers of a regular CT series without any file, for the pure floors."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from npc_contour.domain.series import InstanceHeader, Series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CT = "1.2.840.10008.5.1.4.1.1.2"


def ct_header(**changes: Any) -> InstanceHeader:
    """One ordinary axial CT slice; keyword arguments replace fields."""
    header = InstanceHeader(
        key="k",
        sop_instance_uid="1.2.3.4",
        sop_class_uid=CT,
        series_instance_uid="1.2.3",
        study_instance_uid="1.2",
        modality="CT",
        patient_id="TK0001",
        frame_of_reference_uid="1.2.9",
        rows=512,
        columns=512,
        pixel_spacing_mm=(1.0, 1.0),
        position_lps_mm=(-256.0, -256.0, 0.0),
        orientation=AXIAL,
        series_description="HEAD NECK",
        body_part="HEADNECK",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        acquired_at=datetime(2026, 1, 2, 10, 15),  # noqa: DTZ001  scanners write local time
    )
    return replace(header, **changes)


def ct_headers(slices: int = 60, *, gap_mm: float = 3.0, uid: str = "1.2.3", **changes: Any) -> list[InstanceHeader]:
    """A regular axial stack, ascending; instance numbers from 1 against the order; keyword arguments replace fields."""
    return [
        replace(
            ct_header(**changes),
            key=f"{uid}/{index}",
            series_instance_uid=uid,
            sop_instance_uid=f"{uid}.{index + 1}",
            position_lps_mm=(-256.0, -256.0, -90.0 + gap_mm * index),
            instance_number=slices - index,
        )
        for index in range(slices)
    ]


def ct_series(slices: int = 60, *, gap_mm: float = 3.0, uid: str = "1.2.3", **changes: Any) -> Series:
    """`ct_headers` as a series."""
    return Series(tuple(ct_headers(slices, gap_mm=gap_mm, uid=uid, **changes)))
