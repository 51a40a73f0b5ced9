"""Which pipelines contour a study, from which series; every refusal with every reason.

Rules are data: the roles of `pipelines/*.toml`. A role's `description_pattern` is the site's own word on which series
it means, so a match settles the contrast phase, whatever the headers' other evidence. Series fill roles together only
in one frame of reference and over a common extent, one series never fills two, and where more than one choice is left
the study is refused: a person chooses, not a list order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from npc_contour.core.evidence import ContrastFinding, contrast_of, with_acquisition_order
from npc_contour.core.mr_sequences import SequenceFinding, sequence_of
from npc_contour.core.stacking import Stack, stack
from npc_contour.domain.pipelines import Contrast, Pipeline, Role, Route, Verdict
from npc_contour.domain.series import Case, Series
from npc_contour.errors import SeriesGeometryError

MIN_OVERLAP = 0.5
"""A partner covers at least this share of the planning series' extent along its normal."""
MAX_CHOICES = 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A complete series of the study.

    Attributes:
        called_ae_title: to which of our AE titles it was sent; "" where it came from a folder.
    """

    series: Series
    called_ae_title: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What is found once per series and asked by every role."""

    candidate: Candidate
    stack: Stack | None
    geometry_fault: str
    contrast: ContrastFinding
    sequence: SequenceFinding | None = None

    @property
    def uid(self) -> str:
        return self.candidate.series.series_instance_uid

    @property
    def name(self) -> str:
        first = self.candidate.series.first
        number = "" if first.series_number is None else f" {first.series_number}"
        return f"series{number} {first.series_description!r} ({len(self.candidate.series.instances)} images)"

    @property
    def sentence(self) -> str:
        """What it is, in words, with every source."""
        sequence = "" if self.sequence is None else f"{self.sequence.sentence}, "
        return sequence + self.contrast.sentence


def route(study: Sequence[Candidate], pipelines: Iterable[Pipeline]) -> tuple[Route, ...]:
    """Answer for each pipeline what of this study it would contour, or why not.

    Args:
        study: complete series of one study, in any order.
        pipelines: those that run at this site.

    Returns:
        One route per pipeline, in the order given. `case` set and `waiting_for` empty: run it. `case` None and
        `waiting_for` set: a later series may complete it. Both set: it may run as it is, but a series that suits better
        (the non-contrast phase) may still come. Neither: refused, as far as this study goes.
    """
    facts = _find_facts(study)
    return tuple(_route_one(pipeline, facts) for pipeline in pipelines)


def _find_facts(study: Sequence[Candidate]) -> tuple[_Facts, ...]:
    all_series = [candidate.series for candidate in study]
    findings = with_acquisition_order(all_series, [contrast_of(series) for series in all_series])
    facts = []
    for candidate, finding in zip(study, findings, strict=True):
        try:
            found, fault = stack(candidate.series), ""
        except SeriesGeometryError as error:
            found, fault = None, str(error)
        first = candidate.series.first
        facts.append(_Facts(candidate, found, fault, finding, sequence_of(first) if first.modality == "MR" else None))
    return tuple(facts)


