"""Bodies of known size on any grid: what a caliper would say of them is found from their own outline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from skimage.measure import find_contours

from npc_contour.domain.geometry import Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec

FloatArray = npt.NDArray[np.float64]
Depth = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""Positive inside, by x, y and z in mm from the middle, where the axial section is the widest."""
SPEC = RoiSpec("GTVn", InterpretedType.GTV, "n", frozenset({1}), (255, 0, 0))
REACH_MM = 22.0
FINE_MM = 0.2
OUTLINE_STEP = 8


@dataclass(frozen=True)
class Body:
    """One body: all of it, one of its `nodes` without what is too thin to be measured, and how many they are."""

    name: str
    depth: Depth
    node: Depth
    nodes: int = 1
    spec: RoiSpec = SPEC

    def on_grid(
        self, spacing_zyx_mm: tuple[float, float, float], *, turn_rad: float, shift: FloatArray
    ) -> tuple[npt.NDArray[np.bool_], Grid]:
        """The mask of the body, turned in plane and shifted by a part of a voxel, and its grid."""
        counts = [int(REACH_MM / step) + 2 for step in spacing_zyx_mm]
        z, y, x = np.meshgrid(
            *(
                (np.arange(-n, n + 1) + part) * step
                for n, part, step in zip(counts, shift, spacing_zyx_mm, strict=True)
            ),
            indexing="ij",
        )
        turned_x = x * math.cos(turn_rad) + y * math.sin(turn_rad)
        turned_y = y * math.cos(turn_rad) - x * math.sin(turn_rad)
        mask = np.asarray(self.depth(turned_x, turned_y, z) > 0)
        axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
        return mask, Grid(mask.shape, spacing_zyx_mm, (0.0, 0.0, 0.0), axes, "1.2.3")

    @cached_property
    def volume_mm3(self) -> float:
        """Of the whole body, by counting the points of a fine grid."""
        line = np.arange(-REACH_MM, REACH_MM, 0.25) + 0.125
        slabs = (self.depth(line[None, :], line[:, None], np.full((1, 1), height)) > 0 for height in line)
        return float(sum(int(slab.sum()) for slab in slabs)) * 0.25**3

    @cached_property
    def axes_mm(self) -> tuple[float, float]:
        """Long and short axis of a node in its middle slice: the longest line inside, and across it."""
        line = np.arange(-REACH_MM, REACH_MM + FINE_MM, FINE_MM)
        section = self.node(line[None, :], line[:, None], np.zeros((1, 1)))
        outlines = [one[::OUTLINE_STEP] * FINE_MM - REACH_MM for one in find_contours(section, 0.0)]
        rows_columns = np.concatenate(outlines)
        points = rows_columns[:, ::-1]
        first, second = np.triu_indices(len(points), 1)
        order = np.argsort(-np.linalg.norm(points[first] - points[second], axis=1))
        along = next(
            (points[first[pair]], points[second[pair]])
            for pair in order
            if self._is_inside(points[first[pair]], points[second[pair]])
        )
        return float(np.linalg.norm(along[1] - along[0])), self._across_mm(*along)

    @property
    def long_mm(self) -> float:
        """The long axis."""
        return self.axes_mm[0]

    @property
    def short_mm(self) -> float:
        """The short axis."""
        return self.axes_mm[1]

    def _is_inside(self, one: FloatArray, other: FloatArray) -> bool:
        points = one + np.linspace(0.01, 0.99, 80)[:, None] * (other - one)
        return bool((self.node(points[:, 0], points[:, 1], np.zeros(80)) > -1e-2).all())

    def _across_mm(self, one: FloatArray, other: FloatArray) -> float:
        length = float(np.linalg.norm(other - one))
        along = (other - one) / length
        reach = np.arange(0.0, 2 * REACH_MM, 0.05)
        best = 0.0
        for foot in one + np.arange(0.2, length, 0.2)[:, None] * along:
            both = 0.0
            for side in (1.0, -1.0):
                points = foot + side * reach[:, None] * np.array([-along[1], along[0]])
                depth = self.node(points[:, 0], points[:, 1], np.zeros(len(points)))
                first_out = int(np.argmax(depth <= 0))
                inside, outside = depth[first_out - 1], depth[first_out]
                both += float(reach[first_out] - 0.05 * outside / (outside - inside))
            best = max(best, both)
        return best


def ball(radius_mm: float, x_mm: float = 0.0) -> Depth:
    """A ball whose middle lies on the x axis."""
    return lambda x, y, z: radius_mm - np.sqrt((x - x_mm) ** 2 + y**2 + z**2)


def ellipsoid(*radii_mm: float) -> Depth:
    """An ellipsoid along the axes; its depth is a share of it."""
    rx, ry, rz = radii_mm
    return lambda x, y, z: 1.0 - np.sqrt((x / rx) ** 2 + (y / ry) ** 2 + (z / rz) ** 2)


def rod(radius_mm: float, from_mm: float, to_mm: float) -> Depth:
    """A rod with round ends along the x axis."""
    return lambda x, y, z: radius_mm - np.sqrt((x - np.clip(x, from_mm, to_mm)) ** 2 + y**2 + z**2)


def arc(around_mm: float, radius_mm: float, half_rad: float) -> Depth:
    """A tube with round ends along an arc of a circle in the axial plane."""

    def depth(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        angle = np.clip(np.arctan2(y + around_mm, x) - math.pi / 2, -half_rad, half_rad) + math.pi / 2
        near_x, near_y = around_mm * np.cos(angle), around_mm * np.sin(angle) - around_mm
        return radius_mm - np.sqrt((x - near_x) ** 2 + (y - near_y) ** 2 + z**2)

    return depth


def ring(around_mm: float, radius_mm: float) -> Depth:
    """A ring in the axial plane."""
    return lambda x, y, z: radius_mm - np.sqrt((np.sqrt(x**2 + y**2) - around_mm) ** 2 + z**2)


def union(*parts: Depth) -> Depth:
    """All of several bodies."""
    return lambda x, y, z: np.maximum.reduce([part(x, y, z) for part in parts])


BODIES = (
    Body("ball", ball(10.0), ball(10.0)),
    Body("small ball", ball(6.0), ball(6.0)),
    Body("ellipsoid", ellipsoid(12.0, 7.5, 9.0), ellipsoid(12.0, 7.5, 9.0)),
    Body("banana", arc(15.0, 4.5, 0.9), arc(15.0, 4.5, 0.9)),
    Body("dumbbell", union(ball(7.0, -9.0), ball(7.0, 9.0), rod(0.9, -9.0, 9.0)), ball(7.0), nodes=2),
    Body("ball with a spur", union(ball(8.0), rod(0.9, 0.0, 18.0)), ball(8.0)),
    Body("plate", ellipsoid(16.0, 4.5, 14.0), ellipsoid(16.0, 4.5, 14.0)),
    Body("ring", ring(12.0, 4.0), ring(12.0, 4.0)),
)
