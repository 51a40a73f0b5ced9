"""What an MR series is: its weighting, whether fat is dark, and which part of a Dixon acquisition it holds.

No attribute names a weighting. It follows from echo, repetition and inversion time, which the scanner writes and nobody
edits, and it is what people call it in the description. Both are heard; where they contradict each other outright the
answer is "unknown", never a guess. The limits between T1, PD and T2 are those of radiology textbooks for spin echo at
1.5 and 3 T. A gradient echo is never T2 weighted (its long echoes show susceptibility), and its times alone do not make
it an anatomical T1: calibration and angiography have the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from npc_contour.domain.pipelines import Weighting
from npc_contour.domain.series import InstanceHeader

STRONG = 3
WEAK = 1
FAINT = 0
"""Fits what is said, and decides nothing alone."""
SHORTEST_T1_INVERSION_MS = 400.0
SHORTEST_FLAIR_INVERSION_MS = 1400.0


class Part(StrEnum):
    """What an image shows of one acquisition that yields several; WHOLE is an ordinary magnitude image."""

    WHOLE = "whole"
    WATER = "water"
    IN_PHASE = "in-phase"
    OPPOSED = "opposed-phase"
    FAT = "fat"
    PHASE = "phase"


_PARTS: dict[Part, frozenset[str]] = {
    Part.PHASE: frozenset({"P", "PHASE", "PHASE MAP", "PHASE_MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY"}),
    Part.WATER: frozenset({"W", "WATER"}),
    Part.FAT: frozenset({"F", "FAT"}),
    Part.IN_PHASE: frozenset({"IP", "IN_PHASE", "IN PHASE", "INPHASE"}),
    Part.OPPOSED: frozenset({"OP", "OPP_PHASE", "OPP PHASE", "OUT_PHASE", "OUT PHASE", "OUTPHASE", "OPPOSED_PHASE"}),
}
_NOT_A_PART = re.compile(
    r"(?:\bnon?|\bnot|without|\bw/?o|sans|ohne|\bsin|senza|sem|sup\w*|sat\w*|post|pre)[\s_-]*(?:f|fat|w|water|op)$",
    re.IGNORECASE,
)
"""Fat suppressed, after an operation: endings of other sentences."""
_PART_ENDINGS = (
    (Part.WATER, re.compile(r"(?:[_\s:](?:w|water)|water\s*:?.*|水相)$", re.IGNORECASE)),
    (Part.FAT, re.compile(r"(?:[_\s:](?:f|fat)|^fat\s*:.*|脂相)$", re.IGNORECASE)),
    (Part.IN_PHASE, re.compile(r"[_\s:](?:in|ip|in[\s_-]?phase)$|同相位?$", re.IGNORECASE)),
    (Part.OPPOSED, re.compile(r"[_\s:](?:opp|op|out)(?:[\s_-]?phase)?$|反相位?$", re.IGNORECASE)),
)
_OTHER_TYPES = frozenset({
    *("ADC", "EADC", "DIFFUSION", "TRACEW", "FA", "TENSOR", "PERFUSION", "ASL", "MTT", "TTP", "CBF", "CBV", "RCBF"),
    *("RCBV", "KTRANS", "KEP", "IAUC", "T1 MAP", "T2 MAP", "T2_STAR MAP", "T2STAR MAP", "R2STAR", "R2_STAR", "T2_STAR"),
    *("QSM", "SWI", "FF", "FAT_FRACTION", "PDFF", "B0 MAP", "B1 MAP", "FIELD_MAP", "SPECTROSCOPY", "STDDEV", "MNIP"),
})  # fmt: skip
_WORDS = (
    (
        Weighting.OTHER,
        r"dwi|\badc\b|diff(?:usion)?|ep2d|\bepi\b|resolve|trace|\bdti\b|\bivim\b|(?<![a-z])b\s?\d{2,4}\b|perf|\bdsc\b|\basl\b"
        r"|swi(?![a-z])|swip|\bswan|venobold|ha?emo|susc|tof|time[\s-]?of[\s-]?flight|angio|\bmr[av]\b|veno(?:gra|bold)"
        r"|s3di|\b3d[\s-]?pca?\b|\binhance|\btwist|\btricks|\bqiss|\bp(?:hase)?[\s-]?c(?:ontrast|a)?\s?(?:3d|2d|mr)|phase[\s-]?contrast"
        r"|t[12][\s-]?map|t2[\s-]?star|t2\s?\*|molli|\bqsm\b|t1[\s-]?rho|\bcest\b|\bapt\b|\bmtc\b|magneti[sz]ation\s+transfer|ktrans|pdff|fat[\s-]?frac(?:tion)?|\br2(?:\s?\*|[\s-]?star)|spectro|\bmrs\b|\bcsi\b"
        r"|弥散|彌散|扩散|拡散|확산|灌注|灌流|관류|血管|혈관|波谱",
    ),
    (
        Weighting.FLAIR,
        r"(?<!t1)(?<!t1[\s-])flair|dark[\s-]?fluid|黑水|压水|壓水|抑水|水抑制",
    ),
    (Weighting.T1, r"(?<![a-z0-9])t1(?![0-9])|mp[\s-]?rage|\b(?:vibe|bravo|e?thrive|lava|fspgr|spgr)"),
    (Weighting.T2, r"(?<![a-z0-9])t2(?![0-9*])|\b(?:haste|stir|tirm)\b"),
    (Weighting.PD, r"(?<![a-z])pd(?![a-z])|proton"),
)
"""The first that a text speaks of: a "T2 diffusion" is diffusion. T1 before FLAIR where both are named ("T1 FLAIR",
"t1_tirm_dark-fluid"); two of T1, T2 and PD together name nothing."""
_GRADIENT_NAMES = re.compile(
    r"fl[23]d|(?<![a-z])tfl|(?<![a-z])fe[23]?d?(?![a-z])|(?<![a-z])(?:gre|ffe|tfe|swan|swi|merge|medic|me[23]d)(?![a-z])"
    r"|gradient|梯度",
    re.IGNORECASE,
)
_FAT_WORDS = re.compile(
    r"(?<![a-z])fs(?![a-z])|fat[\s_-]?(?:sat|supp)|supp?\w*[\s_-]?fat|(?<![a-z])spai?r(?![a-z])|(?<![a-z])spir(?![a-z])|\bstir\b|\btirm\b"
    r"|chemsat|(?<![a-z])we(?![a-z])|压脂|壓脂|抑脂|脂肪抑制",
    re.IGNORECASE,
)
_NO_FAT_WORDS = re.compile(r"(?:non?|without|w/?o)[\s_-]*(?:fs|fat[\s_-]?sat)|不压脂|不壓脂", re.IGNORECASE)
_FAT_OPTIONS = frozenset({"FS", "FAT_GEMS", "FATSAT", "SPIR", "SPAIR", "WE"})


@dataclass(frozen=True, slots=True)
class SequenceFinding:
    """What an MR series is.

    Attributes:
        weighting: None when nothing or contradictory things are known.
        sentence: the verdict in words, with every source.
    """

    weighting: Weighting | None
    fat_suppressed: bool
    part: Part
    sentence: str


def part_of(header: InstanceHeader) -> Part:
    """Which part of a Dixon (or complex) acquisition an image is: by Image Type, else by the description's ending."""
    kinds = {value.upper() for value in header.image_type[2:]}
    for part, names in _PARTS.items():
        # Philips writes one letter; Siemens' "M" beside "P" does not occur.
        if kinds & names or any(
            kind.startswith((f"{name}_", f"DIXON_{name}")) for kind in kinds for name in names if len(name) == 1
        ):
            return part
    if "DIXON" in " ".join((*kinds, header.series_description.upper(), header.protocol_name.upper())) or any(
        word in header.series_description.lower() for word in ("vibe", "lava", "ideal", "flex")
    ):
        for part, ending in _PART_ENDINGS:
            if ending.search(header.series_description) and not _NOT_A_PART.search(header.series_description):
                return part
    return Part.WHOLE


