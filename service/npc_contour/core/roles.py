"""Whether one series suits one role, with every reason: what is found of each series once, and what a role asks.

A role's `description_pattern` is the site's own word on which series it means, so a match settles contrast and
weighting, whatever the headers' other evidence. A series whose only fault is that its contrast or weighting is unknown
is "open": only a person's word can say whether it fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from npc_contour.core.evidence import (
    NO_WORDS,
    ContrastEvidence,
    ContrastFinding,
    SiteWords,
    contrast_of,
    with_acquisition_order,
)
from npc_contour.core.mr_sequences import SequenceFinding, sequence_of
from npc_contour.core.stacking import Stack, stack
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import Contrast, Role
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Series
from npc_contour.errors import SeriesGeometryError
from npc_contour.patterns import first_match


@dataclass(frozen=True, slots=True)
class Candidate:
    """A complete series of the study.

    Attributes:
        called_ae_title: to which of our AE titles it was sent; "" where it came from a folder.
        note: what whoever uses its contours should know; "" for nothing.
    """

    series: Series
    called_ae_title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known beside the headers.

    Attributes:
        words: the site's own words in descriptions.
        seen: Series Instance UID → what its voxels say of contrast, where somebody looked.
        registrations: of the study, oldest first.
        assigned: pipeline → role → Series Instance UID, as a person said.
        registration_faults: why registrations of the study are not used.
    """

    words: SiteWords = NO_WORDS
    seen: Mapping[str, ContrastEvidence] = field(default_factory=dict)
    registrations: Sequence[RigidMove] = ()
    assigned: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    registration_faults: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is found once per series and asked by every role.

    Attributes:
        is_wanted: it is original, or the site's words take it.
    """

    candidate: Candidate
    stack: Stack | None
    geometry_fault: str
    contrast: ContrastFinding
    sequence: SequenceFinding | None = None
    is_wanted: bool = True

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return self.candidate.series.series_instance_uid

    @property
    def frame_uid(self) -> str:
        """Frame of Reference UID."""
        return self.candidate.series.first.frame_of_reference_uid

    @property
    def modality(self) -> str:
        """Modality."""
        return self.candidate.series.first.modality

    @property
    def name(self) -> str:
        """How people call it."""
        first = self.candidate.series.first
        number = "" if first.series_number is None else f" {first.series_number}"
        return f"series{number} {first.series_description!r} ({len(self.candidate.series.instances)} images)"

    @property
    def sentence(self) -> str:
        """What it is, in words, with every source."""
        sequence = "" if self.sequence is None else f"{self.sequence.sentence}, "
        notes = filter(None, (self.candidate.series.derived, self.candidate.note))
        return sequence + "; ".join((self.contrast.sentence, *notes))


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a series suits a role.

    Attributes:
        faults: every reason against it.
        merits: what speaks for it when there is none.
        is_open: the only faults are things that are unknown.
        is_faint: the only faults are things that are unknown, or known from weak sources alone.
        is_meant: it is of the kind that the role asks for; at most its slices' spacing or regularity is against it.
    """

    faults: tuple[str, ...]
    merits: tuple[str, ...]
    is_open: bool = False
    is_faint: bool = False
    is_meant: bool = False

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.faults


def find_facts(study: Sequence[Candidate], knowledge: Knowledge) -> tuple[Facts, ...]:
    """Find out what can be known of each series of a study."""
    all_series = [candidate.series for candidate in study]
    first_findings = [
        contrast_of(series, knowledge.words, knowledge.seen.get(series.series_instance_uid)) for series in all_series
    ]
    findings = with_acquisition_order(all_series, first_findings)
    facts = []
    for candidate, finding in zip(study, findings, strict=True):
        try:
            found, fault = stack(candidate.series), ""
        except SeriesGeometryError as error:
            found, fault = None, str(error)
        first = candidate.series.first
        sequence = sequence_of(first, knowledge.words.weighting) if first.modality == "MR" else None
        wanted = not candidate.series.derived or knowledge.words.takes(first)
        facts.append(Facts(candidate, found, fault, finding, sequence, wanted))
    return tuple(facts)


def judge(role: Role, fact: Facts) -> Judgement:
    """Hold a series against what a role asks."""
    first = fact.candidate.series.first
    by_rule = role.description_pattern is not None
    faults = [*_derived_faults(fact), *_demand_faults(role, fact)]
    unknown: list[str] = []
    faint: list[str] = []
    if not by_rule:
        contrast_faults = _contrast_faults(role, fact)
        for fault, is_unknown in (*contrast_faults, *_sequence_faults(role, fact)):
            (unknown if is_unknown else faults).append(fault)
        faint = [fault for fault, _ in contrast_faults if fact.contrast.is_faint]
    is_meant = (not faults or set(faults) <= set(faint)) and _is_whole(role, fact)
    faults += _geometry_faults(role, fact)
    merits = [fact.sentence]
    if by_rule and first_match(role.description_pattern or "", first.series_description) is not None:
        merits.append(f"the description matches the rule {role.description_pattern!r}")
    settled = [fault for fault in faults if fault not in faint]
    return Judgement(
        (*faults, *unknown),
        tuple(merits),
        is_open=bool(unknown) and not faults,
        is_faint=bool(unknown or faint) and not settled,
        is_meant=is_meant,
    )


