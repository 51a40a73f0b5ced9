"""Which pipelines contour a study, from which series; every refusal with every reason.

Rules are data: the roles of `pipelines/*.toml`. Series fill roles together only in one frame of reference (or where a
Spatial Registration links theirs) and over a common extent, and one series never fills two. Where more than one choice
is left, or the evidence does not tell, a person chooses: never a list order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from npc_contour.core.identity import REMEDY, is_one_patient, mixed_patients
from npc_contour.core.registrations import way_between
from npc_contour.core.roles import Candidate, Facts, Knowledge, find_facts, judge, judge_assigned
from npc_contour.core.stacking import SAME_ORIENTATION
from npc_contour.domain.pipelines import Contrast, Pipeline, Role, Route, Verdict, Weighting
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Case, InstanceHeader

MIN_OVERLAP = 0.5
"""A partner covers at least this share of the planning series' volume."""
SAMPLES = 16
WIDEST_MM = 250.0
"""In plane only the middle of the planning series counts, where head and neck lie: a large field of view holds air."""
SAME_SECONDS = 1.0
SAME_SPACING = 0.01
SAME_LINE_MM = 0.05
SAME_STEP = 0.1
"""Of the slice spacing: how exactly the slices of two parts of a scan lie on one row of positions."""
MAX_COMBINATIONS = 1000
MAX_CHOICES = 20
MOST_PAIRS = 6
NOTHING_ELSE = Knowledge()

Choice = dict[str, Facts]


@dataclass(frozen=True, slots=True)
class _Fitting:
    """Which series suit each role of a pipeline, and which would if a person said what they are.

    Attributes:
        concerned: whether any series is meant for any role, or a person said so.
    """

    sure: Mapping[str, Sequence[Facts]]
    open: Mapping[str, Sequence[Facts]]
    faint: Mapping[str, Sequence[Facts]]
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]
    concerned: bool


def route(
    study: Sequence[Candidate], pipelines: Iterable[Pipeline], knowledge: Knowledge = NOTHING_ELSE
) -> tuple[Route, ...]:
    """Answer for each pipeline what of this study it would contour, or why not.

    Args:
        study: complete series of one study, in any order.
        pipelines: those that run at this site.
        knowledge: what is known beside the headers.

    Returns:
        One route per pipeline, in the order given. `case` set and `waiting_for` empty: run it. `case` None and
        `waiting_for` set: a later series may complete it. Both set: it may run as it is, but a series that suits better
        (the non-contrast phase) may still come. `choices` set: a person must say which, once nothing is waited for.
        None of them: refused, as far as this study goes; `concerned` tells whether anybody would have expected more.
    """
    facts = find_facts(study, knowledge)
    return tuple(_Router(pipeline, facts, knowledge).answer() for pipeline in pipelines)


def undecided_by_headers(
    study: Sequence[Candidate], pipelines: Iterable[Pipeline], knowledge: Knowledge = NOTHING_ELSE
) -> tuple[Candidate, ...]:
    """Return the CT series whose voxels should be looked at, because the headers leave their contrast phase open.

    These are series of unknown phase that a role would take but for that, and all that are alike where a pipeline asks
    for both phases and the headers call every series by the same one.
    """
    facts = find_facts(study, knowledge)
    wanted: dict[str, Candidate] = {}
    for pipeline in pipelines:
        if pipeline.name in knowledge.assigned:
            continue
        asked = {role.contrast for role in pipeline.roles if role.required and role.modality == "CT"}
        for role, fact in itertools.product(pipeline.roles, facts):
            judgement = judge(role, fact)
            both_asked = asked >= {Contrast.PRESENT, Contrast.ABSENT}
            alike = both_asked and _all_of_one_phase(facts) and _is_scan(fact)
            unknown = fact.contrast.phase is None and (judgement.is_open or judgement.fits)
            if role.modality == "CT" and fact.uid not in knowledge.seen and (unknown or alike):
                wanted[fact.uid] = fact.candidate
    return tuple(wanted.values())


