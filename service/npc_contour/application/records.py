"""Rows of the store as the use cases see them, and the jobs that a change of state causes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState, SeriesState
from npc_contour.domain.pipelines import Verdict
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader, Seal
from npc_contour.logs import Event


class JobKind(StrEnum):
    """What workers do; each job names one row and may be done twice without harm.

    New kinds go to the end: their order numbers the claims, and workers of two versions run beside each other.
    """

    CLOSE_SERIES = "close_series"
    ROUTE_STUDY = "route_study"
    SEGMENT_CASE = "segment_case"
    WRITE_STRUCTURE_SET = "write_structure_set"
    SEND = "send"
    POLL_ARCHIVE = "poll_archive"
    FETCH_SERIES = "fetch_series"
    VERIFY = "verify"
    RESCAN = "rescan"
    RETENTION = "retention"
    FIND_PARTNER = "find_partner"
    REPORT_COMMITMENT = "report_commitment"
    COMBINE_STUDY = "combine_study"
    FIND_STUDY = "find_study"
    CALL_WEBHOOK = "call_webhook"
    SELF_TEST = "self_test"
    MEND_CASE = "mend_case"


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do.

    Attributes:
        key: of the row: Series or Study Instance UID, case id, delivery id.
        run_at: not before; None is at once.
        urgent: before others of its kind.
        traceparent: of what causes it; "" takes the step that defers it.
    """

    kind: JobKind
    key: str
    run_at: datetime | None = None
    urgent: bool = False
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a step was begun, this time included, and how often it took its process down."""

    count: int
    deaths: int


@dataclass(frozen=True, slots=True)
class Deaths:
    """How often a step took its process down since it last succeeded, and when it was begun last."""

    count: int
    begun_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedStep:
    """A step that was given up, and waits for something new or for a person.

    Attributes:
        kind: of job; a newer version's may be among them.
        key: of the row.
        tries: since it last succeeded.
    """

    kind: str
    key: str
    reason: str
    tries: int
    parked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestResult:
    """How a test of the networks ended.

    Attributes:
        at: when it ended.
        detail: in words.
        dice: network → mean Dice on the phantom; empty when a network did not answer.
    """

    at: datetime
    seconds: float
    ok: bool
    detail: str
    dice: Mapping[str, float]


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


class PullState(StrEnum):
    """Where a series of a PACS stands: incomplete means that some images could not be fetched or were refused."""

    WANTED = "wanted"
    FETCHED = "fetched"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledSeries:
    """A series of a PACS that is or was to be fetched.

    Attributes:
        pacs: its name in the settings.
        images: as the PACS counted; None where it does not count.
    """

    pull_id: int
    pacs: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    images: int | None
    state: PullState
    attempts: int
    message: str


class PullRequestState(StrEnum):
    """Where a program's request for a study stands: no PACS has answered yet, its series are known, or it failed."""

    ASKED = "asked"
    FOUND = "found"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A study that a program asks us to fetch.

    Attributes:
        pacs: its name in the settings.
        series_instance_uids: only these; empty takes all that a pipeline may take.
        pull_ids: of the series that are fetched for it.
    """

    request_id: int
    pacs: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    state: PullRequestState
    attempts: int
    message: str
    pull_ids: tuple[int, ...]


class WebhookState(StrEnum):
    """Where a message to another program stands."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """What one program is told once.

    Attributes:
        hook: the receiver's name in the settings.
        event: what happened.
        at: when it happened.
        status: HTTP status of the last answer; None while there was none.
        message: what became of the last try.
    """

    message_id: str
    hook: str
    event: str
    at: datetime
    study_instance_uid: str | None
    series_instance_uid: str | None
    case_id: str | None
    state: WebhookState
    attempts: int
    next_try_at: datetime | None
    status: int | None
    message: str
    created_at: datetime


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
class CaseInput:
    """The images of one role, fixed when the case is made: a late slice makes a new case."""

    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    move: RigidMove | None = None
    """How the series comes into the planning series' frame of reference; None where it lies in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """One case.

    Attributes:
        inputs: role → images; empty while no series fill the roles.
        wait_until: when waiting for a partner ends; None when it does not wait.
        predecessor: the case whose place it took.
        urgent: goes before others.
        held_reason: why it is kept from going on until a person lets it; "" as a rule.
        outdated: whether images of it were replaced since it was made.
        verdicts: of every series of the study in every role.
        choices: role → Series Instance UID, while a person must choose.
        members: of a combined case, the cases whose contours it holds.
    """

    case_id: str
    study_instance_uid: str
    pipeline: str
    generation: int
    state: CaseState
    planning_role: str
    inputs: Mapping[str, CaseInput]
    frame_of_reference_uid: str
    waiting_for: tuple[str, ...]
    wait_until: datetime | None
    reasons: tuple[str, ...]
    demo: bool
    predecessor: str | None
    created_at: datetime
    urgent: bool = False
    held_reason: str = ""
    outdated: bool = False
    verdicts: tuple[Verdict, ...] = ()
    choices: tuple[Mapping[str, str], ...] = ()
    members: tuple[str, ...] = ()

    @property
    def planning_series_uid(self) -> str | None:
        """The series whose grid carries the contours."""
        planning = self.inputs.get(self.planning_role)
        return planning.series_instance_uid if planning else None

    @property
    def uid_seed(self) -> str:
        """What the UIDs of its RTSTRUCT derive from."""
        return f"{self.case_id}/{self.generation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One object of a case at one destination.

    Attributes:
        status: the last C-STORE or STOW-RS status; None while there was no answer.
        ask_at: when it is asked next whether it holds the object; None when it is not asked.
        asks: how often it was asked since it was sent.
        what: which of the case's objects it is about; `key` and `sop_instance_uid` are that one's.
        seal: what the file must hold; None where a former version wrote it.
    """

    delivery_id: int
    case_id: str
    study_instance_uid: str
    pipeline: str
    key: str
    sop_instance_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    next_try_at: datetime | None
    created_at: datetime
    demo: bool
    status: int | None = None
    sent_at: datetime | None = None
    ask_at: datetime | None = None
    asks: int = 0
    held: bool = False
    what: Deliverable = Deliverable.RTSTRUCT
    seal: Seal | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a destination may be called now.

    Attributes:
        paused: a person keeps everything from being sent to it.
        wait_until: it was down a moment ago and is tried again then; None when it may be called.
    """

    paused: bool = False
    wait_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may be called."""
        return not self.paused and self.wait_until is None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryLine:
    """Something that happened.

    Attributes:
        detail: in words; never a patient's name.
        step: a step that took `seconds`, in a line of its own without detail; "" for a moment.
    """

    event: Event
    at: datetime
    study: str | None = None
    series: str | None = None
    case: str | None = None
    detail: str = ""
    step: str = ""
    seconds: float | None = None


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
