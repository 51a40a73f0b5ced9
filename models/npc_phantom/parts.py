"""A part: a shape with a colour in both phases and the label it writes; and the list that grows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from npc_phantom.shapes import Shape

OAR, GTV, LN, HAN = 0, 1, 2, 3
"""The label maps, in the order in which the painter holds them; HAN holds what HaN5K's list adds to OAR."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a tissue looks on CT.

    Attributes:
        hu: mean without contrast agent.
        enhancement_hu: what the contrast agent adds.
        texture_hu: standard deviation of its own texture.
        texture_mm: size of the texture's grain.
        opacity: 1 replaces what lies below, less mixes with it.
        soft_mm: how gradually it ends, beyond the scanner's own blur.
    """

    hu: float
    enhancement_hu: float = 0.0
    texture_hu: float = 0.0
    texture_mm: float = 3.0
    opacity: float = 1.0
    soft_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to paint.

    Attributes:
        name: for people.
        shape: where, canonical mm.
        look: how it looks; None paints only a label.
        channel: label map it writes (OAR, GTV, LN, HAN), None when it only looks.
        label: label written.
        over: label written instead where one of these stood: overlapping organs share a label.
        keeps: labels that it does not overwrite.
    """

    name: str
    shape: Shape
    look: Look | None = None
    channel: int | None = None
    label: int = 0
    over: Mapping[int, int] = field(default_factory=dict)
    keeps: tuple[int, ...] = ()


@dataclass(slots=True)
class Sketch:
    """Parts in painting order, with the randomness that makes one patient differ from the next."""

    rng: np.random.Generator
    parts: list[Part] = field(default_factory=list)

    def vary(self, shape: Shape, *, shift_mm: float = 1.0, size: float = 0.04) -> Shape:
        """Return the shape shifted and scaled a little, as one patient's differs from another's."""
        shift = np.clip(self.rng.normal(0.0, shift_mm, 3), -2.0 * shift_mm, 2.0 * shift_mm)
        scale = 1.0 + float(np.clip(self.rng.normal(0.0, size), -2.0 * size, 2.0 * size))
        return shape.moved([float(v) for v in shift], scale)

    def sides(self, left: Shape, *, shift_mm: float = 1.0, size: float = 0.04) -> tuple[Shape, Shape]:
        """Return the left shape and its mirror image, each varied on its own."""
        return (
            self.vary(left, shift_mm=shift_mm, size=size),
            self.vary(left.mirrored(), shift_mm=shift_mm, size=size),
        )

    def look(self, name: str, shape: Shape, look: Look) -> None:
        """Add a part that only looks."""
        self.parts.append(Part(name, shape, look))

    def looks(self, name: str, shapes: tuple[Shape, Shape], look: Look) -> None:
        """Add a part on both sides that only looks."""
        for side, shape in zip("LR", shapes, strict=True):
            self.look(f"{name}_{side}", shape, look)

    def organ(
        self,
        name: str,
        shape: Shape,
        look: Look | None,
        label: int,
        *,
        over: Mapping[int, int] | None = None,
        keeps: tuple[int, ...] = (),
        channel: int = OAR,
    ) -> None:
        """Add a part that writes a label."""
        self.parts.append(Part(name, shape, look, channel, label, over or {}, keeps))

    def organs(
        self,
        name: str,
        shapes: tuple[Shape, Shape],
        look: Look | None,
        labels: tuple[int, int],
        *,
        overs: tuple[Mapping[int, int], Mapping[int, int]] = ({}, {}),
        channel: int = OAR,
    ) -> None:
        """Add an organ on both sides, left first."""
        for side, shape, label, over in zip("LR", shapes, labels, overs, strict=True):
            self.organ(f"{name}_{side}", shape, look, label, over=over, channel=channel)
