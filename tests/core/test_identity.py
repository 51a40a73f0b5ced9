"""Images of two patients, or of two studies, never become one stack or one case; no sentence names an ID."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from npc_contour.core.completeness import Arrivals, CompletionRules, judge
from npc_contour.core.grouping import group
from npc_contour.core.identity import mixed_patients
from npc_contour.core.stacking import geometry_faults
from npc_contour.domain.jobs import SeriesState
from npc_testkit.ct_headers import ct_headers

NOW = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patient_id": "OTHER"}, "2 Patient IDs (40 and 20 images)"),
        ({"patient_id": "tk0001"}, "upper and lower case only"),
        ({"patient_id": ""}, "one Patient ID and images without any"),
        ({"study_instance_uid": "1.7"}, "2 studies (40 and 20 images)"),
        ({"patient_id_issuer": "HOSPITAL B"}, "2 issuers of the Patient ID"),
        ({"person": "b"}, "2 people by birth date or name under one Patient ID (40 and 20 images)"),
    ],
)
def test_a_series_of_two_patients_is_held_at_once_and_names_no_id(change: dict[str, Any], words: str) -> None:
    images = ct_headers(60, patient_id_issuer="HOSPITAL A", person="a")
    images[40:] = [replace(image, **change) for image in images[40:]]
    (fault,) = geometry_faults(group(images).series[0].instances)
    assert words in fault.text
    assert fault.text.startswith("mixed patients: ")
    assert "TK0001" not in fault.text
    assert "OTHER" not in fault.text
    arrivals = Arrivals(last_at=NOW, last_ended_at=NOW)
    assert judge(images, arrivals, CompletionRules(quiet_released_s=0), NOW).state is SeriesState.HELD


def test_an_issuer_that_a_pacs_added_on_the_way_contradicts_nobody() -> None:
    images = ct_headers(60)
    images[40:] = [replace(image, patient_id_issuer="HOSPITAL A", person="a") for image in images[40:]]
    assert mixed_patients(images) == ""


def test_another_patients_images_are_no_strays() -> None:
    images = ct_headers(60)
    images[:2] = [replace(image, patient_id="OTHER", rows=256) for image in images[:2]]
    grouped = group(images)
    assert grouped.excluded == ()
    assert "mixed patients" in geometry_faults(grouped.series[0].instances)[0].text
