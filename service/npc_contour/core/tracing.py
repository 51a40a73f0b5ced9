"""Compiled boundary following: a stack of binary slices to closed rings, holes joined by zero-width bridges.

A ring runs along the *cracks* between an inside pixel and one of its four outside neighbours, one vertex a crack, and
is what marching squares gives on a binary image. Inside pixels that touch only at a corner belong to different rings
(4-neighbours inside, 8-neighbours outside). Outer rings run clockwise on the displayed image (rows down), holes
the other way round. Where the direction does not change, the vertex is left out: exactly, nothing is rounded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

IntArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

BRIDGE_NODES = 6
"""Nodes that one bridge adds: two on the way in, two on the way out, and both of its ends once more."""

BRIDGE_OFFSET = 0.2
"""How far, in pixels, a bridge keeps from pixel centres: it lies inside its row of pixels, never on a sampling line."""

# Directions: 0 up (row - 1), 1 right, 2 down, 3 left. The walk along a crack goes to direction + 1.
# Headings: 0 to 3 as directions, 4 + k halfway between directions k and k + 1.
_ROW_STEP = (-1, 0, 1, 0)
_COLUMN_STEP = (0, 1, 0, -1)
_LEFT = 3
_RIGHT = 1


@compiled
def trace_stack(
    mask: ByteArray, inset: float, keyhole: bool
) -> tuple[FloatArray, ByteArray, npt.NDArray[np.int64], IntArray, ByteArray]:
    """Trace every slice of a (z, y, x) stack of 0 and 1.

    Args:
        mask: uint8, one ROI's crop.
        inset: how far vertices lie inside the mid-point between an inside and an outside pixel centre, in pixels.
        keyhole: whether holes are joined to the ring around them; otherwise a hole is a ring of its own.

    Returns:
        points (n, 2) float64 (row, column) in pixels of the crop; locked (n,) uint8, 1 for a bridge's vertices, which
        thinning must keep; offsets (r + 1,) int64, ring i has points[offsets[i]:offsets[i + 1]]; the slice of
        each ring (r,) int32; hole (r,) uint8, 1 for a hole's own ring.
    """
    slices, rows, columns = mask.shape
    capacity = _count_cracks(mask)
    # A hole has at least four cracks and adds BRIDGE_NODES.
    points = np.empty((capacity * 3, 2), dtype=np.float64)
    locked = np.zeros(capacity * 3, dtype=np.uint8)
    offsets = np.zeros(capacity // 4 + 1, dtype=np.int64)
    ring_slice = np.zeros(capacity // 4, dtype=np.int32)
    ring_hole = np.zeros(capacity // 4, dtype=np.uint8)
    rings = 0
    used = 0
    padded = np.zeros((rows + 2, columns + 2), dtype=np.uint8)
    visited = np.zeros((rows + 2, columns + 2), dtype=np.uint8)
    left_node = np.zeros((rows + 2, columns + 2), dtype=np.int32)
    for z in range(slices):
        padded[1:-1, 1:-1] = mask[z]
        cracks = _count_cracks(mask[z : z + 1])
        if cracks == 0:
            continue
        visited[:] = 0
        node_rc = np.empty((cracks * 3, 2), dtype=np.float64)
        node_next = np.empty(cracks * 3, dtype=np.int32)
        node_keep = np.zeros(cracks * 3, dtype=np.uint8)
        starts, hole_flags = _trace_slice(padded, visited, left_node, node_rc, node_next, node_keep, inset)
        if keyhole:
            _bridge_holes(padded, left_node, starts, hole_flags, node_rc, node_next, node_keep, cracks)
        for ring in range(starts.shape[0]):
            if keyhole and hole_flags[ring]:
                continue
            used = _emit(starts[ring], node_rc, node_next, node_keep, points, locked, used)
            ring_slice[rings] = z
            ring_hole[rings] = hole_flags[ring]
            rings += 1
            offsets[rings] = used
    return (
        points[:used].copy(),
        locked[:used].copy(),
        offsets[: rings + 1].copy(),
        ring_slice[:rings].copy(),
        ring_hole[:rings].copy(),
    )


@compiled
def _count_cracks(mask: ByteArray) -> int:
    """Count pairs of an inside pixel and an outside 4-neighbour; beyond the array is outside."""
    slices, rows, columns = mask.shape
    count = 0
    for z in range(slices):
        for y in range(rows):
            previous = np.uint8(0)
            for x in range(columns):
                value = mask[z, y, x]
                count += value != previous
                above = mask[z, y - 1, x] if y > 0 else np.uint8(0)
                count += value != above
                previous = value
            count += previous != 0
        for x in range(columns):
            count += mask[z, rows - 1, x] != 0
    return count


@compiled
def _trace_slice(
    padded: ByteArray,
    visited: ByteArray,
    left_node: IntArray,
    node_rc: FloatArray,
    node_next: IntArray,
    node_keep: ByteArray,
    inset: float,
) -> tuple[IntArray, ByteArray]:
    """Follow all rings of one padded slice into linked lists of nodes.

    `node_keep` gets 1 where the direction changes. `left_node` gets the node of each pixel's left crack.

    Returns:
        The start node of each ring and whether the ring is a hole. A hole's start node is the crack to its leftmost
        column, seen from the inside pixel on the hole's left: the place for a bridge.
    """
    rows, columns = padded.shape
    reach = 0.5 - inset
    starts = np.empty(node_next.shape[0] // 4 + 1, dtype=np.int32)
    hole_flags = np.zeros(node_next.shape[0] // 4 + 1, dtype=np.uint8)
    rings = 0
    nodes = 0
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            if padded[row, column] == 0 or padded[row - 1, column] != 0 or visited[row, column] & 1:
                continue
            first = nodes
            turning = 0
            leftmost = first
            leftmost_column = columns
            r, c, d = row, column, 0
            heading = first_heading = -1
            while not visited[r, c] & (1 << d):
                visited[r, c] |= 1 << d
                node_rc[nodes, 0] = r - 1 + reach * _ROW_STEP[d]
                node_rc[nodes, 1] = c - 1 + reach * _COLUMN_STEP[d]
                node_next[nodes] = nodes + 1
                if d == _LEFT:
                    left_node[r, c] = nodes
                elif d == _RIGHT and c < leftmost_column:
                    leftmost, leftmost_column = nodes, c
                t = (d + 1) & 3
                ahead_r, ahead_c = r + _ROW_STEP[t], c + _COLUMN_STEP[t]
                if padded[ahead_r, ahead_c] == 0:  # convex: round this pixel's corner
                    new_heading = 4 + t
                    d = t
                    turning += 1
                elif padded[ahead_r + _ROW_STEP[d], ahead_c + _COLUMN_STEP[d]] == 0:  # straight on
                    new_heading = t
                    r, c = ahead_r, ahead_c
                else:  # concave: on to the diagonal neighbour
                    new_heading = 4 + d
                    r, c = ahead_r + _ROW_STEP[d], ahead_c + _COLUMN_STEP[d]
                    d = (t + 2) & 3
                    turning -= 1
                node_keep[nodes] = new_heading != heading
                if nodes == first:
                    first_heading = new_heading
                heading = new_heading
                nodes += 1
            node_keep[first] = heading != first_heading
            node_next[nodes - 1] = first
            starts[rings] = first if turning > 0 else leftmost
            hole_flags[rings] = turning < 0
            rings += 1
    return starts[:rings].copy(), hole_flags[:rings].copy()


@compiled
def _bridge_holes(
    padded: ByteArray,
    left_node: IntArray,
    starts: IntArray,
    hole_flags: ByteArray,
    node_rc: FloatArray,
    node_next: IntArray,
    node_keep: ByteArray,
    nodes: int,
) -> None:
    """Join every hole to the ring on its left, which lies further left, so that all end in an outer ring.

    A bridge goes along one row, only through inside pixels, from the hole's leftmost crack to the next left crack; both
    ends are vertices of the rings. `node_keep` becomes 2 for the vertices of a bridge.
    """
    for ring in range(starts.shape[0]):
        if not hole_flags[ring]:
            continue
        hole = starts[ring]
        row = int(np.rint(node_rc[hole, 0])) + 1
        column = int(np.rint(node_rc[hole, 1])) + 1
        right = column
        while padded[row, column - 1] != 0:
            column -= 1
        outer = left_node[row, column]
        for index in range(BRIDGE_NODES):
            node = nodes + index
            node_keep[node] = 2
            node_rc[node, 0] = row - 1 + BRIDGE_OFFSET
            node_rc[node, 1] = (column - 1 - BRIDGE_OFFSET) if index in (0, 4) else (right - 1 + BRIDGE_OFFSET)
        into_hole, outer_again = nodes + 2, nodes + 5
        node_rc[into_hole] = node_rc[hole]
        node_rc[outer_again] = node_rc[outer]
        # outer, in, in, hole's start, round the hole, hole's start again, out, out, outer again, on
        node_next[nodes] = nodes + 1
        node_next[nodes + 1] = into_hole
        node_next[into_hole] = node_next[hole]
        node_next[hole] = nodes + 3
        node_next[nodes + 3] = nodes + 4
        node_next[nodes + 4] = outer_again
        node_next[outer_again] = node_next[outer]
        node_next[outer] = nodes
        node_keep[hole] = node_keep[outer] = 2
        nodes += BRIDGE_NODES


@compiled
def _emit(
    start: int,
    node_rc: FloatArray,
    node_next: IntArray,
    node_keep: ByteArray,
    points: FloatArray,
    locked: ByteArray,
    used: int,
) -> int:
    """Write the kept vertices of one ring after the `used` ones; return the new count."""
    node = start
    while True:
        if node_keep[node]:
            points[used] = node_rc[node]
            locked[used] = node_keep[node] == 2
            used += 1
        node = node_next[node]
        if node == start:
            return used