def _route_one(pipeline: Pipeline, facts: Sequence[_Facts]) -> Route:
    verdicts = []
    fitting: dict[str, list[_Facts]] = {role.name: [] for role in pipeline.roles}
    for role, fact in itertools.product(pipeline.roles, facts):
        faults, merits = _judge(role, fact)
        verdicts.append(Verdict(fact.uid, pipeline.name, role.name, not faults, tuple(faults or merits)))
        if not faults:
            fitting[role.name].append(fact)
    refusals = _refusal_reasons(facts, verdicts)
    required = sorted((r for r in pipeline.roles if r.required), key=lambda r: r.name != pipeline.planning_role)
    empty = [role for role in required if not fitting[role.name]]
    if empty:
        waits = () if len(empty) == len(required) else tuple(role.name for role in empty)
        verb = "waits for" if waits else "needs"
        asked = [
            f"{pipeline.name} {verb} {role.name}: {_description(role)}; no series of this study is one"
            for role in empty
        ]
        return Route(pipeline.name, None, waits, (*asked, *refusals), tuple(verdicts))
    choices, clashes = _choices(required, fitting)
    if len(choices) > 1:
        listed = " | ".join(" + ".join(f"{name}: {fact.name}" for name, fact in c.items()) for c in choices)
        reasons = (f"more than one choice, a person must say which: {listed}", *refusals)
        return Route(pipeline.name, None, (), reasons, tuple(verdicts))
    if not choices:
        partners = tuple(role.name for role in required[1:])
        return Route(pipeline.name, None, partners, (*clashes, *refusals), tuple(verdicts))
    chosen, notes = _add_optional(pipeline, choices[0], fitting)
    case = Case(pipeline.name, {name: fact.candidate.series for name, fact in chosen.items()}, pipeline.planning_role)
    told = [f"{name}: {fact.name}: {fact.sentence}" for name, fact in chosen.items()]
    better = tuple(
        role.name
        for role in pipeline.roles
        if role.contrast is Contrast.ANY
        and role.name == pipeline.planning_role
        and role.modality == "CT"
        and chosen[role.name].contrast.phase is not Contrast.ABSENT
    )
    return Route(pipeline.name, case, better, (*told, *notes), tuple(verdicts))


def _judge(role: Role, fact: _Facts) -> tuple[list[str], list[str]]:
    """Every reason against a series in a role, and what speaks for it when there is none."""
    first = fact.candidate.series.first
    faults = []
    if first.modality != role.modality:
        faults.append(f"modality is {first.modality or 'absent'}, {role.modality} is asked")
    if role.called_ae_titles and fact.candidate.called_ae_title not in role.called_ae_titles:
        asked = " or ".join(role.called_ae_titles)
        faults.append(f"it was sent to AE title {fact.candidate.called_ae_title!r}, {asked} is asked")
    if role.body_parts and first.body_part and _plain(first.body_part) not in map(_plain, role.body_parts):
        faults.append(f"body part is {first.body_part!r}, one of {', '.join(role.body_parts)} is asked")
    faults += _description_faults(role, first.series_description)
    by_rule = role.description_pattern is not None
    if fact.sequence is not None and not by_rule:
        faults += _sequence_faults(role, fact.sequence)
    if role.contrast is not Contrast.ANY and not by_rule and fact.contrast.phase is not role.contrast:
        asked = "a contrast-enhanced series" if role.contrast is Contrast.PRESENT else "a series without contrast"
        faults.append(f"{fact.contrast.sentence}, {asked} is asked")
    faults += _geometry_faults(role, fact)
    merits = [fact.sentence]
    if by_rule:
        merits.append(f"the description matches the rule {role.description_pattern!r}")
    return faults, merits


def _sequence_faults(role: Role, found: SequenceFinding) -> list[str]:
    faults = []
    if role.weighting is not None and found.weighting is not role.weighting:
        faults.append(f"{found.sentence}, {role.weighting.upper()} is asked")
    if role.fat_suppressed is not None and found.fat_suppressed is not role.fat_suppressed:
        asked = "fat suppression is asked" if role.fat_suppressed else "one without fat suppression is asked"
        faults.append(f"{found.sentence}, {asked}")
    return faults


def _description_faults(role: Role, description: str) -> list[str]:
    faults = []
    if role.description_pattern and not re.search(role.description_pattern, description, re.IGNORECASE):
        faults.append(f"description {description!r} does not match {role.description_pattern!r}")
    excluded = re.search(role.exclude_pattern, description, re.IGNORECASE) if role.exclude_pattern else None
    if excluded:
        faults.append(f"description {description!r} contains {excluded[0]!r}, which is excluded")
    return faults


def _geometry_faults(role: Role, fact: _Facts) -> list[str]:
    if fact.stack is None:
        return [f"no regular stack: {fact.geometry_fault}"]
    faults = []
    grid = fact.stack.grid
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


