"""Class maps being put together from windows, a few planes at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from npc_contour.core.argmax import LARGEST, AxisLookup, interpolated_argmax, largest_class
from npc_contour.core.class_doubts import sum_doubts
from npc_contour.core.crossings import label_crossings
from npc_contour.core.tiling import AxisTiles, blend_rows
from npc_contour.domain.geometry import Vec3

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Windows over the padded network grid, and how the network grid maps to the box of the planning grid.

    Attributes:
        tiles: along z, y and x of the padded network grid.
        offset_zyx: where the network grid begins in the padded one.
        lookups: per axis, from the box of the planning grid to the network grid.
    """

    tiles: tuple[AxisTiles, AxisTiles, AxisTiles]
    offset_zyx: tuple[int, int, int]
    lookups: tuple[AxisLookup, AxisLookup, AxisLookup]

    @property
    def windows(self) -> int:
        """Windows in all."""
        return len(self.tiles[0].starts) * len(self.tiles[1].starts) * len(self.tiles[2].starts)


class Slab:
    """The planes of class maps that are still being added to; memory does not grow with the number of slices."""

    def __init__(
        self, layout: Layout, classes: int, pool: ThreadPoolExecutor, workers: int, threshold: float | None = None
    ) -> None:
        """Make room for `classes` maps; with a threshold they are regions, else they compete."""
        tiles_z, tiles_y, tiles_x = layout.tiles
        # One plane more than a window: the last finished plane is the lower neighbour of the next.
        planes = min(tiles_z.patch + 1, tiles_z.size)
        self._layout = layout
        self._threshold = LARGEST if threshold is None else np.float32(threshold)
        self._sums = np.empty((planes, tiles_y.size, tiles_x.size, classes), dtype=np.float32)
        self._largest = np.empty(self._sums.shape[:3], dtype=np.uint8)
        self._workers = workers
        self._pool = pool
        self._entered = 0
        self._finished = 0
        self._labelled = 0

    def enter(self, until: int) -> None:
        """Clear the planes below `until` that have not been used yet."""
        for plane in range(self._entered, until):
            self._sums[plane % self._sums.shape[0]] = 0.0
        self._entered = max(self._entered, until)

    def add(self, logits: Float32Array, window: tuple[int, int, int]) -> None:
        """Add the weighted logits (z, y, x, class) of one window, named by its number along each axis."""
        z, y, x = self._layout.tiles
        corner = z.starts[window[0]], y.starts[window[1]], x.starts[window[2]]
        weights = z.weights[window[0]], y.weights[window[1]], x.weights[window[2]]
        self._spread(
            lambda first, last: blend_rows(self._sums, logits, corner, weights, first, last), 0, logits.shape[0]
        )

    def finish(self, until: int, labels: UInt8Array, crossings: tuple[UInt8Array, UInt8Array] | None = None) -> None:
        """Label the slices that lie between planes below `until`, to which nothing more is added.

        Args:
            until: the first plane that is not finished.
            labels: (z, y, x) uint8 of the box of the planning grid.
            crossings: like `labels`: edges to the next row and to the next column; None when nobody wants them.

        Raises:
            ArithmeticError: the network answered with something that is not a number.
        """
        broken = self._spread(
            lambda first, last: largest_class(self._sums, self._largest, first, last, self._threshold),
            self._finished,
            until,
        )
        if sum(broken):
            raise ArithmeticError(f"the network's answer is not a number at {sum(broken)} voxels")
        self._finished = until
        offset = self._layout.offset_zyx
        z, y, x = self._layout.lookups
        lookups = z.fields, y.fields, x.fields
        needed = np.minimum(z.lower + 1, z.coarse - 1) + offset[0]
        ready = int(np.searchsorted(needed, until))
        self._spread(
            lambda first, last: interpolated_argmax(
                self._sums, self._largest, offset, lookups, labels, first, last, self._threshold
            ),
            self._labelled,
            ready,
        )
        if crossings is not None:
            wanted = crossings
            self._spread(
                lambda first, last: label_crossings(self._sums, offset, lookups, labels, wanted, first, last),
                self._labelled,
                ready,
            )
        self._labelled = ready

    def doubt(self, first: int, spacing_zyx_mm: Vec3) -> Float64Array:
        """Return what the finished planes from `first` on say of each label, as `core.class_doubts` sums it.

        Args:
            first: plane up to which that was asked before; it is asked after each `finish`.
            spacing_zyx_mm: of the network's grid.
        """
        z, y, x = (
            (start, start + lookup.coarse)
            for start, lookup in zip(self._layout.offset_zyx, self._layout.lookups, strict=True)
        )
        parts = self._spread(
            lambda start, stop: sum_doubts(self._sums, self._largest, (z, y, x), spacing_zyx_mm, start, stop),
            first,
            self._finished,
        )
        total: npt.NDArray[np.float64] = np.sum(parts, axis=0)
        return total

    def _spread(self, work: Callable[[int, int], Result], first: int, last: int) -> list[Result]:
        """Do the work on equal stretches in parallel; the kernels release the interpreter lock."""
        cuts = [first + (last - first) * part // self._workers for part in range(self._workers + 1)]
        return list(self._pool.map(work, cuts[:-1], cuts[1:]))
