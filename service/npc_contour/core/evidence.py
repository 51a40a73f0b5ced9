"""Is a series contrast-enhanced? ContrastEvidence with weights, and a verdict in words.

No attribute answers reliably: the contrast agent is often left out or filled in for a whole examination, and
descriptions are written by people. So every source is heard, weighed, and written down; where sources that would
decide alone contradict each other, the answer is "unknown", never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from npc_contour.core.mr_sequences import sequence_of
from npc_contour.domain.pipelines import Contrast, Weighting
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.patterns import first_match

STRONG = 3
WEAK = 1
LONGEST_PHASE_MIN = 60.0
"""A time of injection further than this from the acquisition belongs to another examination."""
_BOTH = re.compile(r"\bw(?:ith)?\s*(?:/|&|\+|and|\s)\s*(?:w\s?/?\s?o|without)\b", re.IGNORECASE)
_ABSENT = re.compile(
    r"(?:\b(?:non?|un|pre|w\s?/?\s?o|without|sans|ohne)[\s.-]*(?:iv[\s.-]*)?(?:contrast|con|enhanced|enhancement|ce|c|km)\b)"
    r"|\bncct\b|\bnect\b|\bplain\b|\bnative\b|\bnativ\b|(?<![a-z0-9])c-(?![a-z0-9])|平扫|平掃|(?:未|无|無|不|非)增[强強]",
    re.IGNORECASE,
)
_PRESENT = re.compile(
    r"contrast|enhanc|\bce(?:ct)?\b|(?<![a-z0-9])c\s?\+|\+\s?c\b|\bpost[\s.-]*(?:con|iv|km)\b|\barterial\b|\bvenous\b"
    r"|\bportal\b|\bdelayed\b|\bm(?:it)?\s?km\b|增[强強]|[强強]化|\bgd\b|gado|magnevist|dotarem|omniscan|\bt1\s?(?:c|ce|gd)\b|[动動]脉期|[静靜]脉期|延[迟遲]期",
    re.IGNORECASE,
)
_NO_AGENT = {"", "NO", "NONE", "N", "NIL", "N/A", "NA", "-", "0", "NO CONTRAST", "WITHOUT", "W/O", "无", "無"}


@dataclass(frozen=True, slots=True)
class ContrastEvidence:
    """One source's word: PRESENT or ABSENT, and how much it counts."""

    says: Contrast
    weight: int
    text: str


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
    """

    contrast: tuple[str, ...] = ()
    no_contrast: tuple[str, ...] = ()
    t1: tuple[str, ...] = ()
    t2: tuple[str, ...] = ()

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


NO_WORDS = SiteWords()


def contrast_of(series: Series, words: SiteWords = NO_WORDS, seen: ContrastEvidence | None = None) -> ContrastFinding:
    """Weigh what is known of contrast in one series.

    Args:
        series: whose headers are heard.
        words: the site's own; where one of them is in the description, ours are not asked.
        seen: what its voxels say, where somebody looked.
    """
    first = series.first
    agents = sorted({instance.contrast_bolus_agent for instance in series.instances})
    injection = _injection_evidence(first)
    scanned_before = injection is not None and injection.says is Contrast.ABSENT
    evidence = [_agent_evidence(agent, scanned_before=scanned_before) for agent in agents]
    evidence += [item for item in (injection, seen) if item is not None]
    sources = (
        ("series description", first.series_description, STRONG),
        ("protocol name", first.protocol_name, WEAK),
        ("image type", " ".join(first.image_type), WEAK),
    )
    for name, text, weight in sources:
        own = words.phase(text)
        for says in sorted(_words(text)) if own is None else [own]:
            verb = "speaks of" if says is Contrast.PRESENT else "rules out"
            evidence.append(ContrastEvidence(says, weight, f"the {name} {text!r} {verb} contrast"))
    return _weigh(evidence)


def with_acquisition_order(
    series: Sequence[Series], findings: Sequence[ContrastFinding]
) -> tuple[ContrastFinding, ...]:
    """Let the time of acquisition speak where one series of a pair is known and the other is not.

    The series without contrast is scanned first: contrast cannot be taken back. Only pairs in one frame of reference
    are compared, and time alone never outweighs what the headers say.
    """
    heard = list(findings)
    for index, own in enumerate(series):
        if findings[index].phase is not None or own.first.acquired_at is None:
            continue
        for other, finding in zip(series, findings, strict=True):
            then = other.first.acquired_at
            if finding.phase is None or then is None or not _is_pair(own, other):
                continue
            minutes = (own.first.acquired_at - then).total_seconds() / 60
            if finding.phase is Contrast.PRESENT and minutes < 0:
                extra = ContrastEvidence(
                    Contrast.ABSENT, WEAK, f"acquired {-minutes:.0f} min before the contrast series"
                )
            elif finding.phase is Contrast.ABSENT and minutes > 0:
                extra = ContrastEvidence(
                    Contrast.PRESENT, WEAK, f"acquired {minutes:.0f} min after the non-contrast series"
                )
            else:
                continue
            heard[index] = _weigh([*findings[index].evidence, extra])
    return tuple(heard)


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
        return ContrastEvidence(Contrast.ABSENT, STRONG, f"acquired {-minutes:.1f} min before the injection")
    return ContrastEvidence(Contrast.PRESENT, STRONG, f"acquired {minutes:.1f} min after the injection")


def _agent_evidence(agent: str, *, scanned_before: bool) -> ContrastEvidence:
    """What Contrast/Bolus Agent says; before the injection it only says what was going to be injected."""
    if agent == "":
        return ContrastEvidence(Contrast.ABSENT, WEAK, "no Contrast/Bolus Agent is written")
    if agent.upper().strip() in _NO_AGENT:
        return ContrastEvidence(Contrast.ABSENT, STRONG, f"Contrast/Bolus Agent is {agent!r}")
    return ContrastEvidence(Contrast.PRESENT, WEAK if scanned_before else STRONG, f"Contrast/Bolus Agent is {agent!r}")


def _weigh(evidence: Sequence[ContrastEvidence]) -> ContrastFinding:
    present = sum(item.weight for item in evidence if item.says is Contrast.PRESENT)
    absent = sum(item.weight for item in evidence if item.says is Contrast.ABSENT)
    phase: Contrast | None
    if present == absent or min(present, absent) >= STRONG:
        phase = None
    else:
        phase = Contrast.PRESENT if present > absent else Contrast.ABSENT
    return ContrastFinding(phase, tuple(evidence))


def _words(text: str) -> set[Contrast]:
    """What a free text says of contrast; also read as GB18030 where it was declared Latin-1, as some sites send it."""
    found = set()
    for reading in {text, _as_chinese(text)}:
        rest = _BOTH.sub(" ", reading.replace("_", " "))
        if _ABSENT.search(rest):
            found.add(Contrast.ABSENT)
        if _PRESENT.search(_ABSENT.sub(" ", rest)):
            found.add(Contrast.PRESENT)
    return found


def _as_chinese(text: str) -> str:
    try:
        return text.encode("latin-1").decode("gb18030")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text