def _choices(
    roles: Sequence[Role], fitting: Mapping[str, Sequence[_Facts]]
) -> tuple[list[dict[str, _Facts]], list[str]]:
    """Every way to fill the required roles (the planning role is the first), and why other ways clash."""
    names = [role.name for role in roles]
    choices = []
    clashes: list[str] = []
    combinations = itertools.product(*(_preferred(role, fitting[role.name]) for role in roles))
    for combination in itertools.islice(combinations, MAX_CHOICES):
        faults = _pair_faults(combination)
        if faults:
            clashes += faults
        else:
            choices.append(dict(zip(names, combination, strict=True)))
    return choices, list(dict.fromkeys(clashes))


def _preferred(role: Role, facts: Sequence[_Facts]) -> Sequence[_Facts]:
    """Of a pair, a role that takes either phase takes the one without contrast: doses are planned on it."""
    if role.contrast is not Contrast.ANY or len({_frame(fact) for fact in facts}) != 1:
        return facts
    plain = [fact for fact in facts if fact.contrast.phase is Contrast.ABSENT]
    enhanced = [fact for fact in facts if fact.contrast.phase is Contrast.PRESENT]
    return plain if len(plain) + len(enhanced) == len(facts) and plain else facts


def _pair_faults(combination: Sequence[_Facts]) -> list[str]:
    faults = []
    planning = combination[0]
    for one, other in itertools.combinations(combination, 2):
        if one.uid == other.uid:
            faults.append(f"{one.name} cannot fill two roles")
        elif _frame(one) != _frame(other):
            faults.append(
                f"{one.name} and {other.name} are in different frames of reference ({_frame(one)} and {_frame(other)})"
            )
    for other in combination[1:]:
        share = _overlap(planning, other) if other.uid != planning.uid and _frame(other) == _frame(planning) else 1.0
        if share < MIN_OVERLAP:
            faults.append(
                f"{other.name} covers {share:.0%} of the extent of {planning.name}, {MIN_OVERLAP:.0%} is asked"
            )
    return faults


def _overlap(one: _Facts, other: _Facts) -> float:
    """Which share of the first series' extent along its normal the other one covers."""
    if one.stack is None or other.stack is None:
        return 0.0
    normal = one.stack.grid.direction_lps[0]
    ends: list[list[float]] = [
        sorted((s.positions_lps_mm[[0, -1]] @ normal).tolist()) for s in (one.stack, other.stack)
    ]
    common = min(ends[0][1], ends[1][1]) - max(ends[0][0], ends[1][0])
    return max(0.0, common) / (ends[0][1] - ends[0][0])


def _add_optional(
    pipeline: Pipeline, chosen: dict[str, _Facts], fitting: Mapping[str, Sequence[_Facts]]
) -> tuple[dict[str, _Facts], list[str]]:
    """Fill roles that are not required where just one series suits; more than one is left out and said."""
    notes = []
    for role in (role for role in pipeline.roles if not role.required):
        suiting = [fact for fact in fitting[role.name] if not _pair_faults([*chosen.values(), fact])]
        if len(suiting) == 1:
            chosen = {**chosen, role.name: suiting[0]}
        elif suiting:
            notes.append(f"{role.name}: more than one series suits, none is used: {', '.join(f.name for f in suiting)}")
    return chosen, notes


def _refusal_reasons(facts: Sequence[_Facts], verdicts: Sequence[Verdict]) -> list[str]:
    names = {fact.uid: fact.name for fact in facts}
    return [
        f"{names[verdict.series_instance_uid]} as {verdict.role}: {reason}"
        for verdict in verdicts
        if not verdict.accepted
        for reason in verdict.reasons
    ]


def _description(role: Role) -> str:
    kind = {Contrast.PRESENT: "contrast-enhanced ", Contrast.ABSENT: "non-contrast ", Contrast.ANY: ""}[role.contrast]
    weighting = f"{role.weighting.upper()} " if role.weighting else ""
    return f"a {kind}{weighting}{role.modality} series in the same study and frame of reference"


def _frame(fact: _Facts) -> str:
    return fact.candidate.series.first.frame_of_reference_uid


def _plain(body_part: str) -> str:
    return re.sub(r"[\s_^-]+", "", body_part).upper()
