"""A structure set of other images is known by its frame of reference, study or series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npc_contour.core.origin import foreign_reasons
from npc_contour.domain.structures import ReadContour, ReadRoi, ReadStructureSet

_CONTOUR = ReadContour("CLOSED_PLANAR", np.zeros((3, 3)), ())
_ROI = ReadRoi(1, "A", "", (0, 0, 0), "", "1.1", None, (_CONTOUR,))
OURS = ReadStructureSet("SET", "", "", "", "1.9", "1.2", ("1.1",), ("1.3",), (), (_ROI,))


def test_the_images_it_was_drawn_on_are_its_own() -> None:
    assert foreign_reasons(OURS, "1.1", "1.2", "1.3") == []
    assert foreign_reasons(replace(OURS, series_instance_uids=(), study_instance_uid=""), "1.1", "1.2", "1.3") == []
    elsewhere = replace(OURS, study_instance_uid="9", referenced_study_uids=("1.2",))
    assert foreign_reasons(elsewhere, "1.1", "1.2", "1.3") == []


@pytest.mark.parametrize(
    ("frame", "study", "series", "word"),
    [
        ("7", "1.2", "1.3", "frame of reference 1.1"),
        ("1.1", "7", "1.3", "study 1.2"),
        ("1.1", "1.2", "7", "series 1.3"),
    ],
)
def test_other_images_are_named(frame: str, study: str, series: str, word: str) -> None:
    (reason,) = foreign_reasons(OURS, frame, study, series)

    assert reason.startswith(word)
    assert reason.endswith("7")


def test_an_roi_without_any_frame_of_reference_is_not_proved() -> None:
    nowhere = replace(OURS, rois=(replace(_ROI, frame_of_reference_uid=""),), frame_of_reference_uids=())

    assert foreign_reasons(nowhere, "1.1", "1.2", "1.3") == ["frame of reference none, the images have 1.1"]
