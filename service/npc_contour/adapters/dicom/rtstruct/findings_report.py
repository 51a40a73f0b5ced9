"""Findings as DICOM: a structured report (TID 1500), and the page with pictures as Encapsulated PDF (PS3.3 A.45.1).

Each finding is one group (TID 1501): its code, its severity, the sentence as comment, and the image of its slice.
"""

from __future__ import annotations

import io

from highdicom import SOPClass
from highdicom.sr import (
    CodedConcept,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from npc_contour.adapters.dicom.rtstruct.structured_report import PRIVATE_SCHEME, ReportHead, encode_sr, finished
from npc_contour.adapters.dicom.rtstruct.text import DEMO_WORDS, shortened
from npc_contour.adapters.dicom.rtstruct.writer import MANUFACTURER, derived_uid
from npc_contour.application.ports import FindingsReport
from npc_contour.domain.findings import Finding
from npc_contour.domain.volumes import Volume

SR_SERIES, PDF_SERIES = 9003, 9004
SEVERITY = CodedConcept("SEVERITY", PRIVATE_SCHEME, "Severity of a finding")


def sr_head(content: FindingsReport) -> ReportHead:
    """Return what the structured report is."""
    return _head(content, "findings", SR_SERIES)


def pdf_head(content: FindingsReport) -> ReportHead:
    """Return what the page is."""
    return _head(content, "findings-pdf", PDF_SERIES)


def encode_findings(content: FindingsReport, image: Dataset, volume: Volume, structure_set: bytes) -> bytes:
    """Encode findings as a structured report.

    Args:
        content: what to say; at least one finding.
        image: header of any image of the planning series.
        volume: the planning series: which image each finding is about.
        structure_set: the RTSTRUCT beside it, named as evidence.
    """
    slices = [None if one.z_mm is None else volume.slice_nearest(one.z_mm) for one in content.findings]
    groups = [
        _group(number, one, at, content, image, volume)
        for number, (one, at) in enumerate(zip(content.findings, slices, strict=True), start=1)
    ]
    named = [at for at in slices if at is not None]
    return encode_sr(sr_head(content), groups, named, image, volume, structure_set)


def encode_pdf(content: FindingsReport, pdf: bytes, image: Dataset, structure_set: bytes) -> bytes:
    """Encode a page about findings; the page names no patient, the object around it does as the images do.

    Args:
        content: what the page says.
        pdf: the page.
        image: header of any image of the planning series.
        structure_set: the RTSTRUCT that it is about.
    """
    head, beside = pdf_head(content), dcmread(io.BytesIO(structure_set), stop_before_pixels=True)
    document = SOPClass(
        study_instance_uid=str(image.StudyInstanceUID),
        series_instance_uid=derived_uid(content.uid_seed, "findings-pdf-series"),
        series_number=head.series_number,
        sop_instance_uid=head.sop_instance_uid,
        sop_class_uid=EncapsulatedPDFStorage,
        instance_number=1,
        modality="DOC",
        manufacturer=MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )
    document.copy_patient_and_study_information(image)
    document._add_contributing_equipment()  # noqa: SLF001 - as its own classes do
    document.ConversionType = "WSD"
    document.AcquisitionDateTime = None
    document.BurnedInAnnotation = "NO"
    document.ConceptNameCodeSequence = [CodedConcept("121144", "DCM", "Document Title")]
    document.DocumentTitle = content.title
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = beside.SOPClassUID, beside.SOPInstanceUID
    document.SourceInstanceSequence = [source]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return finished(document, head, image)


def pdf_of(document: bytes) -> bytes:
    """Return the page that an Encapsulated PDF holds."""
    read = dcmread(io.BytesIO(document))
    return bytes(read.EncapsulatedDocument[: read.EncapsulatedDocumentLength])


def _head(content: FindingsReport, kind: str, series_number: int) -> ReportHead:
    demo = f"{DEMO_WORDS} - " if content.demo else ""
    return ReportHead(
        kind=kind,
        uid_seed=content.uid_seed,
        series_number=series_number,
        description=f"{demo}findings about {content.label}, not reviewed",
        made_at=content.made_at,
    )


def _group(
    number: int, finding: Finding, at: int | None, content: FindingsReport, image: Dataset, volume: Volume
) -> MeasurementsAndQualitativeEvaluations:
    name = shortened(f"{finding.structure or 'images'}: {finding.code.value}", 64)
    shown = [] if at is None else [volume.sop_instance_uids[at]]
    images = [SourceImageForMeasurementGroup(str(image.SOPClassUID), uid) for uid in shown]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(derived_uid(content.uid_seed, f"finding {number}"), name),
        finding_type=_private(finding.code.value),
        qualitative_evaluations=[QualitativeEvaluation(SEVERITY, _private(finding.severity.value))],
        source_images=images or None,
    )
    sentence = TextContentItem(codes.DCM.Comment, finding.sentence, RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(sentence)
    return group


def _private(word: str) -> CodedConcept:
    return CodedConcept(word.upper().replace("_", "")[:16], PRIVATE_SCHEME, word.replace("_", " "))
