"""StructureSet to RTSTRUCT (RT Structure Set Storage, PS3.3 A.19), element by element.

UIDs derive from the case, so that making the object twice makes the same object. Everything that names the patient and
the study is copied from the planning images byte by byte.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

import npc_contour
from npc_contour.adapters.dicom.read.element_bytes import Encoder, Value
from npc_contour.adapters.dicom.read.planning_header import PlanningHeader
from npc_contour.adapters.dicom.rtstruct.ds_text import contour_data
from npc_contour.adapters.dicom.rtstruct.text import (
    DEMO_WORDS,
    clock_time,
    demo_label,
    generation_description,
    shortened,
    utc_offset,
    weights_sentence,
)
from npc_contour.domain.findings import Severity
from npc_contour.domain.profiles import GENERIC, EmptyRois, Profile
from npc_contour.domain.structures import Contour, NetworkProvenance, Roi, StructureSet
from npc_contour.domain.volumes import Volume
from npc_contour.errors import GateError

RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""Retired, but the one value that RT Referenced Study Sequence allows (PS3.3 C.8.8.5)."""

MANUFACTURER = "NPC autocontour"
MODEL_NAME = "npc-contour"
SERIES_NUMBER = "9001"

_UID_NAMESPACE = uuid.UUID("6c0f2d0e-6f2c-5a2b-9f0e-6e70635f6374")
IMPLEMENTATION_CLASS_UID = f"2.25.{_UID_NAMESPACE.int}"

_Values = dict[str, Value]


def derived_uid(seed: str, what: str) -> str:
    """Return the UID (2.25 and a name-based UUID, PS3.5 B.2) that a seed always gives."""
    return f"2.25.{uuid.uuid5(_UID_NAMESPACE, f'{seed}/{what}').int}"


def sop_instance_uid(structure_set: StructureSet) -> str:
    """Return the SOP Instance UID that the RTSTRUCT of this structure set has."""
    return derived_uid(structure_set.uid_seed, "sop-instance")


def encode_rtstruct(
    structure_set: StructureSet,
    volume: Volume,
    header: PlanningHeader,
    *,
    made_at: datetime,
    profile: Profile = GENERIC,
) -> bytes:
    """Encode a structure set as a DICOM file, UNAPPROVED.

    Args:
        structure_set: ROIs without contours are named in Structure Set Description, and left out of the object or
            kept without contours, as the profile says.
        volume: the planning volume: which image each contour lies on.
        header: identity of the planning series.
        made_at: written into the object as the images' clock shows it (see `clock_time`); give the same one to get the
            same bytes.
        profile: how the site wants it: transfer syntax, label, description, empty ROIs.

    Raises:
        GateError: no ROI has a contour, a contour is on no image, or a value does not fit its attribute.
    """
    if not any(roi.contours for roi in structure_set.rois):
        raise GateError("no ROI has a contour: an RTSTRUCT must have at least one")
    kept = [roi for roi in structure_set.rois if roi.contours or profile.empty_rois is EmptyRois.PLACEHOLDER]
    return _Writer(structure_set, volume, header, made_at, profile).file(list(enumerate(kept, start=1)))


