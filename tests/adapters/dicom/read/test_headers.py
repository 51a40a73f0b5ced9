"""A header is read as the Standard means it, or the value is absent; a sender's junk never raises elsewhere."""

from __future__ import annotations

import struct
import zlib
from datetime import datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from npc_contour.adapters.dicom.read import headers
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.uids import is_uid
from npc_contour.errors import InstanceRefused
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets

EXPLICIT, IMPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)


def read(dataset: Dataset, tmp_path: Path) -> InstanceHeader:
    path = tmp_path / "one.dcm"
    path.write_bytes(as_bytes(dataset))
    return headers.read_file(path)[0]


def raw(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def parse(*elements: bytes) -> InstanceHeader:
    parsed = headers.parse_data_set(b"".join(elements), EXPLICIT)
    return headers.header_of(parsed, key="k")


def test_every_field_of_an_ordinary_slice(tmp_path: Path) -> None:
    dataset = ct_datasets(CtPlan(contrast_agent="ULTRAVIST", description="鼻咽 CE"))[2]

    header = read(dataset, tmp_path)

    assert header.sop_instance_uid == str(dataset.SOPInstanceUID)
    assert header.position_lps_mm == (-20.0, -30.0, 105.0)
    assert header.orientation == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert header.pixel_spacing_mm == (1.5, 0.75)
    assert (header.rows, header.columns, header.number_of_frames) == (10, 12, 1)
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert header.series_description == "鼻咽 CE"
    assert header.contrast_bolus_agent == "ULTRAVIST"
    assert header.acquired_at == datetime(2026, 1, 2, 10, 15)  # noqa: DTZ001  the header has no zone
    assert (header.instance_number, header.acquisition_number, header.series_number) == (4, 1, 2)


def test_no_field_holds_the_patient_s_name(tmp_path: Path) -> None:
    assert "Nobody" not in repr(read(ct_datasets(CtPlan())[0], tmp_path))


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19010203"}, True),
        ({"PatientName": "Phantom^One"}, {"PatientName": "Phantom^Spelled Otherwise"}, False),
        ({"PatientID": "", "PatientName": "Phantom^One"}, {"PatientID": "", "PatientName": "Phantom^Two"}, True),
        ({"PatientID": "", "PatientName": "Phantom^One"}, {"PatientID": "", "PatientName": "PHANTOM ONE"}, False),
    ],
)
def test_people_under_one_id_are_told_apart_by_birth_date_and_without_an_id_by_name(
    one: dict[str, str], other: dict[str, str], *, differ: bool
) -> None:
    people = []
    for change in (one, other):
        image = ct_datasets(CtPlan())[0]
        for keyword, value in change.items():
            setattr(image, keyword, value)
        people.append(headers.read_bytes(as_bytes(image), key="")[0].person)
    assert (people[0] != people[1]) is differ


@pytest.mark.parametrize(
    "value", [b"nan\\0\\0", b"1\\2", b"1\\2\\3\\4", b"1,5\\0\\0", b"", b"inf\\0\\0", b"\xff\xfe\\0\\0"]
)
def test_a_position_that_is_not_three_finite_numbers_is_absent(value: bytes) -> None:
    header = parse(raw(0x00080060, b"CS", b"CT"), raw(0x00200032, b"DS", value))

    assert header.position_lps_mm is None


@pytest.mark.parametrize(
    ("value", "number"), [(b"12", 12), (b"9e99", None), (b"junk", None), (b"1\\2", None), (b"1.5", None)]
)
def test_integers_are_integers_or_absent(value: bytes, number: int | None) -> None:
    assert parse(raw(0x00080060, b"CS", b"CT"), raw(0x00200013, b"IS", value)).instance_number == number


@pytest.mark.parametrize(
    ("charset", "value", "text"),
    [
        (b"ISO_IR 100", "Käse".encode("latin-1"), "Käse"),
        (b"ISO_IR 192", "鼻咽".encode(), "鼻咽"),
        (b"GB18030", "鼻咽".encode("gb18030"), "鼻咽"),
        (b"", "鼻咽".encode("gb18030"), "鼻咽"),
        (b"", "鼻咽".encode(), "鼻咽"),
        (b"NONSENSE", b"plain", "plain"),
        (b"\\ISO 2022 IR 58", b"\x1b$)A" + "鼻咽".encode("gb2312"), "鼻咽"),
        (b"ISO_IR 100", b"a\r\nb\x1b[2Jc\0", "a b [2Jc"),
    ],
)
def test_text_is_decoded_and_free_of_control_characters(charset: bytes, value: bytes, text: str) -> None:
    header = parse(raw(0x00080005, b"CS", charset), raw(0x0008103E, b"LO", value))

    assert header.series_description == text


@pytest.mark.parametrize(
    ("elements", "moment"),
    [
        ([(0x0008002A, b"DT", b"20260102101500.250000+0800")], datetime(2026, 1, 2, 10, 15, 0, 250000)),  # noqa: DTZ001
        ([(0x00080022, b"DA", b"20260102"), (0x00080032, b"TM", b"101500.5")], datetime(2026, 1, 2, 10, 15, 0, 500000)),  # noqa: DTZ001
        ([(0x00080022, b"DA", b"2026.01.02"), (0x00080032, b"TM", b"10:15:00")], datetime(2026, 1, 2, 10, 15)),  # noqa: DTZ001
        ([(0x00080023, b"DA", b"20260102"), (0x00080033, b"TM", b"101500")], datetime(2026, 1, 2, 10, 15)),  # noqa: DTZ001
        ([(0x00080022, b"DA", b"99999999"), (0x00080032, b"TM", b"101500")], None),
        ([(0x00080022, b"DA", b"20260102")], None),
    ],
)
def test_when_it_was_acquired(elements: list[tuple[int, bytes, bytes]], moment: datetime | None) -> None:
    assert parse(*(raw(*element) for element in elements)).acquired_at == moment


