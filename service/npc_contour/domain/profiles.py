"""What a site wants of its RTSTRUCTs: names, encoding, order, and ROIs derived from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from npc_contour.domain.structures import InterpretedType

MAX_POINTS = 2000
"""Keeps Contour Data at or under 65,534 bytes: 32 bytes a point, three numbers such as -123.456 with separators."""


class Holes(StrEnum):
    """How a hole is written."""

    KEYHOLE = "keyhole"
    PARITY = "parity"


class ContourSource(StrEnum):
    """Where a contour runs between an inside and an outside voxel centre."""

    MARGINS = "margins"
    MASKS = "masks"


class Writer(StrEnum):
    """Whose code draws the contours; everything around them is ours."""

    NPC_CONTOUR = "npc-contour"
    RT_UTILS = "rt-utils"


class EmptyRois(StrEnum):
    """What becomes of an ROI that the network did not find."""

    OMIT = "omit"
    PLACEHOLDER = "placeholder"


@dataclass(frozen=True, slots=True)
class RoiOverride:
    """What a site changes of one ROI; None keeps what the pipeline says."""

    name: str | None = None
    interpreted_type: InterpretedType | None = None
    colour_rgb: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """A margin towards each of the patient's directions, in mm: all positive or 0 to grow, all negative or 0 to shrink.

    Raises:
        ValueError: some are positive and some negative.
    """

    left: float
    right: float
    anterior: float
    posterior: float
    superior: float
    inferior: float

    def __post_init__(self) -> None:
        if min(self.each) < 0 < max(self.each):
            raise ValueError(f"a margin grows or shrinks, it cannot do both: {self.each}")

    @classmethod
    def same(cls, margin_mm: float) -> Margin:
        """Return a margin that is the same in all directions."""
        return cls(**dict.fromkeys(cls.__slots__, margin_mm))

    @property
    def each(self) -> tuple[float, ...]:
        """The six, in mm: left, right, anterior, posterior, superior, inferior."""
        return self.left, self.right, self.anterior, self.posterior, self.superior, self.inferior

    @property
    def grows(self) -> bool:
        """Whether it makes an ROI larger; neither it nor its opposite is true of a margin of nothing."""
        return max(self.each) > 0

    @property
    def most_mm(self) -> float:
        """How far it reaches in any direction."""
        return max(map(abs, self.each))


NO_MARGIN = Margin.same(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedRoi:
    """An ROI made of others, or of the body.

    Attributes:
        union_of: ROI names of the pipeline, or derived ROIs named before; united first.
        of_body: the body itself, as it is found on the images, is the first of them.
        margin: then grown by this (shrunk where negative).
        minus: then without these ROIs.
        inside_body_mm: then cut this far inside the skin, found on the CT; None cuts nothing.
    """

    name: str
    interpreted_type: InterpretedType
    colour_rgb: tuple[int, int, int]
    union_of: tuple[str, ...] = ()
    of_body: bool = False
    margin: Margin = NO_MARGIN
    minus: tuple[str, ...] = ()
    inside_body_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How RTSTRUCTs are written for one planning system or site; read from `profiles/*.toml`.

    Attributes:
        max_name_length: of ROI names, in characters.
        writer: whose code draws the contours.
        contour_source: where the network itself changes its mind between two voxels (`margins`), nearer to the true
            outline than any mask allows; or just inside the mid-point (`masks`), which every kind of reader turns back
            into the same voxels.
        holes: keyhole reads alike in every reader; parity only in those that combine contours by exclusive or.
        empty_rois: an ROI without contours is left out or kept without any; the report lists it either way.
        max_points: contours with more vertices are thinned, as little as is needed.
        thin_mm: bound for leaving out vertices; 0 leaves out only collinear ones.
        explicit_vr: Explicit VR Little Endian, for systems that read files with nothing else.
        label: Structure Set Label; `{label}` is the pipeline's.
        doubtful_label: the same where a finding is a check or a stop; `{severity}` is the worst.
        series_description: Series Description; `{label}` and `{title}` are the pipeline's.
        rois: which ROIs and in what order, by the pipelines' names or those of derived ROIs; all of a
            pipeline none of whose ROIs is named.
        overrides: by the pipeline's ROI name.
    """

    name: str
    title: str
    max_name_length: int = 16
    writer: Writer = Writer.NPC_CONTOUR
    contour_source: ContourSource = ContourSource.MARGINS
    holes: Holes = Holes.KEYHOLE
    empty_rois: EmptyRois = EmptyRois.OMIT
    max_points: int = MAX_POINTS
    thin_mm: float = 0.0
    explicit_vr: bool = False
    label: str = "{label}"
    doubtful_label: str = ""
    series_description: str = "Auto-contours {label}"
    rois: tuple[str, ...] = ()
    overrides: Mapping[str, RoiOverride] = field(default_factory=dict)
    derived: tuple[DerivedRoi, ...] = ()


GENERIC = Profile(name="generic", title="Any planning system")
"""What is written where a site names no profile."""
