"""DICOM headers as `InstanceHeader`: raw elements read defensively, never by trust in a sender.

Values are taken from the raw bytes of an element, not through pydicom's conversion, which raises or warns on what
real scanners write (commas, NaN, several values, junk). A value that is not what the Standard asks is absent here;
`core.stacking` then refuses the slice by name. The patient's name is never read.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime, time
from io import BytesIO
from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from npc_contour.adapters.dicom.read.elements import (
    CANNOT_PARSE,
    PIXEL_DATA,
    Elements,
    Encoding,
    check_no_element_repeated,
    scan,
    tag_at,
)
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused

MAX_INFLATED_BYTES = 256 * 2**20
"""A deflated data set may not grow beyond this: one megabyte of deflate can hold a gigabyte."""

NOT_DICOM = "not a DICOM file"
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,6}))?")
_META_ENCODING = Encoding(implicit=False, little=True)
_META_GROUP = 0x0002
_GROUP_LENGTH = bytes.fromhex("02000000554c0400")


@dataclass(frozen=True, slots=True)
class ParsedInstance:
    """A data set read up to its pixels.

    Attributes:
        elements: the values up to the pixels, raw.
        transfer_syntax_uid: how the bytes were encoded as received.
        data: what holds the data set, inflated where it came deflated.
        pixel_data_offset: where the Pixel Data element starts in `data`; None when there is none.
    """

    elements: Elements
    transfer_syntax_uid: str
    data: bytes | memoryview
    pixel_data_offset: int | None


def read_file(path: Path, *, key: str | None = None) -> tuple[InstanceHeader, ParsedInstance]:
    """Read a DICOM file (PS3.10) up to its pixels.

    Raises:
        InstanceRefused: it is not a DICOM file, or its data set cannot be parsed.
        OSError: it cannot be read.
    """
    return read_bytes(path.read_bytes(), key=str(path) if key is None else key)


def as_file(source: Path | bytes) -> Path | BytesIO:
    """What pydicom opens: a file on disk, or one that has been read."""
    return source if isinstance(source, Path) else BytesIO(source)


def read_bytes(content: bytes | memoryview, *, key: str) -> tuple[InstanceHeader, ParsedInstance]:
    """Read the bytes of a DICOM file up to its pixels; they may end anywhere after the header.

    Raises:
        InstanceRefused: it is not a DICOM file, or its data set cannot be parsed.
    """
    meta, data_set = split_file(content)
    parsed = parse_data_set(data_set, meta.uid("TransferSyntaxUID"))
    return header_of(parsed, key=key), parsed


def split_file(content: bytes | memoryview) -> tuple[Elements, memoryview]:
    """Return the file meta information and the encoded data set of a DICOM file (PS3.10 7.1).

    Raises:
        InstanceRefused: it is not a DICOM file, or its meta information names no transfer syntax.
    """
    if content[128:132] != b"DICM":
        raise InstanceRefused(f"{NOT_DICOM}: no DICM after the preamble", status=CANNOT_PARSE)
    data = memoryview(content)[132:]
    # By its group length where there is one: a deflated data set may look like anything, even like more of group 2.
    length = struct.unpack_from("<L", data, 8)[0] + 12 if data[:8] == _GROUP_LENGTH and len(data) >= 12 else len(data)
    values, start = scan(data[:length], 0, _META_ENCODING, last_group=_META_GROUP)
    meta = Elements(values, little=True)
    if not meta.uid("TransferSyntaxUID"):
        raise InstanceRefused("the file meta information has no Transfer Syntax UID", status=CANNOT_PARSE)
    return meta, data[start:]


def parse_data_set(data: bytes | memoryview, transfer_syntax_uid: str) -> ParsedInstance:
    """Read an encoded data set up to its pixels.

    Raises:
        InstanceRefused: the bytes are not a data set in that transfer syntax, or inflate beyond the limit.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        data = _inflate(data)
    encoding = _encoding_of(transfer_syntax_uid)
    _check_encoding(bytes(data[:8]), encoding)
    values, stopped_at = scan(data, 0, encoding)
    elements = Elements(values, little=encoding.little, implicit=encoding.implicit)
    offset = stopped_at if tag_at(data, stopped_at, encoding) == PIXEL_DATA else None
    return ParsedInstance(elements, transfer_syntax_uid, data, offset)


def check_every_level(parsed: ParsedInstance) -> None:
    """Return when no element of a data set without pixels occurs twice with different values, in items either.

    Raises:
        InstanceRefused: one does; it is named.
    """
    check_no_element_repeated(parsed.data, _encoding_of(parsed.transfer_syntax_uid))


def _encoding_of(transfer_syntax_uid: str) -> Encoding:
    return Encoding(
        implicit=transfer_syntax_uid == ImplicitVRLittleEndian, little=transfer_syntax_uid != ExplicitVRBigEndian
    )


