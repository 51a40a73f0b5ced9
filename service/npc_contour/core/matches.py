"""What an archive answered, as a match: one reading of the attributes, whether they came by C-FIND or QIDO-RS."""

from __future__ import annotations

from collections.abc import Callable

from npc_contour.domain.queries import Match, Query, QueryLevel
from npc_contour.domain.uids import is_uid

MAX_NUMBER = 2**31 - 1


class UnusableMatchError(ValueError):
    """An answer names nothing that could be asked for; the message holds no word of a patient."""


def match_from(values_of: Callable[[str], tuple[str, ...]], query: Query) -> Match:
    """Return the match that an answer's attributes make.

    Args:
        values_of: the values of an attribute, by its DICOM keyword, as text; () where the answer has none.
        query: what was asked; an answer need not repeat the UIDs above its level (PS3.18 10.6.3.3).

    Raises:
        UnusableMatchError: a UID of the query's level or of one above is absent, or is no UID.
    """

    def text(keyword: str) -> str:
        return _plain(next(iter(values_of(keyword)), ""))

    def number(keyword: str) -> int | None:
        value = text(keyword)
        count = int(value) if value.isdecimal() and len(value) < 12 else -1
        return count if 0 <= count <= MAX_NUMBER else None

    uids = {keyword: text(keyword) for keyword in _UIDS}
    depth = list(QueryLevel).index(query.level)
    for keyword, asked in zip(_UIDS[:depth], (query.study_instance_uid, query.series_instance_uid), strict=False):
        uids[keyword] = uids[keyword] or asked
    for keyword in _UIDS[: depth + 1]:
        if not is_uid(uids[keyword]):
            raise UnusableMatchError(f"an answer at level {query.level} whose {keyword} is {uids[keyword][:64]!r}")
    study, series = uids["StudyInstanceUID"], uids["SeriesInstanceUID"]
    return Match(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=uids["SOPInstanceUID"],
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


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""From the study down, as the levels of a query."""


def _plain(text: str) -> str:
    """A text that every database takes: no NUL, and nothing that is half a character."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
