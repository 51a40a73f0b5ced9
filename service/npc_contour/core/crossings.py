"""Where, between two neighbouring voxels of different labels, a network changes its mind.

Linear interpolation of the two labels' class maps along the edge from one voxel centre to the next changes sign at one
place: the boundary itself, far nearer to the truth than the mid-point that a mask leaves. One byte an edge keeps it to
1/254 of a voxel, for the edges along rows and columns of a slice, which are those that contours cross. Which ROI asks
does not matter: an ROI is a union of labels, and its outline crosses only edges between two different ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.argmax import LookupFields
from npc_contour.core.compiled import compiled
from npc_contour.core.orientation import Turn

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

STEPS = 254
"""A crossing at fraction t of the edge is kept as 1 + round(t * STEPS); 0 where nothing is known or labels agree."""


def fractions_of(codes: UInt8Array) -> npt.NDArray[np.float64]:
    """Return the fraction of each edge, 0 at its own voxel's centre and 1 at the next; NaN where nothing is known."""
    fractions: npt.NDArray[np.float64] = np.where(codes == 0, np.nan, (codes.astype(np.float64) - 1.0) / STEPS)
    return fractions


def turned_back(crossings: UInt8Array, turn: Turn) -> UInt8Array | None:
    """Return crossings of a turned stack in the stack's own orientation.

    Args:
        crossings: (2, z, y, x) of the stack as the network saw it: edges to the next row, and to the next column.
        turn: how the stack had been turned.

    Returns:
        (2, z, y, x) of the stack itself; None where its slices are not the network's, as in a sagittal stack: edges
        between slices are not kept.
    """
    if turn.axes[0] != 0:
        return None
    back = np.stack([turn.undo(along) for along in crossings])
    if turn.axes == (0, 2, 1):
        back = back[::-1]
    for canonical in (1, 2):
        if canonical in turn.flipped:
            back[turn.axes[canonical] - 1] = _other_way(back[turn.axes[canonical] - 1], turn.axes[canonical])
    return np.ascontiguousarray(back)


def _other_way(codes: UInt8Array, axis: int) -> UInt8Array:
    """Number edges from their other end: each belongs to the voxel before, and is measured from there."""
    moved = np.zeros_like(codes)
    first, last = [slice(None)] * 3, [slice(None)] * 3
    first[axis], last[axis] = slice(None, -1), slice(1, None)
    known = codes[tuple(last)]
    moved[tuple(first)] = np.where(known == 0, 0, STEPS + 2 - known.astype(np.int16)).astype(np.uint8)
    return moved


@compiled
def label_crossings(
    slab: Float32Array,
    offset_zyx: tuple[int, int, int],
    lookups_zyx: tuple[LookupFields, LookupFields, LookupFields],
    labels: UInt8Array,
    crossings: tuple[UInt8Array, UInt8Array],
    first: int,
    last: int,
) -> None:
    """Write where labels change within some fine slices; calls on disjoint slices may run in parallel.

    Args:
        slab: (planes, y, x, classes) float32 class maps; plane z of the padded grid is row z modulo planes.
        offset_zyx: where the coarse grid begins in the padded one.
        lookups_zyx: `AxisLookup.fields` along each axis.
        labels: (fine z, fine y, fine x) uint8, what `interpolated_argmax` wrote for these slices.
        crossings: two like `labels`; get the codes of the edges to the next row, and to the next column, where the two
            labels differ.
        first: first fine slice.
        last: the slice after the last.
    """
    (z_lower, z_fraction, z_size), y_lookup, x_lookup = lookups_zyx
    oz, oy, ox = offset_zyx
    along_y, along_x = crossings
    _, rows, columns = labels.shape
    for i in range(first, last):
        below = slab[(oz + z_lower[i]) % slab.shape[0], oy:, ox:]
        above = slab[(oz + min(z_lower[i] + 1, z_size - 1)) % slab.shape[0], oy:, ox:]
        planes = below, above, z_fraction[i]
        for j in range(rows):
            for k in range(columns):
                here = labels[i, j, k]
                if j + 1 < rows and labels[i, j + 1, k] != here:
                    pair = here, labels[i, j + 1, k]
                    near = _preference(planes, y_lookup, x_lookup, j, k, pair)
                    along_y[i, j, k] = _code(near, _preference(planes, y_lookup, x_lookup, j + 1, k, pair))
                if k + 1 < columns and labels[i, j, k + 1] != here:
                    pair = here, labels[i, j, k + 1]
                    near = _preference(planes, y_lookup, x_lookup, j, k, pair)
                    along_x[i, j, k] = _code(near, _preference(planes, y_lookup, x_lookup, j, k + 1, pair))


@compiled
def _code(near: float, far: float) -> int:
    """Return the code of the place where a line from `near` at 0 to `far` at 1 is zero; the middle where it is flat."""
    drop = near - far
    return 1 + round(STEPS * min(max(near / drop, 0.0), 1.0)) if drop > 0.0 else 1 + STEPS // 2


@compiled
def _preference(
    planes: tuple[Float32Array, Float32Array, float],
    y_lookup: LookupFields,
    x_lookup: LookupFields,
    j: int,
    k: int,
    pair: tuple[int, int],
) -> float:
    """Return by how much a fine voxel prefers the first label of a pair: the difference, interpolated trilinearly."""
    below, above, z = planes
    y0, y = y_lookup[0][j], y_lookup[1][j]
    x0, x = x_lookup[0][k], x_lookup[1][k]
    y1, x1 = min(y0 + 1, y_lookup[2] - 1), min(x0 + 1, x_lookup[2] - 1)
    lower = _mix(
        _mix(_edge(below[y0, x0], pair), _edge(below[y0, x1], pair), x),
        _mix(_edge(below[y1, x0], pair), _edge(below[y1, x1], pair), x),
        y,
    )
    upper = _mix(
        _mix(_edge(above[y0, x0], pair), _edge(above[y0, x1], pair), x),
        _mix(_edge(above[y1, x0], pair), _edge(above[y1, x1], pair), x),
        y,
    )
    return _mix(lower, upper, z)


@compiled
def _edge(classes: Float32Array, pair: tuple[int, int]) -> float:
    return float(classes[pair[0]]) - float(classes[pair[1]])


@compiled
def _mix(low: float, high: float, fraction: float) -> float:
    return low * (1.0 - fraction) + high * fraction
