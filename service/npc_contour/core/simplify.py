"""Thinning of closed rings with a bound: the Ramer-Douglas-Peucker algorithm, compiled, iterative."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

FloatArray = npt.NDArray[np.float64]
ByteArray = npt.NDArray[np.uint8]

_GROWTH = 1.4
_FIRST_TOLERANCE = 0.05


def thin_ring(points: FloatArray, locked: ByteArray, tolerance: float) -> npt.NDArray[np.bool_]:
    """Choose which vertices of one ring to keep so that none left out lies further than `tolerance` from the new ring.

    Args:
        points: (n, 2) vertices in any unit, first one not repeated.
        locked: (n,) not 0 for vertices that must stay.
        tolerance: bound in the unit of `points`.

    Returns:
        (n,) bool; all True where fewer than three vertices would remain.
    """
    keep = _keep(points, locked, tolerance)
    return keep if np.count_nonzero(keep) >= 3 else np.ones(len(points), dtype=np.bool_)


def thin_to(points: FloatArray, locked: ByteArray, most: int, unit: float) -> npt.NDArray[np.bool_]:
    """Thin one ring as little as is needed to have at most `most` vertices.

    Args:
        points: (n, 2) vertices, first one not repeated.
        locked: (n,) not 0 for vertices that stay as long as that is possible.
        most: number of vertices allowed, at least 4.
        unit: the pixel's size in the unit of `points`; the bound grows from 5 % of it.

    Returns:
        (n,) bool.
    """
    tolerance = _FIRST_TOLERANCE * unit
    keep = np.ones(len(points), dtype=np.bool_)
    while np.count_nonzero(keep) > most:
        if np.count_nonzero(locked) > most // 2:
            locked = np.zeros_like(locked)
        keep = _keep(points, locked, tolerance)
        tolerance *= _GROWTH
    return keep


@compiled
def _keep(points: FloatArray, locked: ByteArray, tolerance: float) -> npt.NDArray[np.bool_]:
    count = points.shape[0]
    keep: npt.NDArray[np.bool_] = locked != 0
    if not keep.any():
        keep[0] = True
    first = int(np.argmax(keep))
    if np.count_nonzero(keep) == 1:
        furthest = np.argmax((points[:, 0] - points[first, 0]) ** 2 + (points[:, 1] - points[first, 1]) ** 2)
        keep[furthest] = True
    # Spans of ring positions, counted on from `first` and wrapping at `count`.
    stack = np.empty((count + 1, 2), dtype=np.int64)
    depth = 0
    start = 0
    for position in range(1, count + 1):
        if keep[(first + position) % count]:
            stack[depth, 0], stack[depth, 1] = start, position
            depth += 1
            start = position
    bound = tolerance * tolerance
    while depth > 0:
        depth -= 1
        low, high = stack[depth, 0], stack[depth, 1]
        a, b = points[(first + low) % count], points[(first + high) % count]
        along_0, along_1 = b[0] - a[0], b[1] - a[1]
        length = along_0 * along_0 + along_1 * along_1
        worst, at = bound, -1
        for position in range(low + 1, high):
            p = points[(first + position) % count]
            off_0, off_1 = p[0] - a[0], p[1] - a[1]
            share = 0.0
            if length > 0.0:
                share = min(1.0, max(0.0, (off_0 * along_0 + off_1 * along_1) / length))
            off_0, off_1 = off_0 - share * along_0, off_1 - share * along_1
            distance = off_0 * off_0 + off_1 * off_1
            if distance > worst:
                worst, at = distance, position
        if at >= 0:
            keep[(first + at) % count] = True
            stack[depth, 0], stack[depth, 1] = low, at
            stack[depth + 1, 0], stack[depth + 1, 1] = at, high
            depth += 2
    return keep
