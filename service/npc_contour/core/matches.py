"""What an archive answered, as a match: one reading of the attributes, whether they came by C-FIND or QIDO-RS."""

from __future__ import annotations

from collections.abc import Callable

from npc_contour.domain.queries import Match


def match_from(values_of: Callable[[str], tuple[str, ...]]) -> Match | None:
    """Return the match that an answer's attributes make.

    Args:
        values_of: the values of an attribute, by its DICOM keyword, as text; () where the answer has none.

    Returns:
        None for an answer without a Study Instance UID, which cannot be used.
    """

    def text(keyword: str) -> str:
        return next(iter(values_of(keyword)), "")

    def number(keyword: str) -> int | None:
        value = text(keyword)
        return int(value) if value.isdecimal() else None

    study, series = text("StudyInstanceUID"), text("SeriesInstanceUID")
    if not study:
        return None
    return Match(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=text("SOPInstanceUID"),
        sop_class_uid=text("SOPClassUID"),
        patient_id=text("PatientID"),
        accession_number=text("AccessionNumber"),
        modalities=values_of("Modality") or values_of("ModalitiesInStudy"),
        study_date=text("StudyDate"),
        description=text("SeriesDescription" if series else "StudyDescription"),
        body_part=text("BodyPartExamined"),
        series_number=number("SeriesNumber"),
        instance_number=number("InstanceNumber"),
        instances=number("NumberOfSeriesRelatedInstances" if series else "NumberOfStudyRelatedInstances"),
    )
