"""RTSTRUCT to contours: ours and anyone's, keyhole or inner contours, any transfer syntax.

Coordinates are read from the raw bytes of Contour Data, whatever its VR says: files whose long contours were written
with VR UN read as well as others.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from npc_contour.adapters.dicom.rtstruct import RT_STRUCTURE_SET_STORAGE
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.structures import ReadContour, ReadRoi, ReadStructureSet
from npc_contour.errors import InstanceRefused

_NO_COLOUR = (255, 255, 255)
_CONTOUR_DATA = 0x30060050
_BARE_START = b"\x08\x00"
"""How a dataset without preamble and File Meta Information starts: group 0008. Such files are about."""
_CANNOT_UNDERSTAND = 0xC000


def read_rtstruct(source: Path | bytes) -> ReadStructureSet:
    """Read an RTSTRUCT from a file or from its bytes.

    Raises:
        InstanceRefused: it is not DICOM, not an RTSTRUCT, or a contour's numbers cannot be read.
    """
    return structure_set_of(parse_dicom(source if isinstance(source, bytes) else source.read_bytes()))


def parse_dicom(data: bytes) -> Dataset:
    """Parse a DICOM file's bytes, with or without preamble and File Meta Information.

    Raises:
        InstanceRefused: it is not DICOM.
    """
    try:
        return dcmread(BytesIO(data), force=data.startswith(_BARE_START))
    except InvalidDicomError as error:
        raise InstanceRefused(f"not a DICOM file: {error}", status=_CANNOT_UNDERSTAND) from error


def structure_set_of(dataset: Dataset) -> ReadStructureSet:
    """Take the contours from a parsed RTSTRUCT.

    Raises:
        InstanceRefused: it is not an RTSTRUCT, or a contour's numbers cannot be read.
    """
    if str(dataset.get("SOPClassUID", "")) != RT_STRUCTURE_SET_STORAGE:
        raise InstanceRefused(
            f"SOP class is {dataset.get('SOPClassUID', 'absent')}, expected RT Structure Set Storage",
            status=_CANNOT_UNDERSTAND,
        )
    frames = list(_items(dataset, "ReferencedFrameOfReferenceSequence"))
    series = [
        item
        for frame in frames
        for study in _items(frame, "RTReferencedStudySequence")
        for item in _items(study, "RTReferencedSeriesSequence")
    ]
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
        rois=tuple(_rois(dataset)),
    )


def _rois(dataset: Dataset) -> Iterator[ReadRoi]:
    contours = {_text(item, "ReferencedROINumber"): item for item in _items(dataset, "ROIContourSequence")}
    types = {
        _text(item, "ReferencedROINumber"): _text(item, "RTROIInterpretedType")
        for item in _items(dataset, "RTROIObservationsSequence")
    }
    for roi in _items(dataset, "StructureSetROISequence"):
        number = _text(roi, "ROINumber")
        drawn = contours.get(number, Dataset())
        volume = roi.get("ROIVolume", None)
        yield ReadRoi(
            number=int(number),
            name=_text(roi, "ROIName"),
            interpreted_type=types.get(number, ""),
            colour_rgb=_colour(drawn),
            description=_text(roi, "ROIDescription"),
            frame_of_reference_uid=_text(roi, "ReferencedFrameOfReferenceUID"),
            volume_cc=None if volume in (None, "") else float(volume),
            contours=tuple(_contour(item) for item in _items(drawn, "ContourSequence")),
        )


def _contour(item: Dataset) -> ReadContour:
    return ReadContour(
        geometric_type=_text(item, "ContourGeometricType"),
        points_lps_mm=_points(item),
        sop_instance_uids=tuple(_images(item)),
    )


def _images(item: Dataset) -> Iterator[str]:
    for image in _items(item, "ContourImageSequence"):
        yield _text(image, "ReferencedSOPInstanceUID")


def _points(item: Dataset) -> FloatArray:
    element = item.get_item(_CONTOUR_DATA) if _CONTOUR_DATA in item else None
    if element is None or not element.value:
        return np.zeros((0, 3))
    if isinstance(element.value, bytes):
        numbers = element.value.rstrip(b" \0").split(b"\\")
    else:
        numbers = [str(value).encode() for value in element.value]
    try:
        values = np.array(numbers, dtype=np.bytes_).astype(np.float64)
        return values.reshape(-1, 3)
    except ValueError as error:
        raise InstanceRefused(f"Contour Data cannot be read: {error}", status=_CANNOT_UNDERSTAND) from error


def _colour(item: Dataset) -> tuple[int, int, int]:
    values = item.get("ROIDisplayColor", None)
    if values is None or len(values) != 3:
        return _NO_COLOUR
    return int(values[0]), int(values[1]), int(values[2])


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    yield from dataset.get(keyword, None) or ()


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword, "")
    return "" if value is None else str(value)
