"""What the service doubts about its own contours, structure by structure, and what is usual of each structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from npc_contour.domain.geometry import Vec3


class Severity(StrEnum):
    """How much a finding matters, least first."""

    NOTE = "note"
    CHECK = "check"
    STOP = "stop"

    def at_least(self, other: Severity) -> bool:
        """Whether it matters as much as another, or more."""
        return self.rank >= other.rank

    @property
    def rank(self) -> int:
        """Its place in the order, least first."""
        return list(Severity).index(self)


class HoldFrom(StrEnum):
    """From which severity on a case is held until a person releases it."""

    STOP = "stop"
    CHECK = "check"
    NEVER = "never"

    def holds(self, severity: Severity) -> bool:
        """Whether a finding of this severity holds a case."""
        return self is not HoldFrom.NEVER and severity.at_least(Severity(self.value))


class FindingCode(StrEnum):
    """What a finding is about: constant, for REST and monitoring."""

    PIECE_LEFT_OUT = "piece_left_out"
    PIECE_APART = "piece_apart"
    VOLUME = "volume"
    PAIR_VOLUME = "pair_volume"
    CUT_OFF = "cut_off"
    SLICES_MISSING = "slices_missing"
    DENSITY = "density"
    NOISE = "noise"
    PLACE = "place"
    SIDE = "side"
    ANATOMY = "anatomy"
    SCALE = "scale"
    TILT = "tilt"
    UNCERTAIN = "uncertain"
    DISAGREEMENT = "disagreement"
    HU_SCALE = "hu_scale"
    KERNEL = "kernel"
    PADDING = "padding"
    METAL = "metal"
    ORIENTATION = "orientation"
    COVERAGE = "coverage"
    FIELD_OF_VIEW = "field_of_view"
    ARMS = "arms"
    CONTRAST = "contrast"
    PHASES_APART = "phases_apart"


@dataclass(frozen=True, slots=True)
class StructureRule:
    """What is usual of one structure; None and "" ask nothing.

    Attributes:
        volume_cc: least and most.
        hu: least and most of the mean Hounsfield units inside, without contrast agent or with it.
        noise_hu: most of the standard deviation inside, of what is even.
        place_lps_mm: its centre in the common frame of all rules, on an adult who lies straight.
        spread_mm: how far the centre strays from there, the patient's size, place and tilt aside (standard deviation).
        near_mm: pieces further than this from the largest are no part of it.
        whole: it ends within a head and neck scan: on the first or last slice it is cut off.
    """

    volume_cc: tuple[float, float] | None = None
    hu: tuple[float, float] | None = None
    noise_hu: float | None = None
    place_lps_mm: Vec3 | None = None
    spread_mm: float = 0.0
    near_mm: float | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ImageRule:
    """What is usual of one measure of the images.

    Attributes:
        usual: outside it a person is asked to look.
        possible: outside it the images are surely wrong; None never says so.
        source: where the bounds come from.
    """

    usual: tuple[float, float]
    possible: tuple[float, float] | None
    source: str

    def severity(self, value: float) -> Severity | None:
        """Return how much a value matters; None where it is usual."""
        if self.possible is not None and not self.possible[0] <= value <= self.possible[1]:
            return Severity.STOP
        return None if self.usual[0] <= value <= self.usual[1] else Severity.CHECK


ImageRules = Mapping[str, ImageRule]
"""By the name of the measure; empty asks nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubt.

    Attributes:
        structure: name of the ROI; "" for the case as a whole.
        sentence: what was found, with numbers, and what is usual.
        z_mm: where to look, patient z of a slice; None where it is no one slice.
        numbers: what the sentence is made of, by name.
    """

    code: FindingCode
    severity: Severity
    structure: str
    sentence: str
    z_mm: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The sentence as it is told beside others, its severity first."""
        return f"{self.severity.upper()}: {self.sentence}"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what `as_json` gave."""
        return cls(
            code=FindingCode(value["code"]),
            severity=Severity(value["severity"]),
            structure=value["structure"],
            sentence=value["sentence"],
            z_mm=value["z_mm"],
            numbers=value["numbers"],
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "code": self.code.value,
            "severity": self.severity.value,
            "structure": self.structure,
            "sentence": self.sentence,
            "z_mm": None if self.z_mm is None else round(self.z_mm, 1),
            "numbers": {name: round(value, 3) for name, value in self.numbers.items()},
        }


def worst(severities: Iterable[Severity | None]) -> Severity | None:
    """Return what matters most; None where nothing does."""
    return max((one for one in severities if one is not None), key=lambda one: one.rank, default=None)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings as they are shown."""
    return tuple(sorted(findings, key=lambda one: -one.severity.rank))