def header_of(parsed: ParsedInstance, *, key: str) -> InstanceHeader:
    """The header of a parsed data set; `key` is where its bytes are kept."""
    e = parsed.elements
    spacing, position = e.numbers("PixelSpacing", 2), e.numbers("ImagePositionPatient", 3)
    orientation = e.numbers("ImageOrientationPatient", 6)
    return InstanceHeader(
        key=key,
        sop_instance_uid=e.uid("SOPInstanceUID"),
        sop_class_uid=e.uid("SOPClassUID"),
        series_instance_uid=e.uid("SeriesInstanceUID"),
        study_instance_uid=e.uid("StudyInstanceUID"),
        modality=e.text("Modality"),
        patient_id=e.text("PatientID"),
        frame_of_reference_uid=e.uid("FrameOfReferenceUID"),
        transfer_syntax_uid=parsed.transfer_syntax_uid,
        rows=e.short("Rows") or 0,
        columns=e.short("Columns") or 0,
        number_of_frames=e.integer("NumberOfFrames") or 1,
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing else None,
        position_lps_mm=(position[0], position[1], position[2]) if position else None,
        orientation=(*orientation[:5], orientation[5]) if orientation else None,  # type: ignore[arg-type]
        instance_number=e.integer("InstanceNumber"),
        acquisition_number=e.integer("AcquisitionNumber"),
        images_in_acquisition=e.integer("ImagesInAcquisition"),
        series_number=e.integer("SeriesNumber"),
        series_description=e.text("SeriesDescription"),
        study_description=e.text("StudyDescription"),
        protocol_name=e.text("ProtocolName"),
        body_part=e.text("BodyPartExamined"),
        image_type=e.texts("ImageType"),
        contrast_bolus_agent=e.text("ContrastBolusAgent"),
        contrast_bolus_route=e.text("ContrastBolusRoute"),
        patient_position=e.text("PatientPosition"),
        gantry_tilt_deg=e.number("GantryDetectorTilt"),
        acquired_at=_acquired_at(e),
        manufacturer=e.text("Manufacturer"),
        manufacturer_model=e.text("ManufacturerModelName"),
        kernel="\\".join(e.texts("ConvolutionKernel")),
        injected_at=_time_of_day(e.text("ContrastBolusStartTime")),
        echo_time_ms=e.number("EchoTime"),
        repetition_time_ms=e.number("RepetitionTime"),
        inversion_time_ms=e.number("InversionTime"),
        sequence_name=e.text("SequenceName"),
        scanning_sequence=e.texts("ScanningSequence"),
        sequence_variant=e.texts("SequenceVariant"),
        scan_options=e.texts("ScanOptions"),
        patient_id_issuer=e.text("IssuerOfPatientID"),
        rescale_type=e.text("RescaleType"),
        real_world_units=e.real_world_units(),
        angio_flag=e.text("AngioFlag"),
        person=_person(e),
        accession_number=e.text("AccessionNumber"),
    )


def _check_encoding(first: bytes, encoding: Encoding) -> None:
    """Refuse a data set whose first element contradicts the transfer syntax."""
    if len(first) < 8:
        raise InstanceRefused("the data set is empty", status=CANNOT_PARSE)
    group = int.from_bytes(first[:2], "little" if encoding.little else "big")
    if not 0x0004 <= group < 0x0800 or group % 2:
        raise InstanceRefused(f"the data set starts with group {group:04X}, not an image's", status=CANNOT_PARSE)
    looks_explicit = first[4:6].isalpha() and first[4:6].isupper()
    if looks_explicit == encoding.implicit:
        found, said = ("explicit", "implicit") if encoding.implicit else ("implicit", "explicit")
        raise InstanceRefused(f"the data set has {found} VR, its transfer syntax says {said}", status=CANNOT_PARSE)


def _inflate(deflated: bytes | memoryview) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(deflated, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise InstanceRefused(f"the deflated data set is broken: {error}", status=CANNOT_PARSE) from error
    if len(data) >= MAX_INFLATED_BYTES and not inflater.eof:
        raise InstanceRefused(f"the data set inflates beyond {MAX_INFLATED_BYTES} bytes", status=CANNOT_PARSE)
    if not inflater.eof:
        raise InstanceRefused("the deflated data set is cut off", status=CANNOT_PARSE)
    return data


def _person(elements: Elements) -> str:
    """A digest of the birth date, and of the name where nothing else says who it is; "" where there is neither."""
    name = (
        "" if elements.text("PatientID") else " ".join(elements.text("PatientName").upper().replace("^", " ").split())
    )
    known = f"{elements.text('PatientBirthDate')}\n{name}"
    return hashlib.sha256(known.encode()).hexdigest()[:16] if known.strip() else ""


def _acquired_at(elements: Elements) -> datetime | None:
    """When the image was acquired, in the scanner's local time, without a zone."""
    for date_keyword, time_keyword in (
        ("AcquisitionDateTime", None),
        ("AcquisitionDate", "AcquisitionTime"),
        ("ContentDate", "ContentTime"),
        ("SeriesDate", "SeriesTime"),
    ):
        text = elements.text(date_keyword).replace(".", "", 2 if time_keyword else 0)
        if time_keyword:
            text += elements.text(time_keyword).replace(":", "")
        match = _MOMENT.match(text)
        if match is None:
            continue
        *whole, fraction = match.groups()
        year, month, day, hour, minute, second = map(int, whole)
        microsecond = int((fraction or "0").ljust(6, "0"))
        try:
            return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001 - the header has no zone
        except ValueError:
            continue
    return None


def _time_of_day(text: str) -> time | None:
    """A TM value (PS3.5 6.2), also in the old form with colons; None when it is none."""
    match = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(?:\.\d*)?", text.replace(":", ""))
    try:
        return time(int(match[1]), int(match[2] or 0), int(match[3] or 0)) if match else None
    except ValueError:
        return None
