"""Checks a parsed RTSTRUCT against the RT Structure Set IOD (PS3.3 A.19.3), as far as this service writes it.

Lists what must be there (Type 1: with a value, Type 2: perhaps empty), what must not (retired attributes that importers
trip over), and limits that PS3.5 sets. Independent of the writer: it looks at the bytes as parsed by pydicom.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from npc_contour.adapters.dicom.read.element_bytes import tag_of

MAX_DS_CHARACTERS = 16
MAX_VALUE_BYTES = 65_534

_TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "FrameOfReferenceUID"),
    *("StructureSetLabel", "StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"),
    *("ReferencedFrameOfReferenceSequence", "ApprovalStatus"),
)
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    *("Manufacturer", "SeriesNumber", "OperatorsName", "PositionReferenceIndicator"),
    *("StructureSetDate", "StructureSetTime"),
)
_ITEM_TYPE_1 = {
    "StructureSetROISequence": ("ROINumber", "ReferencedFrameOfReferenceUID"),
    "ROIContourSequence": ("ReferencedROINumber",),
    "RTROIObservationsSequence": ("ObservationNumber", "ReferencedROINumber"),
}
_ITEM_TYPE_2 = {
    "StructureSetROISequence": ("ROIName", "ROIGenerationAlgorithm"),
    "ROIContourSequence": (),
    "RTROIObservationsSequence": ("RTROIInterpretedType", "ROIInterpreter"),
}
_CONTOUR_TYPE_1 = ("ContourGeometricType", "NumberOfContourPoints", "ContourData", "ContourImageSequence")
_RETIRED = ("ROIObservationLabel", "ROIObservationDescription")
_RETIRED_CONTOUR = ("ContourSlabThickness", "ContourOffsetVector", "AttachedContours")


def iod_faults(dataset: Dataset) -> list[str]:
    """Return what is wrong with an RTSTRUCT as a DICOM object, as sentences; each kind of fault once a sequence."""
    faults = [*_absent(dataset, _TYPE_1, _TYPE_2, "the object")]
    if len(str(dataset.get("StructureSetLabel", ""))) > 16:
        faults.append("StructureSetLabel is longer than 16 characters")
    meta_uid = getattr(dataset, "file_meta", Dataset()).get("MediaStorageSOPInstanceUID", "")
    if meta_uid != dataset.get("SOPInstanceUID", ""):
        faults.append(f"file meta says SOP instance {meta_uid}, the object {dataset.get('SOPInstanceUID', '')}")
    for keyword, required in _ITEM_TYPE_1.items():
        for item in dataset.get(keyword, None) or ():
            faults += _absent(item, required, _ITEM_TYPE_2[keyword], keyword)
            faults += [f"{name} in {keyword} is retired" for name in _RETIRED if name in item]
    for roi in dataset.get("ROIContourSequence", None) or ():
        for contour in roi.get("ContourSequence", None) or ():
            faults += _contour_faults(contour)
    return list(dict.fromkeys(faults))


def _absent(item: Dataset, type_1: tuple[str, ...], type_2: tuple[str, ...], where: str) -> Iterator[str]:
    for keyword in type_1:
        if keyword not in item or not item.get_item(tag_of(keyword)).value:
            yield f"{keyword} in {where} has no value"
    for keyword in type_2:
        if keyword not in item:
            yield f"{keyword} in {where} is absent"


def _contour_faults(contour: Dataset) -> Iterator[str]:
    yield from _absent(contour, _CONTOUR_TYPE_1, (), "ContourSequence")
    yield from (f"{name} in ContourSequence is retired" for name in _RETIRED_CONTOUR if name in contour)
    element = contour.get_item(tag_of("ContourData")) if "ContourData" in contour else None
    if element is None or not element.is_raw:
        return
    data = bytes(element.value or b"").rstrip(b" ")
    numbers = data.split(b"\\")
    if len(data) > MAX_VALUE_BYTES:
        yield f"ContourData has {len(data)} bytes, explicit VR holds {MAX_VALUE_BYTES}"
    longest = max(map(len, numbers))
    if longest > MAX_DS_CHARACTERS:
        yield f"ContourData has a number of {longest} characters, Decimal String allows {MAX_DS_CHARACTERS}"
    told = int(contour.get("NumberOfContourPoints", 0) or 0)
    if 3 * told != len(numbers):
        yield f"NumberOfContourPoints says {told}, ContourData has {len(numbers) / 3:g}"