class _Writer:
    """Encodes one object; holds what every module of it needs."""

    def __init__(
        self,
        structure_set: StructureSet,
        volume: Volume,
        header: PlanningHeader,
        made_at: datetime,
        profile: Profile,
    ) -> None:
        self.content = structure_set
        self.volume = volume
        self.header = header
        clock = clock_time(made_at, header)
        self.date = f"{clock:%Y%m%d}"
        self.time = f"{clock:%H%M%S}"
        self.offset = utc_offset(clock)
        self.profile = profile
        worst = max((one.severity for one in structure_set.findings), key=lambda one: one.rank, default=Severity.NOTE)
        template = profile.doubtful_label if worst is not Severity.NOTE else ""
        self.label = (template or profile.label).format(label=structure_set.label, severity=worst.upper())[:16]
        self.dataset = Encoder(header.encodings, explicit_vr=profile.explicit_vr).dataset

    def file(self, rois: list[tuple[int, Roi]]) -> bytes:
        uid = sop_instance_uid(self.content)
        try:
            body = self.dataset(
                {
                    **self.header.copied,
                    **self._general(uid),
                    **self._structure_set(rois),
                    "ROIContourSequence": [self._roi_contour(number, roi) for number, roi in rois],
                    "RTROIObservationsSequence": [self._observation(number, roi) for number, roi in rois],
                    "ApprovalStatus": "UNAPPROVED",
                }
            )
        except ValueError as error:
            raise GateError(f"the structure set cannot be written: {error}") from error
        return file_start(uid, explicit_vr=self.profile.explicit_vr) + body

    def _general(self, uid: str) -> _Values:
        """SOP Common, RT Series, General Equipment, Frame of Reference."""
        content = self.content
        return {
            "InstanceCreationDate": self.date,
            "InstanceCreationTime": self.time,
            **({"TimezoneOffsetFromUTC": self.offset} if self.offset else {}),
            "SOPClassUID": RT_STRUCTURE_SET_STORAGE,
            "SOPInstanceUID": uid,
            "Modality": "RTSTRUCT",
            "Manufacturer": MANUFACTURER,
            "ManufacturerModelName": MODEL_NAME,
            "SoftwareVersions": npc_contour.__version__,
            "SeriesDate": self.date,
            "SeriesTime": self.time,
            "SeriesDescription": shortened(f"{self._demo_prefix}{self._series_description()}", 64),
            "OperatorsName": "",
            "ContributingEquipmentSequence": [
                self._contributing(network) for _, network in sorted(content.networks.items())
            ]
            or None,
            "StudyInstanceUID": self.header.study_instance_uid,
            "SeriesInstanceUID": derived_uid(content.uid_seed, "series"),
            "SeriesNumber": SERIES_NUMBER,
            "InstanceNumber": "1",
            "FrameOfReferenceUID": self.header.frame_of_reference_uid,
        }

    def _structure_set(self, rois: list[tuple[int, Roi]]) -> _Values:
        content = self.content
        predecessor = content.predecessor_sop_instance_uid
        return {
            "StructureSetLabel": demo_label(self.label) if content.demo else self.label,
            "StructureSetName": shortened(f"{self._demo_prefix}{self.label}, not reviewed", 64),
            "StructureSetDescription": shortened(self._description(), 1024),
            "StructureSetDate": self.date,
            "StructureSetTime": self.time,
            "PredecessorStructureSetSequence": [self._reference(RT_STRUCTURE_SET_STORAGE, predecessor)]
            if predecessor
            else None,
            "ReferencedFrameOfReferenceSequence": [self._frame_of_reference()],
            "StructureSetROISequence": [self._roi(number, roi) for number, roi in rois],
        }

    def _description(self) -> str:
        content = self.content
        empty = [roi.spec.name for roi in content.rois if not roi.contours]
        told = any(all(name in note for name in empty) for note in content.notes)
        sentences = [
            DEMO_WORDS + "." if content.demo else "",
            content.description,
            f"Not found: {', '.join(empty)}." if empty and not told else "",
            *content.notes,
        ]
        return " ".join(f"{text[0].upper()}{text[1:].rstrip('.')}." for text in sentences if text)

    def _series_description(self) -> str:
        return self.profile.series_description.format(label=self.content.label, title=self.content.description)

    @property
    def _demo_prefix(self) -> str:
        return f"{DEMO_WORDS} - " if self.content.demo else ""

    def _frame_of_reference(self) -> bytes:
        series = self.dataset(
            {
                "SeriesInstanceUID": self.header.series_instance_uid,
                "ContourImageSequence": [
                    self._reference(self.header.sop_class_uid, uid) for uid in self.volume.sop_instance_uids
                ],
            }
        )
        study = self.dataset(
            {
                "ReferencedSOPClassUID": DETACHED_STUDY_MANAGEMENT,
                "ReferencedSOPInstanceUID": self.header.study_instance_uid,
                "RTReferencedSeriesSequence": [series],
            }
        )
        return self.dataset(
            {"FrameOfReferenceUID": self.header.frame_of_reference_uid, "RTReferencedStudySequence": [study]}
        )

    def _reference(self, sop_class: str, uid: str) -> bytes:
        return self.dataset({"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": uid})

    def _roi(self, number: int, roi: Roi) -> bytes:
        """Structure Set ROI Sequence (C.8.8.5)."""
        network = self.content.networks.get(roi.spec.network)
        made_by: _Values = {}
        if network is not None:
            made_by = {
                "ROIGenerationDescription": generation_description(network),
                "ROIDerivationAlgorithmIdentificationSequence": [self._algorithm(network)],
            }
        demo = f"{DEMO_WORDS}. " if network is not None and network.demo else ""
        doubts = "".join(f" {one.text}." for one in self.content.findings if one.structure == roi.spec.name)
        return self.dataset(
            {
                "ROINumber": str(number),
                "ReferencedFrameOfReferenceUID": self.header.frame_of_reference_uid,
                "ROIName": roi.spec.name,
                "ROIDescription": shortened(
                    f"{demo}Automatic contour, not reviewed.{doubts}{weights_sentence(network)}", 1024
                ),
                "ROIVolume": f"{roi.volume_cc:.6g}",
                "ROIGenerationAlgorithm": "AUTOMATIC",
                **made_by,
            }
        )

    def _algorithm(self, network: NetworkProvenance) -> bytes:
        """Algorithm Identification Macro (PS3.3 table 10-19)."""
        return self.dataset(
            {
                "AlgorithmFamilyCodeSequence": [self._code("123110", "DCM", "Artificial Intelligence")],
                "AlgorithmName": network.name,
                "AlgorithmVersion": network.version,
                "AlgorithmParameters": f"weights SHA-256 {network.weights_sha256}",
                "AlgorithmSource": MANUFACTURER,
            }
        )

    def _contributing(self, network: NetworkProvenance) -> bytes:
        """Contributing Equipment Sequence (C.12.1.1.5): each network that took part."""
        return self.dataset(
            {
                "PurposeOfReferenceCodeSequence": [self._code("109102", "DCM", "Processing Equipment")],
                "Manufacturer": MANUFACTURER,
                "ManufacturerModelName": network.name,
                "SoftwareVersions": network.version,
                "ContributionDateTime": f"{self.date}{self.time}",
                "ContributionDescription": f"{DEMO_WORDS + '. ' if network.demo else ''}"
                f"Segmentation network;{weights_sentence(network)}",
            }
        )

    def _code(self, value: str, scheme: str, meaning: str) -> bytes:
        return self.dataset({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})

    def _observation(self, number: int, roi: Roi) -> bytes:
        """RT ROI Observations Sequence (C.8.8.8)."""
        return self.dataset(
            {
                "ObservationNumber": str(number),
                "ReferencedROINumber": str(number),
                "RTROIIdentificationCodeSequence": [self._code(roi.spec.fma_id, "FMA", roi.spec.name)]
                if roi.spec.fma_id
                else None,
                "RTROIInterpretedType": roi.spec.interpreted_type.value,
                "ROIInterpreter": "",
            }
        )

    def _roi_contour(self, number: int, roi: Roi) -> bytes:
        """ROI Contour Sequence (C.8.8.6): one closed contour with the image that it lies on."""
        return self.dataset(
            {
                "ROIDisplayColor": "\\".join(map(str, roi.spec.colour_rgb)),
                "ReferencedROINumber": str(number),
                "ContourSequence": [self._contour(index, contour) for index, contour in enumerate(roi.contours, 1)]
                or None,
            }
        )

    def _contour(self, number: int, contour: Contour) -> bytes:
        if not 0 <= contour.slice_index < len(self.volume.sop_instance_uids):
            raise ValueError(
                f"a contour is on slice {contour.slice_index}, the series has {len(self.volume.sop_instance_uids)}"
            )
        image = self._reference(self.header.sop_class_uid, self.volume.sop_instance_uids[contour.slice_index])
        return self.dataset(
            {
                "ContourImageSequence": [image],
                "ContourGeometricType": "CLOSED_PLANAR",
                "NumberOfContourPoints": str(len(contour.points_lps_mm)),
                "ContourNumber": str(number),
                "ContourData": contour_data(contour.points_lps_mm),
            }
        )


def file_start(uid: str, *, explicit_vr: bool) -> bytes:
    """Return preamble and File Meta Information (PS3.10 section 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(RT_STRUCTURE_SET_STORAGE)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if explicit_vr else ImplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"NPC_{npc_contour.__version__}"[:16]
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return bytes(128) + b"DICM" + buffer.getvalue()
