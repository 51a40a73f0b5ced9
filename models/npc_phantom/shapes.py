"""Implicit shapes: what the anatomy is made of, and how a list of them becomes numbers for the painter.

A shape is a short program: primitives joined from left to right by union, smooth union, difference
and intersection. Its value at a point is (about) the signed distance to its surface in mm,
negative inside. Everything lives in the canonical patient frame: mm, LPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from npc_phantom.primitives import Capsule, Ellipsoid, FloatArray, Loft, Plane, Point, Primitive

UNION, SUBTRACT, INTERSECT, SMOOTH_UNION = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Step:
    """One primitive of a shape's program and how it joins what stands before it."""

    op: int
    primitive: Primitive
    grow_mm: float = 0.0
    blend_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Primitives joined from left to right."""

    steps: tuple[Step, ...]

    def __or__(self, other: Shape) -> Shape:
        """Return the union; `other` must be a union itself."""
        return Shape(self.steps + other._as(UNION))

    def __sub__(self, other: Shape) -> Shape:
        """Return what is left of this shape outside of `other`, which must be a union."""
        return Shape(self.steps + other._as(SUBTRACT))

    def __and__(self, other: Shape) -> Shape:
        """Return the intersection with one primitive."""
        if len(other.steps) != 1:
            raise ValueError(f"a shape is intersected with one primitive at a time, got {len(other.steps)}")
        return Shape(self.steps + other._as(INTERSECT))

    def blended(self, other: Shape, blend_mm: float) -> Shape:
        """Return the union with a fillet of about `blend_mm` where the two meet."""
        added = tuple(replace(s, op=SMOOTH_UNION, blend_mm=blend_mm) for s in other._as(UNION))
        return Shape(self.steps + added)

    def grown(self, by_mm: float) -> Shape:
        """Return the shape with its surface `by_mm` further out (further in where negative)."""
        sign = {SUBTRACT: -1.0}
        steps = tuple(replace(s, grow_mm=s.grow_mm + by_mm * sign.get(s.op, 1.0)) for s in self.steps)
        return Shape(steps)

    def only_union(self) -> Shape:
        """Return what the shape adds, without what it cuts away."""
        return Shape(tuple(s for s in self.steps if s.op in {UNION, SMOOTH_UNION}))

    def mirrored(self) -> Shape:
        """Return the shape on the other side of the body."""
        return Shape(tuple(replace(s, primitive=s.primitive.mirrored()) for s in self.steps))

    def moved(self, shift_mm: Sequence[float], scale: float = 1.0) -> Shape:
        """Return the shape scaled about the centre of its bounds, then shifted by `shift_mm`."""
        lower, upper = self.bounds()
        about = (lower + upper) / 2.0
        shift = np.asarray(shift_mm, dtype=float)
        return Shape(
            tuple(
                replace(s, primitive=s.primitive.moved(shift, scale, about), grow_mm=s.grow_mm * scale)
                for s in self.steps
            )
        )

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the corners of a box around everything the shape adds."""
        boxes = [
            (low - s.grow_mm, high + s.grow_mm)
            for s in self.steps
            if s.op in {UNION, SMOOTH_UNION}
            for low, high in [s.primitive.bounds()]
        ]
        lower = np.min([b[0] for b in boxes], axis=0)
        upper = np.max([b[1] for b in boxes], axis=0)
        for s in self.steps:
            if s.op == INTERSECT:
                low, high = s.primitive.bounds()
                lower, upper = np.maximum(lower, low - s.grow_mm), np.minimum(upper, high + s.grow_mm)
        return lower, upper

    def _as(self, op: int) -> tuple[Step, ...]:
        if op != INTERSECT and any(s.op not in {UNION, SMOOTH_UNION} for s in self.steps):
            raise ValueError("only a union can be joined to a shape: join its parts one by one")
        return tuple(replace(s, op=op) for s in self.steps)


def ellipsoid(
    centre_mm: Point,
    radii_mm: Point,
    *,
    long_axis: Point | None = None,
    second_axis: Point = (0.0, 0.0, 1.0),
    power: float = 2.0,
) -> Shape:
    """Return an ellipsoid; with `long_axis` the first radius lies along it, the second near `second_axis`."""
    if long_axis is None:
        return Shape((Step(UNION, Ellipsoid(centre_mm, radii_mm, power=power)),))
    first = np.asarray(long_axis, dtype=float)
    first /= np.linalg.norm(first)
    second = np.asarray(second_axis, dtype=float) - first * float(first @ np.asarray(second_axis))
    second /= np.linalg.norm(second)
    third = np.cross(first, second)
    rows = [(float(v[0]), float(v[1]), float(v[2])) for v in (first, second, third)]
    return Shape((Step(UNION, Ellipsoid(centre_mm, radii_mm, (rows[0], rows[1], rows[2]), power)),))


def tube(points_mm: Sequence[Point], radii_mm: Sequence[float] | float) -> Shape:
    """Return capsules along a polyline."""
    radii = [radii_mm] * len(points_mm) if isinstance(radii_mm, (int, float)) else list(radii_mm)
    return Shape(
        tuple(
            Step(UNION, Capsule(a, b, ra, rb))
            for a, b, ra, rb in zip(points_mm, points_mm[1:], radii, radii[1:], strict=False)
        )
    )


def loft(sections: Sequence[Sequence[float]], *, power: float = 2.0) -> Shape:
    """Return a loft from rows (z, x, y, rx, ry) or (z, x, y, rx, ry, angle in degrees)."""
    rows = [tuple(float(v) for v in s) + (0.0,) * (6 - len(s)) for s in sections]
    return Shape((Step(UNION, Loft(tuple((r[0], r[1], r[2], r[3], r[4], r[5]) for r in rows), power)),))


def below(normal: Point, offset_mm: float) -> Shape:
    """Return the half space where `normal . q < offset_mm`."""
    return Shape((Step(UNION, Plane(normal, offset_mm)),))