def to_compare(
    study: Sequence[Candidate], pipelines: Iterable[Pipeline], knowledge: Knowledge = NOTHING_ELSE
) -> tuple[tuple[Candidate, Candidate], ...]:
    """Return the pairs of T1 MR series of one kind whose voxels tell which of the two shows the contrast agent.

    Those of a study of which a pipeline wants one with and one without; headers are wrong too often to stand alone.
    """
    asking = (pipeline for pipeline in pipelines if pipeline.name not in knowledge.assigned)
    asked = [{role.contrast for role in pipeline.roles if role.weighting is Weighting.T1} for pipeline in asking]
    if not any(phases >= {Contrast.PRESENT, Contrast.ABSENT} for phases in asked):
        return ()
    facts = [fact for fact in find_facts(study, knowledge) if fact.stack is not None and fact.is_wanted]
    kinds = [
        (fact, (fact.frame_uid, fact.sequence.fat_suppressed))
        for fact in facts
        if fact.sequence is not None and fact.sequence.weighting is Weighting.T1
    ]
    pairs = itertools.combinations(kinds, 2)
    alike = ((one.candidate, other.candidate) for (one, kind), (other, theirs) in pairs if kind == theirs)
    return tuple(itertools.islice(alike, MOST_PAIRS))


def _all_of_one_phase(facts: Sequence[Facts]) -> bool:
    scans = [fact for fact in facts if _is_scan(fact)]
    return len(scans) > 1 and len({fact.contrast.phase for fact in scans}) == 1


def _is_scan(fact: Facts) -> bool:
    return fact.modality == "CT" and fact.stack is not None and fact.is_wanted