def sequence_of(
    header: InstanceHeader, extra_words: Callable[[str], Weighting | None] = lambda _text: None
) -> SequenceFinding:
    """Weigh what one image of an MR series says of its sequence.

    Args:
        header: any image of the series.
        extra_words: what the site's own words make of a description; they count like ours.
    """
    heard: list[tuple[Weighting, int, str]] = []
    if {value.upper() for value in header.image_type} & _OTHER_TYPES:
        heard.append((Weighting.OTHER, 2 * STRONG, f"Image Type {chr(92).join(header.image_type)}"))
    for name, text, weight in (
        ("series description", header.series_description, STRONG),
        ("protocol name", header.protocol_name, WEAK),
    ):
        said = extra_words(text) or _words(text)
        if said is not None:
            heard.append((said, weight, f"the {name} {text!r}"))
    physics = _by_times(header)
    if physics is not None:
        heard.append(physics)
    fat_suppressed, fat_source = _fat(header)
    part = part_of(header)
    weighting = _decide(heard)
    if _is_gradient_echo(header) and weighting in {Weighting.T2, Weighting.PD, Weighting.FLAIR, None}:
        claimed = any(said is Weighting.T2 for said, _, _ in heard)
        weighting = Weighting.OTHER if claimed else None
        heard.append((Weighting.OTHER, STRONG, "a gradient echo, which is never T2,"))
    what = "weighting unknown" if weighting is None else f"{weighting.upper()}"
    told = [f"{text} says {said.upper()}" for said, _, text in heard] or ["neither words nor times say more"]
    fat = f", fat suppressed ({fat_source})" if fat_suppressed else ""
    whole = "" if part is Part.WHOLE else f", {part} part"
    return SequenceFinding(weighting, fat_suppressed, part, f"MR {what}{fat}{whole} ({'; '.join(told)})")