@pytest.mark.parametrize(
    ("uid", "fine"),
    [
        ("1.2.840.10008", True),
        ("1.02.3", True),
        ("9" * 64, True),
        ("9" * 65, False),
        ("", False),
        ("..", False),
        (".", False),
        ("1..2", False),
        ("../../etc/passwd", False),
        ("1.2/3", False),
        ("1.2\0", False),
        ("1.2a", False),
        ("1.2\n", False),
        ("١.٢", False),
    ],
)
def test_uids_before_they_touch_a_path(uid: str, *, fine: bool) -> None:
    assert is_uid(uid) is fine


def encoded(*, implicit: bool, little: bool) -> bytes:
    dataset = Dataset()
    dataset.SOPInstanceUID, dataset.Modality, dataset.Rows = "1.2.3", "CT", 258
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        (EXPLICIT, encoded(implicit=False, little=True)),
        (IMPLICIT, encoded(implicit=True, little=True)),
        (BIG, encoded(implicit=False, little=False)),
        (DEFLATED, zlib.compress(encoded(implicit=False, little=True), wbits=-15)),
    ],
)
def test_every_encoding_gives_the_same_header(syntax: str, data: bytes) -> None:
    header = headers.header_of(headers.parse_data_set(data, syntax), key="")

    assert (header.sop_instance_uid, header.modality, header.rows) == ("1.2.3", "CT", 258)


@pytest.mark.parametrize(
    ("syntax", "data", "message"),
    [
        (IMPLICIT, encoded(implicit=False, little=True), "has explicit VR, its transfer syntax says implicit"),
        (EXPLICIT, encoded(implicit=True, little=True), "has implicit VR, its transfer syntax says explicit"),
        (EXPLICIT, encoded(implicit=False, little=False), "not an image's"),
        (EXPLICIT, b"", "is empty"),
        (EXPLICIT, b"<html>not a data set</html>", "not an image's"),
        (DEFLATED, b"not deflated at all", "deflated data set is broken"),
        (DEFLATED, zlib.compress(encoded(implicit=False, little=True), wbits=-15)[:-8], "cut off"),
    ],
)
def test_bytes_that_are_not_what_the_transfer_syntax_says_are_refused(syntax: str, data: bytes, message: str) -> None:
    with pytest.raises(InstanceRefused, match=message) as caught:
        headers.parse_data_set(data, syntax)
    assert caught.value.status == 0xC001


def test_a_deflate_bomb_is_cut_at_the_limit() -> None:
    bomb = zlib.compress(bytes(headers.MAX_INFLATED_BYTES + 1), wbits=-15)

    with pytest.raises(InstanceRefused, match="inflates beyond"):
        headers.parse_data_set(bomb, DEFLATED)


def test_sequences_nested_to_death_are_refused() -> None:
    depth = 3000
    open_item = struct.pack("<HH2sHLHHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)

    with pytest.raises(InstanceRefused, match="nested deeper than 64"):
        parse(raw(0x00080060, b"CS", b"CT"), open_item * depth)


@pytest.mark.parametrize("content", [b"", b"short", bytes(132), b"x" * 4096])
def test_files_that_are_not_dicom(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(InstanceRefused, match="not a DICOM file"):
        headers.read_file(path)


def test_pydicom_s_files_without_meta_are_named() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"

    for name, message in (("no_meta.dcm", "not a DICOM file"), ("meta_missing_tsyntax.dcm", "no Transfer Syntax UID")):
        with pytest.raises(InstanceRefused, match=message):
            headers.read_file(folder / name)


@pytest.mark.parametrize("open_ended", [False, True])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_units_of_a_real_world_value_mapping_are_read(tmp_path: Path, syntax: str, *, open_ended: bool) -> None:
    image = ct_datasets(CtPlan(slices=1, rows=4, columns=4))[0]
    units, mapping = Dataset(), Dataset()
    units.CodeValue, units.CodingSchemeDesignator = "mg/mL", "UCUM"
    mapping.MeasurementUnitsCodeSequence = [units]
    mapping.QuantityDefinitionSequence = [Dataset()]
    mapping.QuantityDefinitionSequence[0].CodeValue = "121206"
    image.RealWorldValueMappingSequence, image.RescaleType = [mapping], "EDW"
    image["RealWorldValueMappingSequence"].is_undefined_length = open_ended
    mapping["MeasurementUnitsCodeSequence"].is_undefined_length = open_ended
    image.file_meta.TransferSyntaxUID = UID(syntax)

    image.save_as(tmp_path / "one.dcm", implicit_vr=syntax == IMPLICIT, little_endian=True)
    header, _ = headers.read_file(tmp_path / "one.dcm")

    assert (header.rescale_type, header.real_world_units) == ("EDW", ("mg/mL",))