class _Router:
    """One pipeline on one study."""

    def __init__(self, pipeline: Pipeline, facts: Sequence[Facts], knowledge: Knowledge) -> None:
        self._pipeline = pipeline
        self._facts = facts
        self._moves = knowledge.registrations
        self._registration_faults = knowledge.registration_faults
        self._assigned = knowledge.assigned.get(pipeline.name, {})
        required = [role for role in pipeline.roles if role.required or role.name in self._assigned]
        self._required = sorted(required, key=lambda role: role.name != pipeline.planning_role)

    def answer(self) -> Route:
        """Fill the roles, or say why not."""
        fitting = self._fitting()
        choices, clashes = self._choices(fitting.sure)
        if len(choices) == 1:
            parts = self._other_part(choices[0])
            return self._for_a_person(parts, choices, fitting) if parts else self._made(choices[0], fitting)
        if choices:
            return self._for_a_person("more than one choice", choices, fitting)
        with_open = {name: [*fitting.sure[name], *fitting.open[name]] for name in fitting.sure}
        possible, _ = self._choices(with_open)
        if possible:
            return self._for_a_person("the evidence does not tell which series is which", possible, fitting)
        route = self._unfilled(fitting, with_open, clashes)
        guesses, _ = self._choices({name: [*with_open[name], *fitting.faint[name]] for name in with_open})
        if not guesses:
            return route
        # A better partner may still come; after that a person may say what weak evidence has wrong.
        asked = self._for_a_person("only weak evidence tells which series is which", guesses, fitting)
        return replace(route, reasons=(*route.reasons, asked.reasons[0]), choices=asked.choices)

    def _fitting(self) -> _Fitting:
        names = {fact.uid: fact.name for fact in self._facts}
        verdicts, reasons = [], []
        concerned = bool(self._assigned)
        sure: dict[str, list[Facts]] = {role.name: [] for role in self._pipeline.roles}
        unclear: dict[str, list[Facts]] = {role.name: [] for role in self._pipeline.roles}
        faint: dict[str, list[Facts]] = {role.name: [] for role in self._pipeline.roles}
        for role in self._pipeline.roles:
            chosen = self._assigned.get(role.name)
            if chosen is not None and chosen not in names:
                reasons.append(f"{role.name}: the series that a person assigned, {chosen}, is not here (any more)")
            for fact in self._facts:
                if chosen is None:
                    taken = fact.uid in self._assigned.values()
                    judgement = judge(role, fact)
                elif fact.uid == chosen:
                    taken, judgement = False, judge_assigned(role, fact)
                else:
                    continue
                concerned = concerned or judgement.is_meant
                said = judgement.faults or judgement.merits
                verdicts.append(Verdict(fact.uid, self._pipeline.name, role.name, judgement.fits, said))
                reasons += [f"{names[fact.uid]} as {role.name}: {fault}" for fault in judgement.faults]
                if judgement.fits and not taken:
                    sure[role.name].append(fact)
                elif judgement.is_open and not taken:
                    unclear[role.name].append(fact)
                elif judgement.is_faint and not taken:
                    faint[role.name].append(fact)
        return _Fitting(sure, unclear, faint, tuple(verdicts), tuple(reasons), concerned)

    def _other_part(self, choice: Choice) -> str:
        """Whether what was chosen is only a part of its scan, in words; a person who assigned it knows."""
        for fact in (fact for name, fact in choice.items() if name not in self._assigned):
            for other in (other for other in self._facts if other not in choice.values()):
                if are_parts_of_one_scan(fact, other):
                    return f"{fact.name} and {other.name} look like two parts of one scan"
        return ""

    def _unfilled(self, fitting: _Fitting, with_open: Mapping[str, Sequence[Facts]], clashes: Sequence[str]) -> Route:
        pipeline, required = self._pipeline, self._required
        empty = [role for role in required if not with_open[role.name]]
        if not empty:
            # Every role has a series, but no two of them go together: another partner may come.
            empty_names = tuple(role.name for role in required[1:])
            reasons = (*clashes, *self._registration_faults, *fitting.reasons)
            return Route(pipeline.name, None, empty_names, reasons, fitting.verdicts)
        waits = () if len(empty) == len(required) else tuple(role.name for role in empty)
        verb = "waits for" if waits else "needs"
        asked = [
            f"{pipeline.name} {verb} {role.name}: {_description(role)}; no series of this study is one"
            for role in empty
        ]
        reasons = (*asked, *fitting.reasons)
        return Route(pipeline.name, None, waits, reasons, fitting.verdicts, concerned=bool(waits) or fitting.concerned)

    def _for_a_person(self, why: str, choices: Sequence[Choice], fitting: _Fitting) -> Route:
        listed = " | ".join(
            " + ".join(f"{name}: {fact.name}" for name, fact in c.items()) for c in choices[:MAX_CHOICES]
        )
        twins = [_twins(one, other) for one, other in itertools.combinations(self._facts, 2)]
        reasons = (
            f"{self._pipeline.name}: {why}, a person must say which: {listed}",
            *filter(None, twins),
            *fitting.reasons,
        )
        offered = tuple({name: fact.uid for name, fact in choice.items()} for choice in choices[:MAX_CHOICES])
        return Route(self._pipeline.name, None, (), reasons, fitting.verdicts, offered)

    def _made(self, choice: Choice, fitting: _Fitting) -> Route:
        pipeline = self._pipeline
        chosen, notes = self._add_optional(choice, fitting.sure)
        planning = chosen[pipeline.planning_role]
        moves = {}
        for name, fact in chosen.items():
            move = self._way(fact, planning)
            if move is not None and fact.frame_uid != planning.frame_uid:
                moves[name] = move
                uids = ", ".join(move.sop_instance_uids)
                notes.append(f"{name} is brought into the frame of {pipeline.planning_role} by registration {uids}")
        series = {name: fact.candidate.series for name, fact in chosen.items()}
        case = Case(pipeline.name, series, pipeline.planning_role, moves)
        who = dict.fromkeys(self._assigned, ", assigned by a person")
        told = [f"{name}{who.get(name, '')}: {fact.name}: {fact.sentence}" for name, fact in chosen.items()]
        told += [f"{name}: {words}" for name, fact in chosen.items() for words in fact.candidate.series.left_out]
        told += [_grids(name, fact, planning) for name, fact in chosen.items() if fact is not planning]
        better = tuple(
            role.name
            for role in pipeline.roles
            if role.contrast is Contrast.ANY
            and role.name == pipeline.planning_role
            and role.name not in self._assigned
            and role.modality == "CT"
            and planning.contrast.phase is not Contrast.ABSENT
        )
        return Route(pipeline.name, case, better, (*filter(None, told), *notes), fitting.verdicts)

    def _choices(self, fitting: Mapping[str, Sequence[Facts]]) -> tuple[list[Choice], list[str]]:
        """Every way to fill the required roles (the planning role is the first), and why other ways clash."""
        names = [role.name for role in self._required]
        choices = []
        clashes: list[str] = []
        combinations = itertools.product(*(_preferred(role, fitting[role.name]) for role in self._required))
        for combination in itertools.islice(combinations, MAX_COMBINATIONS):
            faults = self._pair_faults(combination)
            if faults:
                clashes += faults
            else:
                choices.append(dict(zip(names, combination, strict=True)))
        return choices, list(dict.fromkeys(clashes))

    def _pair_faults(self, combination: Sequence[Facts]) -> list[str]:
        faults = []
        planning = combination[0]
        for one, other in itertools.combinations(combination, 2):
            if one.uid == other.uid:
                faults.append(f"{one.name} cannot fill two roles")
            elif mixed := mixed_patients(_firsts(one, other)):
                faults.append(f"{one.name} and {other.name} do not go together: {mixed}; {REMEDY}")
            elif self._way(other, one) is None and one.frame_uid != other.frame_uid:
                faults.append(
                    f"{one.name} and {other.name} are in different frames of reference ({one.frame_uid} and"
                    f" {other.frame_uid}), and no Spatial Registration of the study links them rigidly"
                )
        for other in combination[1:]:
            way = self._way(other, planning)
            linked = other.frame_uid == planning.frame_uid or way is not None
            share = _overlap(planning, other, way) if other.uid != planning.uid and linked else 1.0
            if share < MIN_OVERLAP:
                faults.append(
                    f"{other.name} covers {share:.0%} of the volume of {planning.name}, {MIN_OVERLAP:.0%} is asked"
                )
        return faults

    def _way(self, source: Facts, target: Facts) -> RigidMove | None:
        if source.frame_uid == target.frame_uid or not (source.frame_uid and target.frame_uid):
            return None
        return way_between(self._moves, source.frame_uid, target.frame_uid)

    def _add_optional(self, chosen: Choice, fitting: Mapping[str, Sequence[Facts]]) -> tuple[Choice, list[str]]:
        """Fill roles that are not required where just one series suits; more than one is left out and said."""
        notes = []
        for role in (role for role in self._pipeline.roles if role.name not in chosen):
            suiting = [fact for fact in fitting[role.name] if not self._pair_faults([*chosen.values(), fact])]
            if len(suiting) == 1:
                chosen = {**chosen, role.name: suiting[0]}
            elif suiting:
                listed = ", ".join(fact.name for fact in suiting)
                notes.append(f"{role.name}: more than one series suits, none is used: {listed}")
        return chosen, notes