def judge_assigned(role: Role, fact: Facts) -> Judgement:
    """Hold a series that a person chose against what no person can change."""
    faults = [] if fact.modality == role.modality else [f"modality is {fact.modality}, {role.modality} is asked"]
    if fact.stack is None:
        faults.append(f"no regular stack: {fact.geometry_fault}")
    return Judgement(tuple(faults), ("assigned by a person", fact.sentence), is_meant=True)


def _derived_faults(fact: Facts) -> list[str]:
    if fact.is_wanted:
        return []
    return [f"{fact.candidate.series.derived}: used where routing.words.take_derived names it, or a person assigns it"]


def _demand_faults(role: Role, fact: Facts) -> list[str]:
    first = fact.candidate.series.first
    faults = []
    if first.modality != role.modality:
        faults.append(f"modality is {first.modality or 'absent'}, {role.modality} is asked")
    if role.called_ae_titles and fact.candidate.called_ae_title not in role.called_ae_titles:
        asked = " or ".join(role.called_ae_titles)
        faults.append(f"it was sent to AE title {fact.candidate.called_ae_title!r}, {asked} is asked")
    if role.body_parts and first.body_part and _plain(first.body_part) not in map(_plain, role.body_parts):
        faults.append(f"body part is {first.body_part!r}, one of {', '.join(role.body_parts)} is asked")
    return faults + _description_faults(role, first.series_description)


def _description_faults(role: Role, description: str) -> list[str]:
    faults = []
    if role.description_pattern and first_match(role.description_pattern, description) is None:
        faults.append(f"description {description!r} does not match {role.description_pattern!r}")
    excluded = first_match(role.exclude_pattern, description) if role.exclude_pattern else None
    if excluded is not None:
        faults.append(f"description {description!r} contains {excluded!r}, which is excluded")
    return faults


def _contrast_faults(role: Role, fact: Facts) -> list[tuple[str, bool]]:
    """Faults, and whether each is a thing that is only unknown."""
    if role.contrast in {Contrast.ANY, fact.contrast.phase} or fact.modality != role.modality:
        return []
    asked = "a contrast-enhanced series" if role.contrast is Contrast.PRESENT else "a series without contrast"
    return [(f"{fact.contrast.sentence}, {asked} is asked", fact.contrast.phase is None)]


def _sequence_faults(role: Role, fact: Facts) -> list[tuple[str, bool]]:
    found = fact.sequence
    if found is None:
        return []
    faults = []
    if role.weighting is not None and found.weighting is not role.weighting:
        faults.append((f"{found.sentence}, {role.weighting.upper()} is asked", found.weighting is None))
    if role.fat_suppressed is not None and found.fat_suppressed is not role.fat_suppressed:
        asked = "fat suppression is asked" if role.fat_suppressed else "one without fat suppression is asked"
        faults.append((f"{found.sentence}, {asked}", False))
    return faults


def _geometry_faults(role: Role, fact: Facts) -> list[str]:
    if fact.stack is None:
        return [f"no regular stack: {fact.geometry_fault}"]
    faults = []
    grid = fact.stack.grid
    plane = plane_of(grid)
    if role.plane is not None and plane != role.plane:
        faults.append(f"the slices lie {plane}, {role.plane} is asked")
    slices, gap_mm, pixel_mm = grid.shape_zyx[0], grid.spacing_zyx_mm[0], max(grid.spacing_zyx_mm[1:])
    if slices < role.min_slices:
        faults.append(f"{slices} slices, at least {role.min_slices} are asked")
    if slices > role.max_slices:
        faults.append(f"{slices} slices, at most {role.max_slices} are taken")
    if gap_mm > role.max_slice_spacing_mm + 1e-3:
        faults.append(f"slices are {gap_mm:.2f} mm apart, at most {role.max_slice_spacing_mm:.2f} mm is taken")
    if pixel_mm > role.max_pixel_spacing_mm + 1e-3:
        faults.append(f"pixels are {pixel_mm:.2f} mm wide, at most {role.max_pixel_spacing_mm:.2f} mm is taken")
    return faults


def _is_whole(role: Role, fact: Facts) -> bool:
    """Whether a series is more than a localizer and lies in the role's plane."""
    if fact.stack is None:
        return len(fact.candidate.series.instances) >= role.min_slices
    return fact.stack.grid.shape_zyx[0] >= role.min_slices and role.plane in {None, plane_of(fact.stack.grid)}


def plane_of(grid: Grid) -> str:
    """Return the plane to which the slices lie nearest."""
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.asarray(grid.direction_lps[0]))))]


def _plain(body_part: str) -> str:
    return re.sub(r"[\s_^-]+", "", body_part).upper()
