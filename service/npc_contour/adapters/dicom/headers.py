"""DICOM headers as `InstanceHeader`: raw elements read defensively, never by trust in a sender.

Values are taken from the raw bytes of an element, not through pydicom's conversion, which raises or warns on what
real scanners write (commas, NaN, several values, junk). A value that is not what the Standard asks is absent here;
`core.stacking` then refuses the slice by name. The patient's name is never read.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused

MAX_TEXT_CHARACTERS = 256
MAX_HEADER_VALUE_BYTES = 4096
MAX_INFLATED_BYTES = 256 * 2**20
"""A deflated data set may not grow beyond this: one megabyte of deflate can hold a gigabyte."""
CANNOT_PARSE = 0xC001
"""C-STORE status of the "cannot understand" family (PS3.4 table B.2-1): the bytes are not a data set."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_PIXEL_DATA_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_HEADER_KEYWORDS = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "PatientID",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "InstanceNumber",
    "AcquisitionNumber",
    "ImagesInAcquisition",
    "SeriesNumber",
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "BodyPartExamined",
    "ContrastBolusAgent",
    "PatientPosition",
    "GantryDetectorTilt",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "SeriesDate",
    "SeriesTime",
    "Manufacturer",
)
_PIXEL_KEYWORDS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "LossyImageCompression",
)
_TAGS = {keyword: Tag(tag_for_keyword(keyword) or 0) for keyword in (*_HEADER_KEYWORDS, *_PIXEL_KEYWORDS)}


@dataclass(frozen=True, slots=True)
class ParsedInstance:
    """A data set read up to its pixels.

    Attributes:
        elements: the elements this module knows, raw.
        transfer_syntax_uid: how the bytes were encoded as received.
        data: the data set's bytes, inflated where they came deflated.
        pixel_data_offset: where the Pixel Data element starts in `data`; None when there is none.
    """

    elements: Elements
    transfer_syntax_uid: str
    data: BinaryIO
    pixel_data_offset: int | None


class Elements:
    """Raw elements of one data set with defensive access by keyword."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._encodings = _encodings(self._raw("SpecificCharacterSet"))

    def text(self, keyword: str) -> str:
        """Decoded text without control characters, at most 256 characters; "" when absent."""
        text = _decode(self._raw(keyword), self._encodings)
        return _CONTROL.sub(" ", text).strip()[:MAX_TEXT_CHARACTERS]

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Several text values; () when absent."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def uid(self, keyword: str) -> str:
        """A UID without its padding, unchecked; "" when absent."""
        return self._raw(keyword).decode("ascii", "replace").strip("\0 ")[:MAX_TEXT_CHARACTERS]

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Exactly `count` finite decimal strings; None otherwise."""
        try:
            values = tuple(float(part) for part in self._raw(keyword).decode("ascii").strip("\0 ").split("\\"))
        except ValueError:
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    def number(self, keyword: str) -> float | None:
        """One finite decimal string; None otherwise."""
        values = self.numbers(keyword, 1)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """One integer string within 32 bits; None otherwise."""
        value = self.number(keyword)
        return int(value) if value is not None and value == int(value) and abs(value) < 2**31 else None

    def short(self, keyword: str, *, signed: bool = False) -> int | None:
        """One 16-bit binary value (US or SS by `signed`, whatever VR was written); None otherwise."""
        tag = _TAGS[keyword]
        raw = self._raw(keyword)
        if len(raw) != 2:
            return None
        element = self._dataset.get_item(tag)
        little = bool(getattr(element, "is_little_endian", True))
        return int(struct.unpack(("<" if little else ">") + ("h" if signed else "H"), raw)[0])

    def _raw(self, keyword: str) -> bytes:
        tag = _TAGS[keyword]
        if tag not in self._dataset:
            return b""
        value = self._dataset.get_item(tag).value
        return value[:MAX_HEADER_VALUE_BYTES] if isinstance(value, bytes) else b""


def is_uid(text: str) -> bool:
    """Whether a text may be used as a UID and in a path: digits and single dots, 1 to 64 characters.

    Leading zeros are let pass although PS3.5 9.1 forbids them: real scanners write them and they harm nothing.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_file(path: Path, *, key: str | None = None) -> tuple[InstanceHeader, ParsedInstance]:
    """Read a DICOM file (PS3.10) up to its pixels.

    Raises:
        InstanceRefused: it is not a DICOM file, or its data set cannot be parsed.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            raise InstanceRefused("not a DICOM file: no DICM after the preamble", status=CANNOT_PARSE)
        stream = BytesIO(file.read())
    meta = _parse(stream, implicit=False, little=True, stop_group=0x0002)
    element = meta.get_item(Tag(0x00020010)) if Tag(0x00020010) in meta else None
    if element is None or not isinstance(element.value, bytes):
        raise InstanceRefused("the file meta information has no Transfer Syntax UID", status=CANNOT_PARSE)
    syntax = element.value.decode("ascii", "replace").strip("\0 ")
    parsed = parse_data_set(stream, syntax)
    return header_of(parsed, key=str(path) if key is None else key), parsed


