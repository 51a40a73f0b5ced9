"""Is a series contrast-enhanced? ContrastEvidence with weights, and a verdict in words.

No attribute answers reliably: the contrast agent is often left out or filled in for a whole examination, and
descriptions are written by people. So every source is heard, weighed, and written down. Where sources that would decide
alone contradict each other, or one source alone stands against a weaker one, the answer is "unknown", never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from npc_contour.core.contrast_words import is_empty_word, said_of_agent, said_of_contrast
from npc_contour.core.mr_sequences import sequence_of
from npc_contour.domain.pipelines import Contrast, Weighting
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.patterns import first_match

MEASURED = 4
STRONG = 3
WEAK = 1
LONGEST_PHASE_MIN = 60.0
"""A time of injection further than this from the acquisition belongs to another examination."""


@dataclass(frozen=True, slots=True)
class ContrastEvidence:
    """One source's word: PRESENT or ABSENT, and how much it counts.

    Attributes:
        is_explicit: somebody or something says so; what nobody wrote contradicts nothing.
    """

    says: Contrast
    weight: int
    text: str
    is_explicit: bool = True


@dataclass(frozen=True, slots=True)
class ContrastFinding:
    """What the evidence amounts to; `phase` is None when nothing or contradictory things are known."""

    phase: Contrast | None
    evidence: tuple[ContrastEvidence, ...]

    @property
    def is_faint(self) -> bool:
        """Whether it rests on weak sources alone, such as an agent that nobody wrote."""
        return self.phase is not None and all(item.weight < STRONG for item in self.evidence)

    @property
    def sentence(self) -> str:
        """The verdict in words, with every source."""
        words = {Contrast.PRESENT: "contrast-enhanced", Contrast.ABSENT: "without contrast"}
        verdict = "contrast unknown" if self.phase is None else words[self.phase]
        return f"{verdict} ({'; '.join(item.text for item in self.evidence)})"


@dataclass(frozen=True, slots=True)
class SiteWords:
    """Regular expressions of one site's own words in descriptions, beside those that are known here.

    Attributes:
        contrast: a match says that there is contrast.
        no_contrast: a match says that there is none; heard before `contrast`.
        t1: a match says that an MR sequence is T1 weighted.
        t2: likewise T2.
        take_derived: a match in the description or in Image Type lets a derived series be used as an original one.
    """

    contrast: tuple[str, ...] = ()
    no_contrast: tuple[str, ...] = ()
    t1: tuple[str, ...] = ()
    t2: tuple[str, ...] = ()
    take_derived: tuple[str, ...] = ()

    def phase(self, text: str) -> Contrast | None:
        """What the site's words make of a text; None when none of them is in it."""
        for says, patterns in ((Contrast.ABSENT, self.no_contrast), (Contrast.PRESENT, self.contrast)):
            if any(first_match(pattern, text) is not None for pattern in patterns):
                return says
        return None

    def weighting(self, text: str) -> Weighting | None:
        """Likewise of an MR sequence."""
        for says, patterns in ((Weighting.T1, self.t1), (Weighting.T2, self.t2)):
            if any(first_match(pattern, text) is not None for pattern in patterns):
                return says
        return None

    def takes(self, header: InstanceHeader) -> bool:
        """Whether a derived series is one that the site wants, by its description or Image Type.

        Of Image Type the values after DERIVED and PRIMARY or SECONDARY are matched: "iMAR" is in "PRIMARY", too.
        """
        texts = (header.series_description, *header.image_type[2:])
        return any(first_match(pattern, text) is not None for pattern in self.take_derived for text in texts)


NO_WORDS = SiteWords()


def contrast_of(series: Series, words: SiteWords = NO_WORDS, seen: ContrastEvidence | None = None) -> ContrastFinding:
    """Weigh what is known of contrast in one series.

    Args:
        series: whose headers are heard.
        words: the site's own; where one of them is in the description, ours are not asked.
        seen: what its voxels say, where somebody looked.
    """
    first = series.first
    agents = sorted({(instance.contrast_bolus_agent, instance.contrast_bolus_route) for instance in series.instances})
    injection = _injection_evidence(first)
    scanned_before = injection is not None and injection.says is Contrast.ABSENT
    evidence = [_agent_evidence(agent, route, scanned_before=scanned_before) for agent, route in agents]
    evidence += [item for item in (injection, seen) if item is not None]
    sources = (
        ("series description", first.series_description, STRONG),
        ("protocol name", first.protocol_name, WEAK),
        ("image type", " ".join(first.image_type), WEAK),
    )
    for name, text, weight in sources:
        own = words.phase(text)
        for says in sorted(said_of_contrast(text)) if own is None else [own]:
            verb = "speaks of" if says is Contrast.PRESENT else "rules out"
            evidence.append(ContrastEvidence(says, weight, f"the {name} {text!r} {verb} contrast"))
    return _weigh(evidence)


