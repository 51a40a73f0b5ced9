"""DICOM SEG says the same voxels as the masks, on the images' own planes, and validates."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from npc_contour.adapters.dicom.rtstruct.segmentation import encode_segmentation, read_image_headers
from npc_contour.domain.structures import InterpretedType
from npc_contour.errors import GateError
from npc_testkit.ct_series import CtPlan
from npc_testkit.peers import run_tool
from npc_testkit.rtstructs import MADE_AT, Mask, Planning, crops, planning_series, structure_set

GTV = ("228791009", "SCT")
"""Gross tumour volume, PS3.16 CID 9534."""

PLANS = {
    "head first supine": CtPlan(slices=9, rows=24, columns=30),
    "feet first prone": CtPlan(slices=9, rows=24, columns=30, patient_position="FFP"),
    "oblique": CtPlan(slices=9, rows=24, columns=30, orientation=(0.96, 0.0, 0.28, 0.0, 1.0, 0.0)),
}


@pytest.fixture(scope="module", params=PLANS)
def planning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), PLANS[request.param])


def masks_of(planning: Planning) -> dict[str, Mask]:
    z, y, x = np.indices(planning.volume.grid.shape_zyx)
    ball = np.sqrt((y - 11) ** 2 + (x - 13) ** 2 + (3 * (z - 4)) ** 2) < 8
    return {"Ball": ball, "Core": ball & (x > 10), "Nothing": np.zeros_like(ball), "Corner": (y < 2) & (x > 27)}


def encoded(planning: Planning, masks: dict[str, Mask], *, demo: bool = False) -> bytes:
    cropped = crops(masks)
    files = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in planning.folder.iterdir()}
    images = read_image_headers([files[uid] for uid in planning.volume.sop_instance_uids])
    content = structure_set(cropped, planning.volume, demo=demo)
    return encode_segmentation(content, cropped, planning.volume, images, MADE_AT)


def test_every_voxel_comes_back_where_it_was(planning: Planning, tmp_path: Path) -> None:
    masks = masks_of(planning)
    path = tmp_path / "seg.dcm"
    path.write_bytes(encoded(planning, masks))

    seg = highdicom.seg.segread(path)

    assert [seg.get_segment_description(number).segment_label for number in seg.segment_numbers] == [
        "Ball",
        "Core",
        "Corner",
    ]
    expected = {name: mask for name, mask in masks.items() if mask.any()}
    for number, mask in zip(seg.segment_numbers, expected.values(), strict=True):
        volume = seg.get_volume(segment_numbers=[number])
        inside = np.argwhere(volume.array[..., 0] > 0)
        found_mm = volume.map_indices_to_reference(inside)
        expected_mm = planning.volume.grid.to_patient_mm(np.argwhere(mask))
        order, wanted = np.lexsort(found_mm.round(2).T), np.lexsort(expected_mm.round(2).T)
        np.testing.assert_allclose(found_mm[order], expected_mm[wanted], atol=0.01)


def test_it_validates(planning: Planning, tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    path.write_bytes(encoded(planning, masks_of(planning)))

    done = run_tool("dciodvfy", path)

    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []


def test_the_same_structure_set_gives_the_same_bytes_and_the_demo_is_named(planning: Planning) -> None:
    first = encoded(planning, masks_of(planning), demo=True)

    assert encoded(planning, masks_of(planning), demo=True) == first

    one = dcmread(io.BytesIO(first))
    assert one.InstanceCreationDate == f"{MADE_AT:%Y%m%d}"
    assert one.InstanceCreationTime == f"{MADE_AT:%H%M%S}"
    assert one.FrameOfReferenceUID == planning.volume.grid.frame_of_reference_uid
    assert "NOT FOR CLINICAL USE" in one.SeriesDescription
    algorithm = one.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("net", "1.2.3")
    assert "0123456789abcdef" * 4 in algorithm.AlgorithmParameters


def test_chinese_names_stay_chinese(tmp_path: Path) -> None:
    planning = planning_series(
        tmp_path / "ct",
        PLANS["head first supine"],
        overrides={"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"},
    )
    path = tmp_path / "seg.dcm"
    path.write_bytes(encoded(planning, masks_of(planning)))

    assert str(dcmread(path).PatientName) == "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"


def test_targets_are_coded_as_targets(planning: Planning, tmp_path: Path) -> None:
    (mask,) = crops({"GTVp": masks_of(planning)["Ball"]})
    target = replace(mask, spec=replace(mask.spec, interpreted_type=InterpretedType.GTV))
    files = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in planning.folder.iterdir()}
    images = read_image_headers([files[uid] for uid in planning.volume.sop_instance_uids])
    path = tmp_path / "seg.dcm"
    path.write_bytes(
        encode_segmentation(structure_set((target,), planning.volume), (target,), planning.volume, images, MADE_AT)
    )

    (segment,) = dcmread(path).SegmentSequence

    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == GTV


def test_nothing_but_empty_masks_is_refused(planning: Planning) -> None:
    with pytest.raises(GateError, match="no ROI has a voxel"):
        encoded(planning, {"Nothing": np.zeros(planning.volume.grid.shape_zyx, dtype=np.bool_)})
