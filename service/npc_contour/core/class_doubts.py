"""What a network's class maps say of its own answer, label by label: three sums, taken while the maps are at hand.

Of the probability of every class (softmax) at the voxels of the network's grid is summed what a label may hold that is
not its own, and what it may lack. Beside the area of the label's surface this says how far off the outline may be
(`core.uncertainty`); no probability leaves the server.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]

COLUMNS = 3
"""Of each label: probability inside that is other labels', probability outside that is its own, both integrated over
space (mm³); area of its surface along voxel faces (mm²)."""
WRONG, MISSING, AREA = range(COLUMNS)
FAINT = np.float32(6.0)
"""Classes so far below the largest logit have less than 0.3 % and are passed over."""
EVERY = 4
"""Away from surfaces one voxel in so many is looked at, and counts for them all."""


@compiled
def sum_doubts(
    slab: Float32Array,
    labels: UInt8Array,
    inner: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    spacing_zyx_mm: tuple[float, float, float],
    first: int,
    last: int,
) -> Float64Array:
    """Return the sums over some planes; calls on disjoint planes may run in parallel.

    Args:
        slab: (planes, y, x, classes) float32 logits; plane z of the grid is row z modulo planes. The plane below
            `first` is still there.
        labels: (planes, y, x) uint8, the largest class, rows as in `slab`.
        inner: first voxel of the network's grid in the padded one and the one after the last, along z, y and x.
        spacing_zyx_mm: of the grid.
        first: first plane.
        last: the plane after the last.

    Returns:
        (classes, COLUMNS) float64.
    """
    (z0, z1), (y0, y1), (x0, x1) = inner
    dz, dy, dx = spacing_zyx_mm
    sums = np.zeros((slab.shape[3], COLUMNS))
    for z in range(max(first, z0), min(last, z1)):
        row, below = z % slab.shape[0], (z - 1) % slab.shape[0]
        for y in range(y0, y1):
            for x in range(x0, x1):
                label = labels[row, y, x]
                at_surface = _add_face(sums, label, labels[below, y, x], dy * dx) if z > z0 else False
                at_surface |= _add_face(sums, label, labels[row, y - 1, x], dz * dx) if y > y0 else False
                at_surface |= _add_face(sums, label, labels[row, y, x - 1], dz * dy) if x > x0 else False
                at_surface |= y + 1 < y1 and labels[row, y + 1, x] != label
                at_surface |= x + 1 < x1 and labels[row, y, x + 1] != label
                if at_surface:
                    _add_shares(sums, slab[row, y, x], label, dz * dy * dx)
                elif (x + y + z) % EVERY == 0:
                    _add_shares(sums, slab[row, y, x], label, EVERY * dz * dy * dx)
    return sums


@compiled(inline="always")
def _add_face(sums: Float64Array, label: int, other: int, area_mm2: float) -> bool:
    """Count a face between two voxels to both labels, where they differ; return whether they do."""
    if label == other:
        return False
    sums[label, AREA] += area_mm2
    sums[other, AREA] += area_mm2
    return True


@compiled
def _add_shares(sums: Float64Array, logits: Float32Array, label: int, volume_mm3: float) -> None:
    """Add what the classes beside the label of a voxel hold of it."""
    least = logits[label] - FAINT
    total = np.float32(1.0)
    for k in range(logits.shape[0]):
        if logits[k] > least and k != label:
            total += np.exp(logits[k] - logits[label])
    if total == np.float32(1.0):
        return
    sums[label, WRONG] += volume_mm3 * (1.0 - 1.0 / total)
    for k in range(logits.shape[0]):
        if logits[k] > least and k != label:
            sums[k, MISSING] += volume_mm3 * np.exp(logits[k] - logits[label]) / total
