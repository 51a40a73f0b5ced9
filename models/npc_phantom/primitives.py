"""The primitives of implicit shapes: superellipsoid, capsule, loft, half space; mm, canonical frame, LPS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float, float]

ELLIPSOID, CAPSULE, LOFT, PLANE = 0, 1, 2, 3
"""Kinds, as `kernels` knows them."""

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


def _move(point: Point, shift_mm: FloatArray, scale: float, about_mm: FloatArray) -> Point:
    x, y, z = (float(v) for v in about_mm + scale * (np.asarray(point) - about_mm) + shift_mm)
    return (x, y, z)