def _preferred(role: Role, facts: Sequence[Facts]) -> Sequence[Facts]:
    """Of a pair, a role that takes either phase takes the one without contrast: doses are planned on it."""
    if role.contrast is not Contrast.ANY or len({fact.frame_uid for fact in facts}) != 1:
        return facts
    if not is_one_patient(_firsts(*facts)):
        return facts
    plain = [fact for fact in facts if fact.contrast.phase is Contrast.ABSENT]
    enhanced = [fact for fact in facts if fact.contrast.phase is Contrast.PRESENT]
    return plain if len(plain) + len(enhanced) == len(facts) and plain else facts


def _firsts(*facts: Facts) -> list[InstanceHeader]:
    """One image of each series, which stands for all of it: a series of two patients is no stack."""
    return [fact.candidate.series.first for fact in facts]


def _overlap(one: Facts, other: Facts, way: RigidMove | None) -> float:
    """Which share of the first series' volume lies inside the other's box, once that is moved there.

    Sampled at the middles of 16 x 16 equal parts of each slice, tilted or not.
    """
    if one.stack is None or other.stack is None:
        return 0.0
    shape, spacing_mm = one.stack.grid.shape_zyx, one.stack.grid.spacing_zyx_mm
    sizes = [shape[0], *(min(shape[axis], WIDEST_MM / spacing_mm[axis]) for axis in (1, 2))]
    counts = (shape[0], SAMPLES, SAMPLES)
    axes = [
        (whole - 1) / 2 + ((np.arange(count) + 0.5) / count - 0.5) * size
        for whole, size, count in zip(shape, sizes, counts, strict=True)
    ]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = one.stack.grid.to_patient_mm(indices)
    theirs = other.stack.grid.to_index_zyx(points if way is None else way.inverse().points(points))
    inside = (theirs >= -0.5) & (theirs <= np.asarray(other.stack.grid.shape_zyx) - 0.5)
    return float(inside.all(axis=-1).mean())