def _decide(heard: list[tuple[Weighting, int, str]]) -> Weighting | None:
    weights: dict[Weighting, int] = {}
    for said, weight, _ in heard:
        weights[said] = weights.get(said, 0) + weight
    ranked = sorted(weights.items(), key=lambda item: -item[1])
    if (
        not ranked
        or ranked[0][1] == FAINT
        or (len(ranked) > 1 and (ranked[0][1] == ranked[1][1] or ranked[1][1] >= STRONG))
    ):
        # What rules a series out may be outvoted only upwards: an ADC map is no T2 whatever its echo time.
        return Weighting.OTHER if weights.get(Weighting.OTHER, 0) > STRONG else None
    return ranked[0][0]


def _words(text: str) -> Weighting | None:
    readable = text.replace("_", " ")
    named = [weighting for weighting, pattern in _WORDS if re.search(pattern, readable, re.IGNORECASE)]
    if Weighting.OTHER in named:
        return Weighting.OTHER
    if Weighting.FLAIR in named:
        return Weighting.T1 if Weighting.T1 in named else Weighting.FLAIR
    return named[0] if len(named) == 1 else None


def _is_gradient_echo(header: InstanceHeader) -> bool:
    """By Scanning Sequence; by the names that vendors give where that says only "research mode" or nothing."""
    kinds = {value.upper() for value in header.scanning_sequence}
    if "SE" in kinds or "EP" in kinds:
        return False
    return "GR" in kinds or _GRADIENT_NAMES.search(f"{header.sequence_name} {header.series_description}") is not None


def _by_times(header: InstanceHeader) -> tuple[Weighting, int, str] | None:
    """Weighting by the times of the sequence, in ms; near the limits it counts little."""
    echo, repetition, inversion = header.echo_time_ms, header.repetition_time_ms, header.inversion_time_ms
    kinds = {value.upper() for value in header.scanning_sequence}
    if echo is None or repetition is None or not kinds:
        return None
    text = f"TE {echo:g}, TR {repetition:g}" + (f", TI {inversion:g} ms" if inversion else " ms")
    found: tuple[Weighting, int] | None
    if "EP" in kinds:
        found = Weighting.OTHER, WEAK
    elif inversion and inversion >= SHORTEST_T1_INVERSION_MS and ("IR" in kinds or repetition >= 4000):
        found = (Weighting.FLAIR if inversion > SHORTEST_FLAIR_INVERSION_MS else Weighting.T1), STRONG
    elif _is_gradient_echo(header):
        found = (Weighting.T1, FAINT) if echo <= 10 else (Weighting.OTHER, WEAK)
    else:
        found = _of_spin_echo(echo, repetition)
    return None if found is None else (*found, text)


def _of_spin_echo(echo_ms: float, repetition_ms: float) -> tuple[Weighting, int] | None:
    if echo_ms <= 30 and repetition_ms <= 1200:
        return Weighting.T1, STRONG if repetition_ms <= 1000 else WEAK
    if echo_ms >= 60 and repetition_ms >= 1500:
        return Weighting.T2, STRONG if echo_ms >= 70 and repetition_ms >= 2000 else WEAK
    if echo_ms <= 45 and repetition_ms >= 2000:
        return Weighting.PD, WEAK
    return None


def _fat(header: InstanceHeader) -> tuple[bool, str]:
    """Whether fat is dark, and who says so."""
    words = f"{header.series_description} {header.protocol_name}".replace("_", " ")
    if _NO_FAT_WORDS.search(words):
        return False, ""
    options = {option.upper() for option in header.scan_options}
    if options & _FAT_OPTIONS:
        return True, f"Scan Options {chr(92).join(header.scan_options)}"
    if found := _FAT_WORDS.search(words):
        return True, f"{found[0].strip()!r} in the description"
    if header.inversion_time_ms and "IR" in header.scanning_sequence and 80 <= header.inversion_time_ms <= 280:
        return True, f"TI {header.inversion_time_ms:g} ms"
    if part_of(header) is Part.WATER:
        return True, "water part of a Dixon"
    return False, ""
