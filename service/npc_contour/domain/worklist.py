"""The work list and the facts of one case, as a person reads them: rows of the read side.

Patient ID is the only word about a patient here; whether it is shown is the site's decision (`web.show_patient`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from npc_contour.domain.jobs import CaseState, DeliveryState
from npc_contour.domain.status import CaseDetails, JobRow, SeriesRow


class Group(StrEnum):
    """How a person sorts work."""

    ALL = "all"
    ATTENTION = "attention"
    WORKING = "working"
    WAITING = "waiting"
    DONE = "done"


STATES: Mapping[Group, frozenset[str]] = {
    Group.ALL: frozenset(state.value for state in CaseState),
    Group.ATTENTION: frozenset({"refused", "failed", "ambiguous"}),
    Group.WORKING: frozenset({"routed", "segmented", "contoured"}),
    Group.WAITING: frozenset({"waiting"}),
    Group.DONE: frozenset({"sent", "verified", "combined"}),
}
"""States by group; a case needs attention too, whatever its state, that is held for its findings, with a delivery that
failed or is blocked, or of a study of which images came again as another patient's."""


SERIES_STATES: Mapping[Group, frozenset[str]] = {
    Group.ALL: frozenset({"receiving", "ready", "held", "aside"}),
    Group.ATTENTION: frozenset({"held", "aside"}),
    Group.WORKING: frozenset(),
    Group.WAITING: frozenset({"receiving"}),
    Group.DONE: frozenset(),
}
"""States of series that no case was made of, by group."""


class Order(StrEnum):
    """Which cases come first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    PIPELINE = "pipeline"
    STATE = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to list.

    Attributes:
        text: looked for in ids, UIDs, descriptions; and in Patient IDs and accession numbers where `patients`.
        pipeline: "" asks for all.
        patients: whether Patient IDs and accession numbers are searched.
        first: only cases made at this time or later; None takes all.
        end: only cases made before this time; None takes all.
        until: only cases made at this time or before, so that parts of the list stay where they are; None takes all.
    """

    group: Group = Group.ALL
    pipeline: str = ""
    text: str = ""
    patients: bool = False
    order: Order = Order.NEWEST
    first: datetime | None = None
    end: datetime | None = None
    limit: int = 100
    offset: int = 0
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRow(JobRow):
    """One line of the work list: a case and what came of it.

    Attributes:
        description: Series Description of the planning series, or of the study's first series.
        found: ROIs with contours; None before the structure set is written.
        rois: ROIs asked for.
        deliveries: destination → state.
    """

    patient_id: str
    description: str
    found: int | None = None
    rois: int | None = None
    deliveries: Mapping[str, DeliveryState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRow:
    """One series of a case."""

    role: str
    series_instance_uid: str
    modality: str
    description: str
    images: int
    contrast_agent: str = ""
    called_ae_title: str = ""
    calling_ae_title: str = ""
    first_instance_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A network that took part."""

    name: str
    version: str
    weights_sha256: str
    demo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """One case with everything around it.

    Attributes:
        label: Structure Set Label; "" before it is written.
        profile: how the structure set was written; "" where it is not noted.
        min_dice: of the worst ROI, read back from the RTSTRUCT; None before.
        siblings: (case id, pipeline, state) of the other cases of the study, newest first.
        key_image: where the spool keeps one image of the planning series; "" without images.
        series_names: every series of the study: UID → what a person knows it by.
        others: the series of the study that fill no role of this case.
        took_s: from the making of the case to its structure set; None before.
    """

    details: CaseDetails
    patient_id: str
    planning_role: str
    waiting_for: tuple[str, ...]
    inputs: Sequence[InputRow]
    networks: Sequence[NetworkRow]
    siblings: Sequence[tuple[str, str, CaseState]]
    label: str = ""
    profile: str = ""
    min_dice: float | None = None
    predecessor: str = ""
    key_image: str = ""
    series_names: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[SeriesRow] = ()
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the timeline: its number, and its case ("" when of a series or study only)."""

    number: int
    case_id: str
