"""What is asked of an archive (PACS) and what it answers, whether over C-FIND or QIDO-RS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from npc_contour.domain.security import TlsIdentity
from npc_contour.domain.series import InstanceHeader

WILDCARDS = "*?\\"
"""Letters that mean more than themselves in a query (PS3.4 C.2.2.2.4, PS3.5 6.2)."""


class QueryLevel(StrEnum):
    """What one match stands for (PS3.4 C.6.2, Study Root)."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


class QueryRoot(StrEnum):
    """Which information model a PACS is asked under (PS3.4 C.3)."""

    STUDY = "study"
    PATIENT = "patient"


class Retrieval(StrEnum):
    """How images are fetched: over our own association, over one that the PACS opens to us, or over HTTP."""

    GET = "get"
    MOVE = "move"
    WEB = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; an empty field matches everything.

    Attributes:
        level: what one match stands for.
        modality: of the series; at study level, one of the study's.
        since: first study date, included.
        until: last study date, included.
        sop_instance_uids: only at image level.
    """

    level: QueryLevel
    patient_id: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    modality: str = ""
    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        """Refuse what no archive may be asked: each level below the study needs the UIDs above it (PS3.4 C.4.1.2.1)."""
        if self.level is not QueryLevel.STUDY and not self.study_instance_uid:
            raise ValueError(f"a query at level {self.level} needs a Study Instance UID")
        if self.level is QueryLevel.IMAGE and not self.series_instance_uid:
            raise ValueError("a query at level IMAGE needs a Series Instance UID")
        for text in (self.patient_id, self.accession_number, self.modality):
            if any(letter in WILDCARDS for letter in text):
                raise ValueError(f"{text!r} has one of {WILDCARDS!r}, which would match more than it says")

    @property
    def study_dates(self) -> str:
        """The range of study dates as C-FIND and QIDO-RS take it (PS3.4 C.2.2.2.5); "" where any will do."""
        if self.since is None and self.until is None:
            return ""
        first, last = (f"{day:%Y%m%d}" if day is not None else "" for day in (self.since, self.until))
        return first if first == last else f"{first}-{last}"

    def accepts(self, match: Match) -> bool:
        """Whether an answer is one that was asked for: many archives ignore keys that they do not support.

        What the archive does not say is taken on trust, but for the UIDs.
        """
        return (
            self.study_instance_uid in {"", match.study_instance_uid}
            and self.series_instance_uid in {"", match.series_instance_uid}
            and (not self.sop_instance_uids or match.sop_instance_uid in self.sop_instance_uids)
            and (not self.patient_id or match.patient_id in {"", self.patient_id})
            and (not self.accession_number or match.accession_number in {"", self.accession_number})
            and (not self.modality or not match.modalities or self.modality in match.modalities)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One answer; what the archive does not say is "", () or None. No field holds the patient's name.

    Attributes:
        modalities: of the series; at study level all of the study's.
        study_date: as in the archive, YYYYMMDD.
        instances: how many the archive holds below this level; many archives do not say.
    """

    study_instance_uid: str
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    modalities: tuple[str, ...] = ()
    study_date: str = ""
    description: str = ""
    body_part: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    instances: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """One entry of a modality worklist: what an examination will be found under, as far as the worklist says."""

    accession_number: str
    study_instance_uid: str
    patient_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to fetch: a study, a series of it, or images of that series."""

    study_instance_uid: str
    series_instance_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    patient_id: str = ""

    def __post_init__(self) -> None:
        """Refuse a request that no archive can understand."""
        if not self.study_instance_uid:
            raise ValueError("a retrieval needs a Study Instance UID")
        if self.sop_instance_uids and not self.series_instance_uid:
            raise ValueError("a retrieval of images needs their Series Instance UID")

    def stranger(self, image: InstanceHeader) -> str:
        """Why an image is none of what was asked for, in words that name no patient; "" where it is one."""
        if image.study_instance_uid != self.study_instance_uid:
            return f"it is of study {image.study_instance_uid[:64]}, which was not asked for"
        if self.series_instance_uid not in {"", image.series_instance_uid}:
            return f"it is of series {image.series_instance_uid[:64]}, which was not asked for"
        if self.sop_instance_uids and image.sop_instance_uid not in self.sop_instance_uids:
            return "it is another image than was asked for"
        if self.patient_id.strip() not in {"", image.patient_id.strip()}:
            return "it is of another patient than was asked for"
        return ""

    @property
    def level(self) -> QueryLevel:
        """The level of what is fetched."""
        if self.sop_instance_uids:
            return QueryLevel.IMAGE
        return QueryLevel.SERIES if self.series_instance_uid else QueryLevel.STUDY


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What became of a retrieval.

    Attributes:
        completed: images that arrived and were kept.
        failed: images that the archive could not send or that we refused.
        failed_uids: of those, as far as the archive names them.
    """

    completed: int
    failed: int = 0
    failed_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveNode:
    """A PACS that is asked for images.

    Attributes:
        web_url: root of its DICOMweb services; "" when it has none.
        token: sent as bearer token to `web_url`; "" sends none.
        ca_file: certificates that its HTTPS is checked against; "" takes those of the system.
        tls: how its DICOM port is called; None in the clear.
    """

    name: str
    ae_title: str
    host: str
    port: int
    root: QueryRoot = QueryRoot.STUDY
    retrieval: Retrieval = Retrieval.GET
    web_url: str = ""
    token: str = ""
    ca_file: str = ""
    tls: TlsIdentity | None = None