def parse_data_set(stream: BinaryIO, transfer_syntax_uid: str) -> ParsedInstance:
    """Read a data set from the stream's position up to its pixels.

    Raises:
        InstanceRefused: the bytes are not a data set in that transfer syntax, or inflate beyond the limit.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        stream = BytesIO(_inflate(stream.read()))
    implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    little = transfer_syntax_uid != ExplicitVRBigEndian
    start = stream.tell()
    _check_encoding(stream.read(8), implicit=implicit, little=little)
    stream.seek(start)
    dataset = _parse(stream, implicit=implicit, little=little, stop_group=None)
    offset = stream.tell()
    found = stream.read(4)
    stream.seek(offset)
    tag = struct.unpack("<HH" if little else ">HH", found) if len(found) == 4 else (0, 0)
    is_pixels = (tag[0] << 16 | tag[1]) in _PIXEL_DATA_TAGS
    return ParsedInstance(Elements(dataset), transfer_syntax_uid, stream, offset if is_pixels else None)


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
        patient_position=e.text("PatientPosition"),
        gantry_tilt_deg=e.number("GantryDetectorTilt"),
        acquired_at=_acquired_at(e),
        manufacturer=e.text("Manufacturer"),
    )


def _parse(stream: BinaryIO, *, implicit: bool, little: bool, stop_group: int | None) -> Dataset:
    """Read raw elements until the pixels (or, with `stop_group`, until that group ends)."""

    def stop(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag in _PIXEL_DATA_TAGS if stop_group is None else tag.group != stop_group

    wanted: list[BaseTag | int] | None = None if stop_group is not None else list(_TAGS.values())
    try:
        return read_dataset(stream, implicit, little, stop_when=stop, specific_tags=wanted)
    except Exception as error:
        # Whatever a hostile data set provokes has one answer: it is not a data set.
        raise InstanceRefused(f"the data set cannot be parsed: {type(error).__name__}", status=CANNOT_PARSE) from error


def _check_encoding(first: bytes, *, implicit: bool, little: bool) -> None:
    """Refuse a data set whose first element contradicts the transfer syntax: pydicom would guess silently."""
    if len(first) < 8:
        raise InstanceRefused("the data set is empty", status=CANNOT_PARSE)
    group = int.from_bytes(first[:2], "little" if little else "big")
    looks_explicit = all(0x41 <= byte <= 0x5A for byte in first[4:6])
    if not 0x0004 <= group <= 0x7FE0 or group % 2 or group >= 0x0800:
        raise InstanceRefused(f"the data set starts with group {group:04X}, not an image's", status=CANNOT_PARSE)
    if looks_explicit == implicit:
        found, said = ("explicit", "implicit") if implicit else ("implicit", "explicit")
        raise InstanceRefused(f"the data set has {found} VR, its transfer syntax says {said}", status=CANNOT_PARSE)


def _inflate(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(deflated, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise InstanceRefused(f"the deflated data set is broken: {error}", status=CANNOT_PARSE) from error
    if inflater.unconsumed_tail:
        raise InstanceRefused(f"the data set inflates beyond {MAX_INFLATED_BYTES} bytes", status=CANNOT_PARSE)
    if not inflater.eof:
        raise InstanceRefused("the deflated data set is cut off", status=CANNOT_PARSE)
    return data


def _encodings(declared: bytes) -> list[str]:
    """Python codecs of Specific Character Set; [] when none is declared or known."""
    terms = [term.strip() for term in declared.decode("ascii", "replace").strip("\0 ").split("\\")]
    known = [term for term in terms if term in python_encoding]
    if not any(known):
        return []
    return list(convert_encodings(known))


def _decode(value: bytes, encodings: Sequence[str]) -> str:
    """Decode text; undeclared 8-bit text is tried as UTF-8, then GB18030, as Chinese sites leave it undeclared."""
    value = value.rstrip(b"\0 ")
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if len(encodings) > 1 or b"\x1b" in value:
        return decode_bytes(value, encodings or ["iso8859"], {ord("\\")})
    for encoding in (*encodings, "utf-8", "gb18030"):
        try:
            return value.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return value.decode("latin-1")


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
        match = re.match(r"(\d{14})(?:\.(\d{1,6}))?", text)
        if match is None:
            continue
        try:
            moment = datetime.strptime(match[1], "%Y%m%d%H%M%S")  # noqa: DTZ007  the header has no zone
        except ValueError:
            continue
        return moment.replace(microsecond=int((match[2] or "0").ljust(6, "0")))
    return None
