"""The pieces of a mask, found from its runs of voxels along x: a mask is mostly empty, its runs are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from npc_contour.domain.geometry import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """What touches by a face, an edge or a corner (26 neighbours) is one piece.

    Attributes:
        first_zyx: (n, 3) the first voxel of each run.
        length: (n,) voxels of each run.
        number: (n,) to which piece each run belongs, from 0 on.
        sizes: (pieces,) voxels of each.
    """

    first_zyx: IntArray
    length: IntArray
    number: IntArray
    sizes: IntArray

    @property
    def largest(self) -> int:
        """The number of the largest piece."""
        return int(self.sizes.argmax())

    def centre_zyx(self, number: int) -> FloatArray:
        """Return the centre of a piece, (3,) index."""
        ours = self.number == number
        length = self.length[ours]
        middles = self.first_zyx[ours].astype(np.float64)
        middles[:, 2] += (length - 1) / 2.0
        centre: FloatArray = length @ middles / length.sum()
        return centre

    def box(self, numbers: npt.ArrayLike) -> tuple[BoolArray, tuple[int, int, int]]:
        """Return some pieces as a mask cropped to them, and the index of its first voxel."""
        ours = np.isin(self.number, numbers)
        first, length = self.first_zyx[ours], self.length[ours]
        low, high = first.min(axis=0), first.max(axis=0) + 1
        high[2] = (first[:, 2] + length).max()
        z, y, x = (high - low).tolist()
        start = np.ravel_multi_index(tuple((first - low).T), (z, y, x))
        inside = np.zeros(z * y * x, dtype=np.bool_)
        inside[_counted(start, length)] = True
        return inside.reshape(z, y, x), (int(low[0]), int(low[1]), int(low[2]))


def components_of(mask: BoolArray) -> Components:
    """Return the pieces of a (z, y, x) mask that is not empty."""
    slices, rows, columns = mask.shape
    # An empty row and column at the end of each: a run never goes over into the next row, nor touches it.
    padded = np.zeros((slices, rows + 1, columns + 1), dtype=np.int8)
    padded[:, :rows, :columns] = mask
    flat = padded.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        edges = np.concatenate(([0], edges))
    starts, ends = edges[0::2], edges[1::2]
    row = columns + 1
    plane = (rows + 1) * row
    pairs = [_touching(starts, ends, step) for step in (row, plane - row, plane, plane + row)]
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    graph = coo_array((np.ones(one.size, dtype=np.int8), (one, other)), shape=(starts.size, starts.size))
    number = connected_components(graph, directed=False)[1].astype(np.int64)
    length = ends - starts
    first = np.stack([starts // plane, starts % plane // row, starts % row], axis=1)
    return Components(first, length, number, np.bincount(number, weights=length).astype(np.int64))


def _touching(starts: IntArray, ends: IntArray, step: int) -> tuple[IntArray, IntArray]:
    """Pairs of runs of which the second touches the first one moved by a step."""
    low = np.searchsorted(ends, starts + step - 1, side="right")
    count = np.maximum(np.searchsorted(starts, ends + step + 1, side="left") - low, 0)
    return np.repeat(np.arange(starts.size), count), _counted(low, count)


def _counted(start: IntArray, count: IntArray) -> IntArray:
    """Count on from each start, so far: starts 5, 9 and counts 2, 3 give 5, 6, 9, 10, 11."""
    before = np.cumsum(count) - count
    counted: IntArray = np.repeat(start - before, count) + np.arange(int(count.sum()))
    return counted
