"""Measurements to DICOM: an Imaging Measurement Report (TID 1500, PS3.16) as Comprehensive 3D SR, beside the RTSTRUCT.

Each node, or the tumour, is one group (TID 1411) with its outline in the patient's frame of reference: the contours of
its slices, or a point where it has one slice only. Nodes are told apart here and not as ROIs: a structure set keeps the
same few names for every patient, which templates and plans rely on, while the number of nodes is the patient's own.

UIDs derive from the case, so that making the report twice makes the same object.
"""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    GraphicTypeValues3D,
    Measurement,
    QualitativeEvaluation,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumeSurface,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from npc_contour.adapters.dicom.rtstruct.structured_report import IMAGING, PRIVATE_SCHEME, ReportHead, encode_sr
from npc_contour.adapters.dicom.rtstruct.text import DEMO_WORDS
from npc_contour.adapters.dicom.rtstruct.writer import derived_uid
from npc_contour.application.ports import MeasurementReport, Outlined
from npc_contour.domain.measurements import ENLARGED_MM, MeasurementKind, Node, Shape
from npc_contour.domain.volumes import Volume

SERIES_NUMBER = 9002
REGULARITY = CodedConcept("REGULARITY", PRIVATE_SCHEME, "Volume relative to ball of same surface")
SIZE = CodedConcept("NODESIZE", PRIVATE_SCHEME, f"Short axis relative to {ENLARGED_MM:g} mm")
ENLARGED = CodedConcept("NODE10MM", PRIVATE_SCHEME, f"{ENLARGED_MM:g} mm or more")
NOT_ENLARGED = CodedConcept("NODELT10MM", PRIVATE_SCHEME, f"below {ENLARGED_MM:g} mm")
CT_CHEST = CodedConcept("169069000", "SCT", "CT of chest")
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
    rule = content.measurements.rule
    demo = f"{DEMO_WORDS} - " if content.network.demo else ""
    head = ReportHead(
        kind="measurements",
        uid_seed=content.uid_seed,
        series_number=SERIES_NUMBER,
        description=f"{demo}measurements of {rule.roi}, not reviewed",
        made_at=content.made_at,
        procedure=CT_CHEST if rule.kind is MeasurementKind.NODES else IMAGING,
    )
    groups = [_group(one, content, image, volume) for one in content.outlined]
    slices = [contour.slice_index for outlined in content.outlined for contour in outlined.roi.contours]
    return encode_sr(head, groups, slices, image, volume, structure_set)


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


def _decimal(value: float) -> float:
    """Return the value as a decimal string of 16 characters can hold it."""
    return float(f"{value:.6g}")
