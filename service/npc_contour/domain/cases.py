"""Cases and their deliveries, as rows of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from npc_contour.domain.jobs import CaseState, Deliverable, DeliveryState
from npc_contour.domain.pipelines import Verdict
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Seal


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
        held_for: codes of the findings that it is held for.
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
    held_for: tuple[str, ...] = ()
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
