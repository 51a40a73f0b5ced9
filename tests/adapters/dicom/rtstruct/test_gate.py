"""The gate passes what the writer makes and blocks every kind of wrong RTSTRUCT with its reason."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.errors import GateError
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import MADE_AT, Planning, planning_series, spec, structure_set


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), CtPlan(slices=6, rows=30, columns=30))


def crops_of(planning: Planning) -> tuple[RoiMask, ...]:
    shape = planning.volume.grid.shape_zyx
    z, y, x = np.indices(shape)
    ball = (np.hypot(y - 15, x - 14) < 10) & (z > 0) & (z < 5)
    ring = ball & (np.hypot(y - 15, x - 14) > 4)
    return mask_of_array(spec("Ball"), ball), mask_of_array(spec("Ring"), ring)


def good(planning: Planning) -> bytes:
    content = structure_set(crops_of(planning), planning.volume)
    return encode_rtstruct(content, planning.volume, planning.header, made_at=MADE_AT)


def spoilt(planning: Planning, change: Callable[[Dataset], None]) -> bytes:
    dataset = dcmread(BytesIO(good(planning)))
    change(dataset)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_what_the_writer_makes_passes_with_every_voxel(planning: Planning) -> None:
    report = check_rtstruct(good(planning), crops_of(planning), planning.volume, planning.header)

    assert [roi.name for roi in report.rois] == ["Ball", "Ring"]
    assert [roi.differing_voxels for roi in report.rois] == [0, 0]
    assert report.min_dice == 1.0


def approve(dataset: Dataset) -> None:
    dataset.ApprovalStatus = "APPROVED"


def move_a_point(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    values = list(contour.ContourData)
    values[2] += 0.5
    contour.ContourData = values


def shift_a_contour(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[1]
    values = list(contour.ContourData)
    values[0::3] = [value + 1.5 for value in values[0::3]]
    contour.ContourData = values


def lift_a_contour(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[1]
    values = list(contour.ContourData)
    values[2::3] = [value + 200 for value in values[2::3]]
    contour.ContourData = values


def drop_a_contour(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[1].ContourSequence[2]


def break_an_image_reference(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4"


def forget_an_image(dataset: Dataset) -> None:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    del study.RTReferencedSeriesSequence[0].ContourImageSequence[0]


def another_series(dataset: Dataset) -> None:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.4"


def another_frame(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3.4"


def swap_names(dataset: Dataset) -> None:
    first, second = dataset.StructureSetROISequence
    first.ROIName, second.ROIName = second.ROIName, first.ROIName


def same_names(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROIName = "Ball"


def lose_an_roi(dataset: Dataset) -> None:
    del dataset.StructureSetROISequence[1]


def two_points(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = list(contour.ContourData)[:6]


def long_number(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    element = contour.get_item("ContourData")
    start, rest = element.value.split(b"\\", 1)
    value = start + (b".0" if b"." not in start else b"") + b"0" * 14 + b"\\" + rest
    value += b" " * (len(value) % 2)
    contour._dict[element.tag] = element._replace(value=value, length=len(value))


def wrong_count(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 7


def no_operators_name(dataset: Dataset) -> None:
    del dataset.OperatorsName


def retired_label(dataset: Dataset) -> None:
    dataset.RTROIObservationsSequence[0].ROIObservationLabel = "Ball"


def no_contour_image(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (long_number, r"a number of \d+ characters, Decimal String allows 16"),
        (wrong_count, "NumberOfContourPoints says 7, ContourData has"),
        (no_operators_name, "OperatorsName in the object is absent"),
        (retired_label, "ROIObservationLabel in RTROIObservationsSequence is retired"),
        (no_contour_image, "ContourImageSequence in ContourSequence has no value"),
        (approve, "approval status is 'APPROVED'"),
        (move_a_point, r"Ball has a point 0\.\d+ mm off its image plane"),
        (shift_a_contour, r"Ball reads back with Dice 0\.\d+, 0.999 is asked"),
        (lift_a_contour, "Ball has contours on no image"),
        (drop_a_contour, "Ring reads back with Dice"),
        (break_an_image_reference, "Ball has 1 contours that reference another image"),
        (forget_an_image, "5 images are referenced, not the 6"),
        (another_series, "series is"),
        (another_frame, "frame of reference '1.2.3.4', which is not referenced"),
        (swap_names, "reads back with Dice"),
        (same_names, "two ROIs have one name.*Ring is missing"),
        (lose_an_roi, "Ring is missing"),
        (two_points, "not closed polygons of 3 points"),
    ],
)
def test_a_wrong_object_is_blocked_with_its_reason(
    planning: Planning, change: Callable[[Dataset], None], reason: str
) -> None:
    with pytest.raises(GateError, match=reason):
        check_rtstruct(spoilt(planning, change), crops_of(planning), planning.volume, planning.header)