def with_acquisition_order(
    series: Sequence[Series], findings: Sequence[ContrastFinding]
) -> tuple[ContrastFinding, ...]:
    """Let the order of acquisition speak: contrast cannot be taken back, so the series without it comes first.

    Only series of one kind in one frame of reference, at most an hour apart, are compared. Time speaks weakly, and also
    against what is known: a lone description that the order contradicts leaves the phase unknown.
    """
    heard = list(findings)
    for index, own in enumerate(series):
        extra = [_order_evidence(own, findings[index], *theirs) for theirs in zip(series, findings, strict=True)]
        told = next((item for item in extra if item is not None), None)
        if told is not None:
            heard[index] = _weigh([*findings[index].evidence, told])
    return tuple(heard)


def _order_evidence(
    own: Series, finding: ContrastFinding, other: Series, theirs: ContrastFinding
) -> ContrastEvidence | None:
    """What the time of another series says of this one."""
    minutes = _minutes_between(own, other)
    if minutes is None or theirs.phase is None or finding.phase is theirs.phase or not _is_pair(own, other):
        return None
    unknown = finding.phase is None
    if theirs.phase is Contrast.PRESENT and minutes < 0 and unknown:
        return ContrastEvidence(Contrast.ABSENT, WEAK, f"acquired {-minutes:.0f} min before the contrast series")
    if theirs.phase is Contrast.PRESENT and minutes > 0 and not unknown:
        return ContrastEvidence(Contrast.PRESENT, WEAK, f"acquired {minutes:.0f} min after a contrast series")
    if theirs.phase is Contrast.ABSENT and minutes > 0 and unknown:
        return ContrastEvidence(Contrast.PRESENT, WEAK, f"acquired {minutes:.0f} min after the non-contrast series")
    if theirs.phase is Contrast.ABSENT and not theirs.is_faint and minutes < 0 and not unknown:
        return ContrastEvidence(Contrast.ABSENT, WEAK, f"acquired {-minutes:.0f} min before a series without contrast")
    return None


def _minutes_between(own: Series, other: Series) -> float | None:
    """By how much the first was acquired later; None where it is not known, or too long ago to matter."""
    if own.first.acquired_at is None or other.first.acquired_at is None:
        return None
    minutes = (own.first.acquired_at - other.first.acquired_at).total_seconds() / 60
    return minutes if abs(minutes) <= LONGEST_PHASE_MIN else None


def _is_pair(one: Series, other: Series) -> bool:
    return (
        one.series_instance_uid != other.series_instance_uid
        and one.first.modality == other.first.modality
        and one.first.frame_of_reference_uid == other.first.frame_of_reference_uid
        and (one.first.modality != "MR" or sequence_of(one.first).weighting == sequence_of(other.first).weighting)
    )


def _injection_evidence(first: InstanceHeader) -> ContrastEvidence | None:
    """Contrast/Bolus Start Time against the time of acquisition: some scanners write it into the scan before, too."""
    if first.injected_at is None or first.acquired_at is None:
        return None
    injected = datetime.combine(first.acquired_at.date(), first.injected_at)
    minutes = (first.acquired_at - injected).total_seconds() / 60
    if abs(minutes) > LONGEST_PHASE_MIN:
        return None
    if minutes < 0:
        return ContrastEvidence(Contrast.ABSENT, MEASURED, f"acquired {-minutes:.1f} min before the injection")
    return ContrastEvidence(Contrast.PRESENT, MEASURED, f"acquired {minutes:.1f} min after the injection")


def _agent_evidence(agent: str, route: str, *, scanned_before: bool) -> ContrastEvidence:
    """What Contrast/Bolus Agent and Route say; before the injection they only say what was going to be injected."""
    if agent == "":
        return ContrastEvidence(Contrast.ABSENT, WEAK, "no Contrast/Bolus Agent is written", is_explicit=False)
    if is_empty_word(agent):
        text = f"Contrast/Bolus Agent is {agent!r}, which says nothing"
        return ContrastEvidence(Contrast.ABSENT, 0, text, is_explicit=False)
    said = said_of_agent(agent)
    if said is Contrast.ABSENT:
        return ContrastEvidence(Contrast.ABSENT, STRONG, f"Contrast/Bolus Agent is {agent!r}")
    if said is None or said_of_agent(route) is None:
        by = f" by route {route!r}" if route else ""
        text = f"Contrast/Bolus Agent is {agent!r}{by}, which is not in the vessels"
        return ContrastEvidence(Contrast.ABSENT, WEAK, text, is_explicit=False)
    if scanned_before:
        text = f"Contrast/Bolus Agent is {agent!r}, injected later"
        return ContrastEvidence(Contrast.PRESENT, WEAK, text, is_explicit=False)
    return ContrastEvidence(Contrast.PRESENT, STRONG, f"Contrast/Bolus Agent is {agent!r}")


def _weigh(evidence: Sequence[ContrastEvidence]) -> ContrastFinding:
    sides = {says: [item for item in evidence if item.says is says] for says in (Contrast.PRESENT, Contrast.ABSENT)}
    weights = {says: sum(item.weight for item in heard) for says, heard in sides.items()}
    winner, loser = sorted(sides, key=lambda says: -weights[says])
    contrary = any(item.is_explicit for item in sides[loser])
    explicit = [item.weight for item in sides[winner] if item.is_explicit]
    alone = explicit == [STRONG]
    unknown = weights[winner] == weights[loser] or weights[loser] >= STRONG or (contrary and alone)
    return ContrastFinding(None if unknown else winner, tuple(evidence))
