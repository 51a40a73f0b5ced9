"""RTSTRUCT to contours: ours and anyone's, keyhole or inner contours, any transfer syntax.

A file must be whole: every length ends inside it. Numbers and names are read from the raw bytes, whatever a VR says:
files whose long contours were written with VR UN read as well as others, and what is no number is refused by name.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from npc_contour.adapters.dicom.read.elements import decoded_text, tag_of, text_encodings
from npc_contour.adapters.dicom.read.headers import parse_data_set, split_file
from npc_contour.adapters.dicom.rtstruct.writer import RT_STRUCTURE_SET_STORAGE
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.structures import ReadContour, ReadRoi, ReadStructureSet
from npc_contour.errors import InstanceRefused

_NO_COLOUR = (255, 255, 255)
_BARE_START = b"\x08\x00"
"""How a dataset without preamble and File Meta Information starts: group 0008. Such files are about."""
_CANNOT_UNDERSTAND = 0xC000


def read_rtstruct(source: Path | bytes) -> ReadStructureSet:
    """Read an RTSTRUCT from a file or from its bytes.

    Raises:
        InstanceRefused: it is not DICOM, not whole, not an RTSTRUCT, or a number in it cannot be read.
    """
    return structure_set_of(parse_dicom(source if isinstance(source, bytes) else source.read_bytes()))


def parse_dicom(data: bytes) -> Dataset:
    """Parse a DICOM file's bytes, with or without preamble and File Meta Information.

    Raises:
        InstanceRefused: it is not DICOM, or not whole.
    """
    bare = data.startswith(_BARE_START)
    try:
        _prove_whole(data, bare=bare)
    except InstanceRefused as error:
        raise _refused(f"no whole DICOM file: {error}") from error
    try:
        return dcmread(BytesIO(data), force=bare)
    except (InvalidDicomError, EOFError, ValueError, KeyError, struct.error, NotImplementedError) as error:
        raise _refused(f"not a DICOM file: {error}") from error


def _prove_whole(data: bytes, *, bare: bool) -> None:
    if bare:
        parse_data_set(data, ExplicitVRLittleEndian if data[4:6].isalpha() else ImplicitVRLittleEndian)
        return
    meta, data_set = split_file(data)
    parse_data_set(data_set, meta.uid("TransferSyntaxUID"))


def structure_set_of(dataset: Dataset) -> ReadStructureSet:
    """Take the contours from a parsed RTSTRUCT.

    Raises:
        InstanceRefused: it is not an RTSTRUCT, or an ROI's number or a contour's numbers cannot be read.
    """
    try:
        return _structure_set(dataset)
    except (ValueError, TypeError, AttributeError, KeyError, EOFError, struct.error, NotImplementedError) as error:
        raise _refused(f"the structure set cannot be parsed: {error}") from error


def _structure_set(dataset: Dataset) -> ReadStructureSet:
    if str(dataset.get("SOPClassUID", "")) != RT_STRUCTURE_SET_STORAGE:
        raise _refused(f"SOP class is {dataset.get('SOPClassUID', 'absent')}, expected RT Structure Set Storage")
    frames = list(_items(dataset, "ReferencedFrameOfReferenceSequence"))
    studies = [study for frame in frames for study in _items(frame, "RTReferencedStudySequence")]
    series = [item for study in studies for item in _items(study, "RTReferencedSeriesSequence")]
    rois, notes = _rois(dataset)
    return ReadStructureSet(
        label=_text(dataset, "StructureSetLabel"),
        description=_text(dataset, "StructureSetDescription"),
        series_description=_text(dataset, "SeriesDescription"),
        approval_status=_text(dataset, "ApprovalStatus"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        frame_of_reference_uids=tuple(_text(frame, "FrameOfReferenceUID") for frame in frames),
        series_instance_uids=tuple(_text(item, "SeriesInstanceUID") for item in series),
        image_sop_instance_uids=tuple(
            _text(image, "ReferencedSOPInstanceUID")
            for item in series
            for image in _items(item, "ContourImageSequence")
        ),
        rois=rois,
        referenced_study_uids=tuple(_text(study, "ReferencedSOPInstanceUID") for study in studies),
        notes=notes,
    )


def _rois(dataset: Dataset) -> tuple[tuple[ReadRoi, ...], tuple[str, ...]]:
    """Return the ROIs, and what is odd about how the file's three lists of them fit together."""
    named = list(_items(dataset, "StructureSetROISequence"))
    if named and "ROIContourSequence" not in dataset:
        raise _refused("there is no ROI Contour Sequence: the file is cut short, or was never whole")
    numbers = [_integer(roi, "ROINumber", f"ROI {_text(roi, 'ROIName')!r}") for roi in named]
    twice = sorted(number for number, count in Counter(numbers).items() if count > 1)
    if twice:
        raise _refused(f"several ROIs have the number {', '.join(map(str, twice))}: whose contours are which?")
    drawn: dict[int, list[Dataset]] = defaultdict(list)
    for item in _items(dataset, "ROIContourSequence"):
        drawn[_integer(item, "ReferencedROINumber", "an item of ROI Contour Sequence")].append(item)
    types = {
        _integer(item, "ReferencedROINumber", "an item of RT ROI Observations Sequence"): _text(
            item, "RTROIInterpretedType"
        )
        for item in _items(dataset, "RTROIObservationsSequence")
    }
    encodings = text_encodings(_raw(dataset, "SpecificCharacterSet"))
    rois = tuple(
        _roi(roi, number, drawn.get(number, []), types.get(number, ""), encodings)
        for roi, number in zip(named, numbers, strict=True)
    )
    nameless = {number: sum(1 for _ in _contours(items)) for number, items in drawn.items() if number not in numbers}
    return rois, tuple(
        f"{count} contours of ROI number {number}, which the file does not name, are left out"
        for number, count in sorted(nameless.items())
    )


