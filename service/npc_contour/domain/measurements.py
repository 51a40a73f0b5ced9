"""What is measured of a case's ROIs beside its contours: nodes one by one, or the shape of a tumour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from npc_contour.domain.geometry import Vec3

ENLARGED_MM = 10.0
"""Short axis from which on a lymph node counts as enlarged (RECIST 1.1 calls smaller ones normal)."""


class MeasurementKind(StrEnum):
    """What a pipeline measures."""

    NODES = "nodes"
    SHAPE = "shape"


@dataclass(frozen=True, slots=True)
class MeasurementRule:
    """What a pipeline asks to be measured.

    Attributes:
        roi: name in the pipeline's ROI table.
        ignore_below_mm: nodes whose short axis is smaller are counted and not listed.
    """

    kind: MeasurementKind
    roi: str
    ignore_below_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight line across a node, in its slice.

    Attributes:
        length_mm: from end to end.
        ends_lps_mm: both ends.
    """

    length_mm: float
    ends_lps_mm: tuple[Vec3, Vec3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One lymph node: a connected part of an ROI.

    Attributes:
        number: from 1 on, from the head to the feet.
        volume_cc: of its voxels.
        long_axis: the longest line across it within a slice.
        short_axis: its largest width at right angles to that line, in the same slice.
        centre_lps_mm: mean of its voxels.
        slice_index: of the planning volume, where both axes lie.
    """

    number: int
    volume_cc: float
    long_axis: Axis
    short_axis: Axis
    centre_lps_mm: Vec3
    slice_index: int

    @property
    def enlarged(self) -> bool:
        """Whether its short axis is `ENLARGED_MM` or more."""
        return self.short_axis.length_mm >= ENLARGED_MM


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an ROI, from the mesh around it.

    Attributes:
        diameter_mm: the largest distance between two points of the mesh of the largest piece.
        regularity: volume over that of the ball with the same surface: 1 for a ball, less for all else; of that piece.
        pieces: how many there are.
    """

    volume_cc: float
    surface_cm2: float
    diameter_mm: float
    regularity: float
    pieces: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What was measured of one ROI.

    Attributes:
        nodes: with the rule "nodes"; empty where none is large enough.
        ignored_nodes: how many were below the rule's size.
        shape: with the rule "shape"; None where the ROI is empty.
    """

    rule: MeasurementRule
    nodes: tuple[Node, ...] = ()
    ignored_nodes: int = 0
    shape: Shape | None = None
