"""Implicit shapes: what the anatomy is made of, and how a list of them becomes numbers for the painter.

A shape is a short program: primitives joined from left to right by union, smooth union, difference
and intersection. Its value at a point is (about) the signed distance to its surface in mm,
negative inside. Everything lives in the canonical patient frame: mm, LPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float, float]

ELLIPSOID, CAPSULE, LOFT, PLANE = 0, 1, 2, 3
UNION, SUBTRACT, INTERSECT, SMOOTH_UNION = 0, 1, 2, 3
LOFT_STEP_MM = 1.0
FAR_MM = 1.0e4


class Primitive(Protocol):
    """What every primitive can do."""

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the lower and upper corner (3,) of a box around the primitive, mm."""
        ...

    def mirrored(self) -> Primitive:
        """Return the primitive on the other side of the body."""
        ...

    def moved(self, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Primitive:
        """Return the primitive scaled about a point, then shifted."""
        ...

    def pack(self) -> tuple[int, list[float]]:
        """Return the kind and the parameters in the order in which the painter reads them."""
        ...


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A superellipsoid: `sum(|axis_i . (q - centre)| / radius_i) ** power = 1`.

    Attributes:
        centre_mm: centre.
        radii_mm: half extents along the three axes.
        axes: rows are orthonormal axes.
        power: 2 is an ellipsoid, 4 nearly a box.
    """

    centre_mm: Point
    radii_mm: Point
    axes: tuple[Point, Point, Point] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    power: float = 2.0

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return a box around the ellipsoid."""
        centre = np.asarray(self.centre_mm)
        half = np.abs(np.asarray(self.axes).T) @ np.asarray(self.radii_mm)
        return centre - half, centre + half

    def mirrored(self) -> Ellipsoid:
        """Return the ellipsoid with x negated."""
        axes = tuple((-a[0], a[1], a[2]) for a in self.axes)
        centre = (-self.centre_mm[0], self.centre_mm[1], self.centre_mm[2])
        return replace(self, centre_mm=centre, axes=(axes[0], axes[1], axes[2]))

    def moved(self, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Ellipsoid:
        """Return the ellipsoid scaled about a point, then shifted."""
        radii = self.radii_mm
        return replace(
            self,
            centre_mm=_move(self.centre_mm, shift_mm, scale, about_mm),
            radii_mm=(radii[0] * scale, radii[1] * scale, radii[2] * scale),
        )

    def pack(self) -> tuple[int, list[float]]:
        """Return centre, axes, inverse radii, power."""
        axes = [c for axis in self.axes for c in axis]
        return ELLIPSOID, [*self.centre_mm, *axes, *(1.0 / r for r in self.radii_mm), self.power]


@dataclass(frozen=True, slots=True)
class Capsule:
    """A rod with round ends whose radius runs linearly from one end to the other."""

    start_mm: Point
    end_mm: Point
    start_radius_mm: float
    end_radius_mm: float

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return a box around the capsule."""
        ends = np.array([self.start_mm, self.end_mm])
        radii = np.array([[self.start_radius_mm], [self.end_radius_mm]])
        return (ends - radii).min(axis=0), (ends + radii).max(axis=0)

    def mirrored(self) -> Capsule:
        """Return the capsule with x negated."""
        a, b = self.start_mm, self.end_mm
        return replace(self, start_mm=(-a[0], a[1], a[2]), end_mm=(-b[0], b[1], b[2]))

    def moved(self, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Capsule:
        """Return the capsule scaled about a point, then shifted."""
        return Capsule(
            _move(self.start_mm, shift_mm, scale, about_mm),
            _move(self.end_mm, shift_mm, scale, about_mm),
            self.start_radius_mm * scale,
            self.end_radius_mm * scale,
        )

    def pack(self) -> tuple[int, list[float]]:
        """Return both ends and both radii."""
        return CAPSULE, [*self.start_mm, *self.end_mm, self.start_radius_mm, self.end_radius_mm]


@dataclass(frozen=True, slots=True)
class Loft:
    """Superellipses in planes of constant z, interpolated between the sections given.

    Attributes:
        sections: rows of (z, centre x, centre y, radius x, radius y, angle in degrees), any order of z.
        power: 2 for ellipses, 4 for nearly rectangles.
    """

    sections: tuple[tuple[float, float, float, float, float, float], ...]
    power: float = 2.0

    def table(self) -> FloatArray:
        """Return the sections (n, 6) with z ascending."""
        table = np.asarray(self.sections, dtype=float)
        return table[np.argsort(table[:, 0])]

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return a box around the loft."""
        table = self.table()
        reach = np.maximum(table[:, 3], table[:, 4]) * np.where(np.abs(table[:, 5]) > 0, 1.2, 1.0)
        rx = np.where(np.abs(table[:, 5]) > 0, reach, table[:, 3])
        ry = np.where(np.abs(table[:, 5]) > 0, reach, table[:, 4])
        lower = [(table[:, 1] - rx).min(), (table[:, 2] - ry).min(), table[0, 0]]
        upper = [(table[:, 1] + rx).max(), (table[:, 2] + ry).max(), table[-1, 0]]
        return np.array(lower), np.array(upper)

    def mirrored(self) -> Loft:
        """Return the loft with x negated."""
        return replace(self, sections=tuple((s[0], -s[1], s[2], s[3], s[4], -s[5]) for s in self.sections))

    def moved(self, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Loft:
        """Return the loft scaled about a point, then shifted."""
        rows = []
        for z, x, y, rx, ry, angle in self.sections:
            nx, ny, nz = _move((x, y, z), shift_mm, scale, about_mm)
            rows.append((nz, nx, ny, rx * scale, ry * scale, angle))
        return replace(self, sections=tuple(rows))

    def pack(self) -> tuple[int, list[float]]:
        """Return first z, step, count, power, and per step (x, y, 1/rx, 1/ry, cos, sin, lean).

        `lean` turns a distance within the plane into about that to the sloping surface.
        """
        table = self.table()
        count = max(2, int(np.ceil((table[-1, 0] - table[0, 0]) / LOFT_STEP_MM)) + 1)
        z = np.linspace(table[0, 0], table[-1, 0], count)
        x, y, rx, ry, angle = (np.interp(z, table[:, 0], table[:, k]) for k in range(1, 6))
        radians = np.deg2rad(angle)
        slopes = [np.gradient(v, z) for v in (rx, ry, x, y)]
        lean = 1.0 / np.sqrt(1.0 + 0.5 * sum(s * s for s in slopes))
        rows = np.stack([x, y, 1.0 / rx, 1.0 / ry, np.cos(radians), np.sin(radians), lean], axis=1)
        head = [float(z[0]), float(z[1] - z[0]), float(count), self.power]
        return LOFT, [*head, *rows.ravel().tolist()]


@dataclass(frozen=True, slots=True)
class Plane:
    """The half space where `normal . q < offset`."""

    normal: Point
    offset_mm: float

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return a box that holds every patient."""
        return np.full(3, -FAR_MM), np.full(3, FAR_MM)

    def mirrored(self) -> Plane:
        """Return the half space with x negated."""
        return replace(self, normal=(-self.normal[0], self.normal[1], self.normal[2]))

    def moved(self, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Plane:
        """Return the half space scaled about a point, then shifted."""
        normal = np.asarray(self.normal)
        about = float(normal @ about_mm)
        return replace(self, offset_mm=about + scale * (self.offset_mm - about) + float(normal @ np.asarray(shift_mm)))

    def pack(self) -> tuple[int, list[float]]:
        """Return normal and offset."""
        return PLANE, [*self.normal, self.offset_mm]


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


def _move(point: Point, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Point:
    x, y, z = (float(v) for v in about_mm + scale * (np.asarray(point) - about_mm) + shift_mm)
    return (x, y, z)


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
