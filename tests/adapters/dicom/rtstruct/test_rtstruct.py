"""The RTSTRUCT says who, on which images, what, how sure and by which network; the same case gives the same bytes."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from npc_contour.adapters.dicom.read.element_bytes import Encoder
from npc_contour.adapters.dicom.read.planning_header import planning_header, read_planning_header
from npc_contour.adapters.dicom.rtstruct.writer import derived_uid, encode_rtstruct, sop_instance_uid
from npc_contour.core.contouring import contour_rois
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.profiles import GENERIC
from npc_contour.domain.structures import InterpretedType, NetworkProvenance, StructureSet
from npc_contour.errors import GateError, InstanceRefused
from npc_testkit.ct_series import CtPlan, ct_datasets
from npc_testkit.rtstructs import MADE_AT, Planning, crops, encoded, planning_of, planning_series, spec, structure_set

PLAN = CtPlan(slices=5, rows=20, columns=24)
SHA = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(tmp_path_factory.mktemp("ct"), PLAN)


def masks(planning: Planning) -> tuple[RoiMask, ...]:
    shape = planning.volume.grid.shape_zyx
    brain = np.zeros(shape, dtype=np.bool_)
    brain[1:4, 3:15, 4:20] = True
    brain[2, 7:9, 10:12] = False
    gtv = np.zeros(shape, dtype=np.bool_)
    gtv[2, 5:8, 6:9] = True
    return (
        mask_of_array(spec("Brain"), brain),
        mask_of_array(spec("Lens_L"), np.zeros(shape, dtype=np.bool_)),
        mask_of_array(spec("GTVp", InterpretedType.GTV), gtv),
    )


def content(planning: Planning, *, demo: bool = False) -> StructureSet:
    return structure_set(masks(planning), planning.volume, demo=demo)


def parsed(planning: Planning, structures: StructureSet) -> Dataset:
    return dcmread(BytesIO(encode_rtstruct(structures, planning.volume, planning.header, made_at=MADE_AT)))


def test_the_object_is_an_unapproved_structure_set_of_the_planning_series(planning: Planning) -> None:
    dataset = parsed(planning, content(planning))
    image = dcmread(next(planning.folder.iterdir()))

    assert dataset.SOPClassUID.name == "RT Structure Set Storage"
    assert dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.ApprovalStatus == "UNAPPROVED"
    assert dataset.StudyInstanceUID == image.StudyInstanceUID
    assert dataset.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert dataset.SeriesInstanceUID not in {image.SeriesInstanceUID, dataset.SOPInstanceUID}
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    references = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert tuple(references) == planning.volume.sop_instance_uids


def test_numbers_agree_in_all_three_sequences(planning: Planning) -> None:
    dataset = parsed(planning, content(planning))

    assert [item.ROINumber for item in dataset.StructureSetROISequence] == [1, 2]
    assert [item.ROIName for item in dataset.StructureSetROISequence] == ["Brain", "GTVp"]
    assert [item.ReferencedROINumber for item in dataset.ROIContourSequence] == [1, 2]
    assert [item.ReferencedROINumber for item in dataset.RTROIObservationsSequence] == [1, 2]
    assert [item.RTROIInterpretedType for item in dataset.RTROIObservationsSequence] == ["ORGAN", "GTV"]
    assert list(dataset.ROIContourSequence[0].ROIDisplayColor) == [200, 80, 40]


def test_each_contour_references_the_image_it_lies_on(planning: Planning) -> None:
    dataset = parsed(planning, content(planning))

    for item in dataset.ROIContourSequence[0].ContourSequence:
        assert item.ContourGeometricType == "CLOSED_PLANAR"
        assert item.NumberOfContourPoints == len(item.ContourData) // 3
        index = planning.volume.sop_instance_uids.index(item.ContourImageSequence[0].ReferencedSOPInstanceUID)
        assert set(item.ContourData[2::3]) == {planning.volume.slice_positions_lps_mm[index, 2]}


def test_what_was_not_found_is_named_and_not_written(planning: Planning) -> None:
    dataset = parsed(planning, content(planning))

    assert "Not found: Lens_L." in dataset.StructureSetDescription


def test_the_description_is_sentences(planning: Planning) -> None:
    notes = ("not found: Lens_L", "Contrast phase not used.")

    dataset = parsed(planning, replace(content(planning), notes=notes))

    assert dataset.StructureSetDescription == "Made by a test. Not found: Lens_L. Contrast phase not used."


def test_every_roi_says_which_network_made_it(planning: Planning) -> None:
    dataset = parsed(planning, content(planning))
    roi = dataset.StructureSetROISequence[0]

    assert roi.ROIGenerationAlgorithm == "AUTOMATIC"
    assert roi.ROIGenerationDescription == "net 1.2.3 0123456789ab"
    assert SHA in roi.ROIDescription
    (algorithm,) = roi.ROIDerivationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("net", "1.2.3")
    assert SHA in algorithm.AlgorithmParameters
    (equipment,) = dataset.ContributingEquipmentSequence
    assert SHA in equipment.ContributionDescription


def test_a_demo_network_is_named_wherever_a_reader_looks(planning: Planning) -> None:
    dataset = parsed(planning, content(planning, demo=True))

    assert dataset.StructureSetLabel == "DEMO Test set"
    for text in (dataset.SeriesDescription, dataset.StructureSetName, dataset.StructureSetDescription):
        assert "DEMO - NOT FOR CLINICAL USE" in text
    for roi in dataset.StructureSetROISequence:
        assert "DEMO - NOT FOR CLINICAL USE" in roi.ROIDescription
        assert roi.ROIGenerationDescription.startswith("DEMO - NOT FOR CLINICAL USE")


@pytest.mark.parametrize(
    ("severities", "label"),
    [((), "Set"), ((Severity.NOTE,), "Set"), ((Severity.CHECK, Severity.STOP), "STOP Set")],
)
def test_a_profile_may_say_in_the_label_that_something_is_doubtful(
    planning: Planning, severities: tuple[Severity, ...], label: str
) -> None:
    doubts = tuple(Finding(FindingCode.SIDE, one, "", "an eye is on the wrong side") for one in severities)
    structures = replace(content(planning), label="Set", findings=doubts)
    profile = replace(GENERIC, doubtful_label="{severity} {label}")
    data = encode_rtstruct(structures, planning.volume, planning.header, made_at=MADE_AT, profile=profile)

    assert dcmread(BytesIO(data)).StructureSetLabel == label


def test_a_clinical_network_is_not_called_a_demo(planning: Planning) -> None:
    data = encode_rtstruct(content(planning), planning.volume, planning.header, made_at=MADE_AT)

    assert b"DEMO" not in data


def test_long_network_names_are_shortened_in_the_line_and_whole_in_the_text(planning: Planning) -> None:
    long = NetworkProvenance("a_network_with_quite_a_long_name_indeed", "2026.11.22-rc1", SHA, demo=True)
    structures = replace(content(planning), networks={"net": long})

    roi = parsed(planning, structures).StructureSetROISequence[0]

    assert len(roi.ROIGenerationDescription) <= 64
    assert long.name in roi.ROIDescription


def test_the_same_case_gives_the_same_bytes_and_another_another_object(planning: Planning) -> None:
    first = encode_rtstruct(content(planning), planning.volume, planning.header, made_at=MADE_AT)
    again = encode_rtstruct(content(planning), planning.volume, planning.header, made_at=MADE_AT)
    other = replace(content(planning), uid_seed="case-1/generation-1")

    assert first == again
    assert sop_instance_uid(other) != dcmread(BytesIO(first)).SOPInstanceUID
    assert sop_instance_uid(other) == parsed(planning, other).SOPInstanceUID


def test_uids_are_short_enough_and_differ_by_purpose() -> None:
    assert len(derived_uid("seed", "series")) <= 64
    assert derived_uid("seed", "series") != derived_uid("seed", "sop-instance")


def test_a_superseded_structure_set_is_referenced(planning: Planning) -> None:
    dataset = parsed(planning, replace(content(planning), predecessor_sop_instance_uid="1.2.3.4"))

    (predecessor,) = dataset.PredecessorStructureSetSequence
    assert predecessor.ReferencedSOPInstanceUID == "1.2.3.4"


CHARACTER_SETS = [
    pytest.param("GB18030", "王^小东".encode("gb18030"), id="GB18030"),
    pytest.param("GBK", "鄧^麗君".encode("gbk"), id="GBK"),
    pytest.param("ISO_IR 192", "Müller^Jörg=王^小东".encode(), id="UTF-8"),
    pytest.param("ISO_IR 100", "Müller^Jörg".encode("latin-1"), id="Latin-1"),
    pytest.param("ISO_IR 127", "قباني^لنزار".encode("iso8859_6"), id="Arabic"),
    pytest.param(
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        id="Japanese ISO 2022",
    ),
    pytest.param("\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", id="Korean ISO 2022"),
    pytest.param("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", id="Chinese ISO 2022"),
    pytest.param("", "王^小东".encode("gbk"), id="GBK undeclared"),
]


@pytest.mark.parametrize(("character_set", "name"), CHARACTER_SETS)
@pytest.mark.parametrize("read_before", [(), ("PatientName",)], ids=["raw", "decoded"])
def test_the_patient_is_copied_byte_by_byte(
    tmp_path: Path, character_set: str, name: bytes, read_before: tuple[str, ...]
) -> None:
    path = tmp_path / "ct.dcm"
    _write_with_raw_name(path, character_set, name)
    image = dcmread(path, stop_before_pixels=True)
    for keyword in read_before if character_set else ():
        assert image[keyword].value
    header = planning_header(image)
    planning = planning_of(tmp_path / "series", ct_datasets(PLAN))

    data = encode_rtstruct(content(planning), planning.volume, header, made_at=MADE_AT)

    raw = Encoder((), explicit_vr=False).raw
    assert raw(0x00100010, name) in data
    declared = raw(0x00080005, character_set.encode())
    assert declared in data or not character_set
    assert ("SpecificCharacterSet" in dcmread(BytesIO(data))) == bool(character_set)


def _write_with_raw_name(path: Path, character_set: str, name: bytes) -> None:
    """Write an image whose character set and name are exactly these bytes."""
    dataset = ct_datasets(PLAN)[0]
    marker = "N" * (len(name) + len(name) % 2)
    dataset.PatientName = marker
    declared = character_set.encode()
    placeholder = b"ISO_IR 192"
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue().replace(marker.encode(), name.ljust(len(marker)))
    old = b"\x08\x00\x05\x00CS" + len(placeholder).to_bytes(2, "little") + placeholder
    padded = declared + b" " * (len(declared) % 2)
    new = b"\x08\x00\x05\x00CS" + len(padded).to_bytes(2, "little") + padded if declared else b""
    assert old in data
    path.write_bytes(data.replace(old, new))


def test_absent_patient_attributes_are_empty_not_invented(tmp_path: Path) -> None:
    datasets = ct_datasets(PLAN)
    for image in datasets:
        del image.PatientSex
        del image.AccessionNumber
    planning = planning_of(tmp_path, datasets)

    dataset = parsed(planning, content(planning))

    assert dataset.PatientSex == ""
    assert dataset.AccessionNumber == ""
    assert dataset.OperatorsName == ""


def test_an_image_without_a_frame_of_reference_is_refused(tmp_path: Path) -> None:
    image = ct_datasets(PLAN)[0]
    del image.FrameOfReferenceUID
    path = tmp_path / "ct.dcm"
    image.save_as(path, enforce_file_format=True)

    with pytest.raises(InstanceRefused, match="no FrameOfReferenceUID"):
        read_planning_header(path)


@pytest.mark.parametrize(
    ("offset", "date", "clock"), [("+0800", "20260103", "010203"), ("-0500", "20260102", "120203")]
)
def test_times_are_those_of_the_images_clock(tmp_path: Path, offset: str, date: str, clock: str) -> None:
    planning = planning_series(tmp_path, PLAN, overrides={"TimezoneOffsetFromUTC": offset})
    moment = datetime(2026, 1, 2, 17, 2, 3, tzinfo=UTC)

    dataset = dcmread(BytesIO(encode_rtstruct(content(planning), planning.volume, planning.header, made_at=moment)))

    assert dataset.TimezoneOffsetFromUTC == offset
    assert (dataset.StructureSetDate, dataset.StructureSetTime) == (date, clock)


def test_this_machines_zone_is_named_where_the_images_name_none(
    planning: Planning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    moment = datetime(2026, 1, 2, 17, 2, 3, tzinfo=UTC)
    try:
        file = encode_rtstruct(content(planning), planning.volume, planning.header, made_at=moment)
    finally:
        monkeypatch.undo()
        time.tzset()

    dataset = dcmread(BytesIO(file))
    assert (dataset.StructureSetTime, dataset.TimezoneOffsetFromUTC) == ("120203", "-0500")


def test_nothing_found_makes_no_object(planning: Planning) -> None:
    empty = {"Brain": np.zeros(planning.volume.grid.shape_zyx, dtype=np.bool_)}

    with pytest.raises(GateError, match="no ROI has a contour"):
        encoded(planning, empty)


def test_a_name_that_the_character_set_cannot_hold_is_refused(tmp_path: Path) -> None:
    planning = planning_series(tmp_path, PLAN, overrides={"SpecificCharacterSet": "ISO_IR 100"})
    mask = np.ones(planning.volume.grid.shape_zyx, dtype=np.bool_)
    roi_mask = mask_of_array(spec("脑"), mask)
    structures = replace(content(planning), rois=contour_rois([roi_mask], planning.volume))

    with pytest.raises(GateError, match="cannot be written in the images' character set"):
        parsed(planning, structures)


def test_a_chinese_roi_name_is_written_where_the_character_set_has_it(planning: Planning) -> None:
    mask = np.ones(planning.volume.grid.shape_zyx, dtype=np.bool_)
    rois = contour_rois([mask_of_array(spec("脑干"), mask)], planning.volume)

    dataset = parsed(planning, replace(content(planning), rois=rois))

    assert dataset.StructureSetROISequence[0].ROIName == "脑干"


def test_crops_of_several_rois_keep_their_order(planning: Planning) -> None:
    shape = planning.volume.grid.shape_zyx
    named = {name: np.ones(shape, dtype=np.bool_) for name in ("Zeta", "Alpha", "Mid")}

    dataset = parsed(planning, structure_set(crops(named), planning.volume))

    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Zeta", "Alpha", "Mid"]
