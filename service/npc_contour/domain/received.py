"""What was received, and what senders were promised about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.series import InstanceHeader, Seal


class Added(StrEnum):
    """What became of an image: known already, its UID taken by another, added, or added to a series not open yet."""

    KNOWN = "known"
    TAKEN = "taken"
    ADDED = "added"
    OPENED = "opened"


class Ending(StrEnum):
    """How an association ended; lost means that our own receiver died."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file of the spool and what it must hold; None where a former version kept it and noted nothing."""

    key: str
    seal: Seal | None


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that we keep, its file, and what that must hold."""

    sop_class_uid: str
    key: str
    seal: Seal | None


class CommitmentState(StrEnum):
    """Where a sender's request for storage commitment stands."""

    ASKED = "asked"
    REPORTED = "reported"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRow:
    """A sender's request for storage commitment.

    Attributes:
        objects: (SOP Class UID, SOP Instance UID) of what it asks about.
    """

    commitment_id: int
    transaction_uid: str
    calling_ae_title: str
    objects: tuple[tuple[str, str], ...]
    state: CommitmentState
    attempts: int


@dataclass(frozen=True, slots=True)
class AssociationRow:
    """One association that brought images."""

    association_id: str
    receiver: str
    calling_ae_title: str
    called_ae_title: str
    peer: str


@dataclass(frozen=True, slots=True)
class ArrivedImage:
    """One image whose bytes are on disk under `header.key`, and who brought it."""

    header: InstanceHeader
    association: AssociationRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRecord:
    """One received series.

    Attributes:
        endings: how the associations that carried it ended; None for one that is open.
        whole_images: how many images it had when a person said that it is whole; None where nobody did.
        correction_at: since when a person is asked whether images that came again count; None where nobody is.
    """

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    called_ae_title: str
    state: SeriesState
    reasons: tuple[str, ...]
    images: int
    first_instance_at: datetime
    last_instance_at: datetime
    endings: tuple[tuple[Ending, datetime] | None, ...] = ()
    description: str = ""
    whole_images: int | None = None
    correction_at: datetime | None = None

    @property
    def is_said_whole(self) -> bool:
        """Whether a person said that it is whole as it is now."""
        return self.whole_images == self.images


@dataclass(frozen=True, slots=True)
class Known:
    """What a database says of its installation.

    Attributes:
        installation_id: "" before the first start, and in a database of a version that had none.
        has_spool: the id lies in the spool.
        has_studies: it is not empty.
        newest_keys: files that should be in the spool, the newest ones.
    """

    installation_id: str
    has_spool: bool
    has_studies: bool
    newest_keys: tuple[str, ...]