def _grids(name: str, fact: Facts, planning: Facts) -> str:
    """That a series is resampled, and from which grid; "" where its voxels lie on the planning grid."""
    if fact.stack is None or planning.stack is None:
        return ""
    theirs, ours = fact.stack.grid, planning.stack.grid
    alike = theirs.shape_zyx == ours.shape_zyx and np.allclose(theirs.spacing_zyx_mm, ours.spacing_zyx_mm, atol=1e-3)
    if alike and np.allclose(theirs.origin_lps_mm, ours.origin_lps_mm, atol=1e-2):
        return ""
    size, spacing = " x ".join(map(str, theirs.shape_zyx)), " x ".join(f"{mm:.2f}" for mm in theirs.spacing_zyx_mm)
    return f"{name} is resampled onto the planning grid, from {size} voxels of {spacing} mm"


def _twins(one: Facts, other: Facts) -> str:
    """Whether two series look like copies or parts of one acquisition, in words."""
    if are_parts_of_one_scan(one, other):
        return f"{one.name} and {other.name} look like two parts of one scan"
    first, second = one.candidate.series.first, other.candidate.series.first
    if one.stack is None or other.stack is None or first.acquired_at is None or second.acquired_at is None:
        return ""
    apart_s = abs((first.acquired_at - second.acquired_at).total_seconds())
    same_place = one.frame_uid == other.frame_uid and one.stack.grid == other.stack.grid
    if apart_s > SAME_SECONDS or not same_place or one.modality != other.modality:
        return ""
    return f"{one.name} and {other.name} look like one acquisition sent twice, or reconstructed twice"


def are_parts_of_one_scan(one: Facts, other: Facts) -> bool:
    """Whether one series goes on where the other ends: the same slices in plane, at the same spacing along one line.

    They may overlap, but neither lies within the other; two phases of contrast are two scans.
    """
    if one.stack is None or other.stack is None or one.modality != other.modality or one.frame_uid != other.frame_uid:
        return False
    phases = {one.contrast.phase, other.contrast.phase}
    ours, theirs = one.stack.grid, other.stack.grid
    gap_mm = ours.spacing_zyx_mm[0]
    alike = (
        (len(phases) == 1 or None in phases)
        and ours.shape_zyx[1:] == theirs.shape_zyx[1:]
        and np.allclose(ours.spacing_zyx_mm, theirs.spacing_zyx_mm, rtol=SAME_SPACING)
        and np.allclose(ours.direction_lps, theirs.direction_lps, atol=SAME_ORIENTATION)
    )
    if not alike:
        return False
    offset_mm = np.asarray(ours.direction_lps) @ (np.subtract(theirs.origin_lps_mm, ours.origin_lps_mm))
    begins = float(offset_mm[0]) / gap_mm
    ends, last = begins + theirs.shape_zyx[0] - 1, ours.shape_zyx[0] - 1
    in_line = bool(np.abs(offset_mm[1:]).max() < SAME_LINE_MM) and abs(begins - round(begins)) < SAME_STEP
    touches = begins <= last + 1 + SAME_STEP and ends >= -1 - SAME_STEP
    within = (begins > -SAME_STEP and ends < last + SAME_STEP) or (begins < SAME_STEP and ends > last - SAME_STEP)
    return in_line and touches and not within


def _description(role: Role) -> str:
    kind = {Contrast.PRESENT: "contrast-enhanced ", Contrast.ABSENT: "non-contrast ", Contrast.ANY: ""}[role.contrast]
    weighting = f"{role.weighting.upper()} " if role.weighting else ""
    return f"a {kind}{weighting}{role.modality} series in the same study and frame of reference"
