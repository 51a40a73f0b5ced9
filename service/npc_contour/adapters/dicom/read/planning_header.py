"""What an RTSTRUCT takes over from the images it belongs to: bytes, not decoded text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

from npc_contour.adapters.dicom.read.element_bytes import tag_of
from npc_contour.adapters.dicom.read.headers import as_file
from npc_contour.errors import InstanceRefused

_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "PositionReferenceIndicator",
)
"""Present in every RTSTRUCT, empty where the images have nothing (PS3.3 C.7.1.1, C.7.2.1, C.7.4.1)."""

_TYPE_3 = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
    *("IssuerOfPatientID", "TypeOfPatientID", "PatientBirthTime", "OtherPatientNames", "EthnicGroup"),
    *("PatientComments", "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("PatientAge", "PatientSize", "PatientWeight", "Occupation", "AdditionalPatientHistory"),
    *("AdmittingDiagnosesDescription", "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy"),
)
"""Copied where the images have them: Patient, Patient Study, General Study, SOP Common. No sequences."""

_CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class PlanningHeader:
    """The identity of the planning images.

    Attributes:
        copied: keyword → value bytes as in the image, for the patient, the study and the character set.
        encodings: Python codecs of Specific Character Set.
        sop_class_uid: of the images.
    """

    copied: Mapping[str, bytes]
    encodings: tuple[str, ...]
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str


def planning_header(image: Dataset) -> PlanningHeader:
    """Take the identity from one image of the planning series, as freshly read (values not yet decoded).

    Raises:
        InstanceRefused: a UID that the RTSTRUCT must reference is absent.
    """
    uids = {}
    for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        uids[keyword] = str(image.get(keyword, "") or "")
        if not uids[keyword]:
            raise InstanceRefused(f"the planning image has no {keyword}", status=_CANNOT_UNDERSTAND)
    copied = {keyword: _value_bytes(image, keyword) for keyword in _TYPE_2}
    copied.update({keyword: _value_bytes(image, keyword) for keyword in _TYPE_3 if tag_of(keyword) in image})
    character_set = image.get("SpecificCharacterSet", None)
    return PlanningHeader(
        copied=copied,
        encodings=tuple(convert_encodings(character_set if character_set else None)),
        sop_class_uid=uids["SOPClassUID"],
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        frame_of_reference_uid=uids["FrameOfReferenceUID"],
    )


def read_planning_header(source: Path | bytes) -> PlanningHeader:
    """Read the identity from one file of the planning series, or from its bytes."""
    return planning_header(dcmread(as_file(source), stop_before_pixels=True, force=True))


def _value_bytes(image: Dataset, keyword: str) -> bytes:
    """Return an element's value as the file has it; what somebody decoded already is encoded again."""
    tag = tag_of(keyword)
    if tag not in image:
        return b""
    element = image.get_item(tag)
    if element.is_raw:
        return bytes(element.value or b"")
    buffer = DicomBytesIO()
    buffer.is_little_endian = buffer.is_implicit_VR = True
    write_data_element(buffer, element, convert_encodings(image.get("SpecificCharacterSet", None)))
    return buffer.getvalue()[8:]


def read_patient_name(path: Path) -> str:
    """Return the patient's name of an image as people write it, for a page whose site allows it; "" when absent.

    Raises:
        InstanceRefused: it is not DICOM.
    """
    try:
        image = dcmread(path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", "PatientName"])
    except InvalidDicomError as error:
        raise InstanceRefused(f"not a DICOM file: {error}", status=_CANNOT_UNDERSTAND) from error
    parts = str(image.get("PatientName", "")).split("=")
    # An ideographic form, where there is one, is how the name is written; the first is its transcription.
    chosen = next((part for part in (*parts[1:2], *parts) if part.strip("^ ")), "")
    return " ".join(word for word in chosen.split("^") if word)
