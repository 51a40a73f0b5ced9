"""Measurements to DICOM: an Imaging Measurement Report (TID 1500, PS3.16) as Comprehensive 3D SR, beside the RTSTRUCT.

Each node, or the tumour, is one group (TID 1411) with its outline in the patient's frame of reference: the contours of
its slices, or a point where it has one slice only. Nodes are told apart here and not as ROIs: a structure set keeps the
same few names for every patient, which templates and plans rely on, while the number of nodes is the patient's own.

UIDs derive from the case, so that making the report twice makes the same object.
"""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
from highdicom import sr
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues3D,
    Measurement,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumeSurface,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

import npc_contour
from npc_contour.adapters.dicom.read.planning_header import planning_header
from npc_contour.adapters.dicom.rtstruct.repeatable import make_repeatable
from npc_contour.adapters.dicom.rtstruct.text import DEMO_WORDS, clock_time, shortened
from npc_contour.adapters.dicom.rtstruct.writer import MANUFACTURER, MODEL_NAME, derived_uid
from npc_contour.application.ports import MeasurementReport, Outlined
from npc_contour.domain.measurements import ENLARGED_MM, MeasurementKind, Node, Shape
from npc_contour.domain.volumes import Volume

SERIES_NUMBER = 9002
PRIVATE_SCHEME = "99NPC"
REGULARITY = CodedConcept("REGULARITY", PRIVATE_SCHEME, "Volume relative to ball of same surface")
SIZE = CodedConcept("NODESIZE", PRIVATE_SCHEME, f"Short axis relative to {ENLARGED_MM:g} mm")
ENLARGED = CodedConcept("NODE10MM", PRIVATE_SCHEME, f"{ENLARGED_MM:g} mm or more")
NOT_ENLARGED = CodedConcept("NODELT10MM", PRIVATE_SCHEME, f"below {ENLARGED_MM:g} mm")
CT_CHEST = CodedConcept("169069000", "SCT", "CT of chest")
IMAGING = CodedConcept("363679005", "SCT", "Imaging")
CUBIC_CM = CodedConcept("cm3", "UCUM", "cm3")
SQUARE_CM = CodedConcept("cm2", "UCUM", "cm2")


def report_sop_instance_uid(uid_seed: str) -> str:
    """Return the SOP Instance UID of the report beside the structure set of this seed."""
    return derived_uid(uid_seed, "measurements-instance")