def _roi(item: Dataset, number: int, drawn: Sequence[Dataset], kind: str, encodings: Sequence[str]) -> ReadRoi:
    name = " ".join(_text(item, "ROIName", encodings).split("\n"))
    contours = tuple(_contour(contour, f"ROI {name!r}") for contour in _contours(drawn))
    notes = []
    if len(drawn) > 1:
        notes.append(f"its contours come in {len(drawn)} items, all are taken")
    moved = sum(bool(_raw(contour, "ContourOffsetVector").strip(b"\0 ")) for contour in _contours(drawn))
    if moved:
        notes.append(f"Contour Offset Vector moves {moved} contours")
    others = sum(
        _raw(item, "NumberOfContourPoints").strip(b"\0 ") not in {b"", b"%d" % len(contour.points_lps_mm)}
        for item, contour in zip(_contours(drawn), contours, strict=True)
    )
    if others:
        notes.append(f"{others} contours hold another number of points than they say: were they cut?")
    return ReadRoi(
        number=number,
        name=name,
        interpreted_type=kind,
        colour_rgb=_colour(drawn[0]) if drawn else _NO_COLOUR,
        description=_text(item, "ROIDescription", encodings),
        frame_of_reference_uid=_text(item, "ReferencedFrameOfReferenceUID"),
        volume_cc=_volume_cc(item),
        contours=contours,
        notes=tuple(notes),
    )


def _contours(drawn: Sequence[Dataset]) -> Iterator[Dataset]:
    for item in drawn:
        yield from _items(item, "ContourSequence")


def _contour(item: Dataset, whose: str) -> ReadContour:
    points = _points(item, whose)
    offset = _numbers(_raw(item, "ContourOffsetVector"), "Contour Offset Vector", whose)
    if len(offset) not in (0, 3):
        raise _refused(f"Contour Offset Vector of {whose} has {len(offset)} numbers, expected 3")
    return ReadContour(
        geometric_type=_text(item, "ContourGeometricType"),
        points_lps_mm=points + offset if len(offset) else points,
        sop_instance_uids=tuple(_images(item)),
    )


def _images(item: Dataset) -> Iterator[str]:
    for image in _items(item, "ContourImageSequence"):
        yield _text(image, "ReferencedSOPInstanceUID")


def _points(item: Dataset, whose: str) -> FloatArray:
    values = _numbers(_raw(item, "ContourData"), "Contour Data", whose)
    if len(values) % 3:
        raise _refused(f"Contour Data of {whose} holds {len(values)} numbers, not three a point")
    return values.reshape(-1, 3)


def _numbers(raw: bytes, what: str, whose: str) -> FloatArray:
    text = raw.rstrip(b" \0")
    if not text:
        return np.zeros(0)
    try:
        values = np.array(text.split(b"\\"), dtype=np.bytes_).astype(np.float64)
    except ValueError as error:
        raise _refused(f"{what} of {whose} cannot be read: {error}") from error
    if not np.isfinite(values).all():
        raise _refused(f"{what} of {whose} holds a number that is not finite")
    return values


def _volume_cc(item: Dataset) -> float | None:
    """Return what the file says of the volume; None where that is no number, for nothing depends on it."""
    try:
        return float(_raw(item, "ROIVolume").strip(b"\0 "))
    except ValueError:
        return None


def _colour(item: Dataset) -> tuple[int, int, int]:
    parts = _raw(item, "ROIDisplayColor").strip(b"\0 ").split(b"\\")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        return _NO_COLOUR
    red, green, blue = (min(int(part), 255) for part in parts)
    return red, green, blue


def _integer(item: Dataset, keyword: str, whose: str) -> int:
    raw = _raw(item, keyword).strip(b"\0 ")
    try:
        return int(raw)
    except ValueError as error:
        found = raw.decode("ascii", "replace")
        what = dictionary_description(tag_of(keyword))
        raise _refused(f"{what} of {whose} is {found!r}, expected a whole number") from error


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    yield from dataset.get(keyword, None) or ()


def _text(dataset: Dataset, keyword: str, encodings: Sequence[str] = ()) -> str:
    element = dataset.get_item(tag_of(keyword)) if tag_of(keyword) in dataset else None
    if element is not None and isinstance(element.value, str):
        return element.value.strip(" \0")  # somebody decoded it already
    own = _raw(dataset, "SpecificCharacterSet")
    return decoded_text(_raw(dataset, keyword), text_encodings(own) if own else encodings).strip(" \0")


def _raw(dataset: Dataset, keyword: str) -> bytes:
    """Return an element's value as the file has it; b"" when absent."""
    tag = tag_of(keyword)
    if tag not in dataset:
        return b""
    element = dataset.get_item(tag)
    if element.value is None:
        return b""
    if isinstance(element.value, bytes):
        return element.value
    values = element.value if isinstance(element.value, (list, MultiValue)) else [element.value]
    return "\\".join(map(str, values)).encode()


def _refused(message: str) -> InstanceRefused:
    return InstanceRefused(message, status=_CANNOT_UNDERSTAND)