def encode_report(content: MeasurementReport, image: Dataset, volume: Volume, structure_set: bytes) -> bytes:
    """Encode measurements as a DICOM file: partial, unverified.

    Args:
        content: what to say.
        image: header of any image of the planning series: the patient, the study and the frame of reference.
        volume: the planning series: which image each contour lies on.
        structure_set: the RTSTRUCT beside it, named as evidence.
    """
    slices = {contour.slice_index for outlined in content.outlined for contour in outlined.roi.contours}
    evidence = [_evidence(image, volume.sop_instance_uids[index]) for index in sorted(slices)]
    beside = dcmread(io.BytesIO(structure_set), stop_before_pixels=True)
    document = Comprehensive3DSR(
        evidence=[*evidence, beside],
        content=_document(content, image, volume)[0],
        series_instance_uid=derived_uid(content.uid_seed, "measurements-series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=report_sop_instance_uid(content.uid_seed),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    _describe(document, content, clock_time(content.made_at, planning_header(image)))
    buffer = io.BytesIO()
    dcmwrite(buffer, document, enforce_file_format=True)
    return buffer.getvalue()


def _describe(document: Dataset, content: MeasurementReport, made_at: datetime) -> None:
    """Say what the report is, and when it was made."""
    make_repeatable(document, made_at, content.uid_seed)
    document.SeriesDate, document.SeriesTime = document.ContentDate, document.ContentTime
    document.ManufacturerModelName = MODEL_NAME
    document.SoftwareVersions = npc_contour.__version__
    demo = f"{DEMO_WORDS} - " if content.network.demo else ""
    document.SeriesDescription = shortened(f"{demo}measurements of {content.measurements.rule.roi}, not reviewed", 64)


def _document(content: MeasurementReport, image: Dataset, volume: Volume) -> sr.MeasurementReport:
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid(MODEL_NAME, npc_contour.__version__),
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return sr.MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=CT_CHEST if content.measurements.rule.kind is MeasurementKind.NODES else IMAGING,
        imaging_measurements=[_group(one, content, image, volume) for one in content.outlined],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _group(
    outlined: Outlined, content: MeasurementReport, image: Dataset, volume: Volume
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    measured, network, roi = outlined.measured, content.network, content.measurements.rule.roi
    name = f"{roi}_{measured.number:02d}" if isinstance(measured, Node) else roi
    evaluations = []
    if isinstance(measured, Node):
        finding, site = codes.SCT.LymphNode, codes.SCT.MediastinalLymphNode
        evaluations = [QualitativeEvaluation(SIZE, ENLARGED if measured.enlarged else NOT_ENLARGED)]
        numbers = _node_measurements(measured)
    else:
        finding, site = codes.SCT.Neoplasm, codes.SCT.Nasopharynx
        numbers = _shape_measurements(measured)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(derived_uid(content.uid_seed, f"measured {name}"), name),
        referenced_volume_surface=_surface(outlined, image, volume),
        finding_type=finding,
        finding_sites=[FindingSite(site)],
        algorithm_id=AlgorithmIdentification(
            name=network.name,
            version=network.version,
            parameters=[
                *([DEMO_WORDS] if network.demo else []),
                f"weights SHA-256 {network.weights_sha256}",
                "not reviewed",
            ],
        ),
        measurements=numbers,
        qualitative_evaluations=evaluations or None,
    )


def _node_measurements(node: Node) -> list[Measurement]:
    return [
        Measurement(codes.SCT.Volume, _decimal(node.volume_cc), CUBIC_CM),
        Measurement(codes.SCT.LongAxis, _decimal(node.long_axis.length_mm), codes.UCUM.Millimeter),
        Measurement(codes.SCT.ShortAxis, _decimal(node.short_axis.length_mm), codes.UCUM.Millimeter),
    ]


def _shape_measurements(shape: Shape) -> list[Measurement]:
    return [
        Measurement(codes.SCT.Volume, _decimal(shape.volume_cc), CUBIC_CM),
        Measurement(codes.cid218.SurfaceAreaOfMesh, _decimal(shape.surface_cm2), SQUARE_CM),
        Measurement(codes.cid218.Maximum3DDiameterOfAMesh, _decimal(shape.diameter_mm), codes.UCUM.Millimeter),
        Measurement(REGULARITY, _decimal(shape.regularity), codes.UCUM.NoUnits),
    ]


def _surface(outlined: Outlined, image: Dataset, volume: Volume) -> VolumeSurface:
    frame, contours = str(image.FrameOfReferenceUID), outlined.roi.contours
    slices = sorted({contour.slice_index for contour in contours})
    sources = [SourceImageForSegmentation(str(image.SOPClassUID), volume.sop_instance_uids[index]) for index in slices]
    if len(contours) == 1:
        middle = contours[0].points_lps_mm.mean(axis=0, keepdims=True)
        return VolumeSurface(GraphicTypeValues3D.POINT, middle, frame, source_images=sources)
    closed = [np.vstack([contour.points_lps_mm, contour.points_lps_mm[:1]]) for contour in contours]
    return VolumeSurface(GraphicTypeValues3D.POLYGON, closed, frame, source_images=sources)


def _evidence(image: Dataset, sop_instance_uid: str) -> Dataset:
    """Return an image of the planning series as evidence names it."""
    named = Dataset()
    # Elements are shared with the image, so the one that differs must be a new one.
    named.update({e.tag: e for e in image if e.tag.group < 0x0028 and e.keyword != "SOPInstanceUID"})
    named.SOPInstanceUID = sop_instance_uid
    return named


def _decimal(value: float) -> float:
    """Return the value as a decimal string of 16 characters can hold it."""
    return float(f"{value:.6g}")
