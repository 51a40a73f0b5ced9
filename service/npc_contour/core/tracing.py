"""Compiled boundary following: a stack of binary slices to closed rings, holes joined by zero-width bridges.

A ring runs along the *cracks* between an inside pixel and one of its four outside neighbours, one vertex a crack, and
is what marching squares gives. Inside pixels that touch only at a corner belong to different rings (4-neighbours
inside, 8-neighbours outside). Outer rings run clockwise on the displayed image (rows down), holes the other way round.
Where on its crack a vertex lies is decided afterwards (`Rings.points`): just inside the middle for a mask, where a
field changes sign for a field.
"""

from __future__ import annotations

from dataclasses import dataclass

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

_NODES_PER_CRACK = 3
"""Enough for all bridges: a hole has at least four cracks."""

# Directions: 0 up (row - 1), 1 right, 2 down, 3 left. The walk along a crack goes to direction + 1.
# Headings: 0 to 3 as directions, 4 + k halfway between directions k and k + 1.
# A bridge's own vertices lie below and left, or below and right, of a pixel's centre.
_ROW_STEP = (-1, 0, 1, 0)
_COLUMN_STEP = (0, 1, 0, -1)
UP = 0
RIGHT = 1
LEFT = 3
_BRIDGE_LEFT = 4
_BRIDGE_RIGHT = 5
_STEPS = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (1, -1), (1, 1)], dtype=np.float64)

NODE = np.dtype(
    [("row", np.int32), ("column", np.int32), ("next", np.int32), ("direction", np.uint8), ("keep", np.uint8)]
)
"""A vertex of a ring under work: inside pixel and direction to the outside, the next vertex, and keep: 0 where the ring
of a mask goes straight on, 1 at a corner, 2 for a vertex of a bridge."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """All rings of a stack of slices.

    Attributes:
        pixels: (n, 2) int32, row and column of each vertex's inside pixel.
        directions: (n,) uint8, to the outside: 0 up, 1 right, 2 down, 3 left; 4 and 5 for a bridge's own vertices.
        locked: (n,) uint8, 1 for vertices of a bridge, which thinning must keep.
        offsets: (r + 1,) int64, ring i has the vertices from offsets[i] to offsets[i + 1].
        slices: (r,) int32, the slice of each ring.
    """

    pixels: IntArray
    directions: ByteArray
    locked: ByteArray
    offsets: npt.NDArray[np.int64]
    slices: IntArray

    def points(self, reach: FloatArray | float, *, bridge_offset: float = BRIDGE_OFFSET) -> FloatArray:
        """Return the vertices, (n, 2) row and column in pixels.

        Args:
            reach: how far each vertex lies from its inside pixel's centre towards the outside one, 0 to 1.
            bridge_offset: how far a bridge keeps from pixel centres; less than half of the least reach.
        """
        own = self.directions >= _BRIDGE_LEFT
        distance = np.where(own, bridge_offset, reach)
        points: FloatArray = self.pixels + _STEPS[self.directions] * distance[:, np.newaxis]
        return points

    def outside_pixels(self) -> IntArray:
        """Return each vertex's outside pixel, (n, 2); for a bridge's own vertices, some neighbour."""
        outside: IntArray = self.pixels + _STEPS[self.directions].astype(np.int32)
        return outside


def trace(mask: ByteArray, *, keyhole: bool, corners_only: bool = True) -> Rings:
    """Trace every slice of a (z, y, x) stack of 0 and 1.

    Args:
        mask: uint8, one ROI's crop.
        keyhole: whether holes are joined to the ring around them; otherwise a hole is a ring of its own.
        corners_only: leave out vertices where the ring of a mask goes straight on; exact where all reach equally far.
    """
    return Rings(*_trace_stack(mask, keyhole, corners_only))


@compiled
def _trace_stack(
    mask: ByteArray,
    keyhole: bool,  # noqa: FBT001 (compiled functions take positional arguments)
    corners_only: bool,  # noqa: FBT001
) -> tuple[IntArray, ByteArray, ByteArray, npt.NDArray[np.int64], IntArray]:
    slices, rows, columns = mask.shape
    capacity = _count_cracks(mask)
    pixels = np.empty((capacity * _NODES_PER_CRACK, 2), dtype=np.int32)
    directions = np.empty(capacity * _NODES_PER_CRACK, dtype=np.uint8)
    locked = np.zeros(capacity * _NODES_PER_CRACK, dtype=np.uint8)
    offsets = np.zeros(capacity // 4 + 1, dtype=np.int64)
    ring_slice = np.zeros(capacity // 4, dtype=np.int32)
    padded = np.zeros((rows + 2, columns + 2), dtype=np.uint8)
    side_nodes = np.zeros((2, rows + 2, columns + 2), dtype=np.int32)
    rings = 0
    used = 0
    for z in range(slices):
        cracks = _count_cracks(mask[z : z + 1])
        if cracks == 0:
            continue
        padded[1:-1, 1:-1] = mask[z]
        nodes = np.empty(cracks * _NODES_PER_CRACK, dtype=NODE)
        starts, holes, of_hole = _trace_slice(padded, side_nodes, nodes)
        if keyhole:
            _bridge_holes(padded, side_nodes, nodes, starts[holes], of_hole, cracks)
        starts = starts[:, 0].copy()
        for ring in range(starts.shape[0]):
            if keyhole and holes[ring]:
                continue
            node = starts[ring]
            while True:
                if nodes[node].keep or not corners_only:
                    pixels[used, 0], pixels[used, 1] = nodes[node].row, nodes[node].column
                    directions[used] = nodes[node].direction
                    locked[used] = nodes[node].keep == 2
                    used += 1
                node = nodes[node].next
                if node == starts[ring]:
                    break
            ring_slice[rings] = z
            rings += 1
            offsets[rings] = used
    kept = (pixels[:used].copy(), directions[:used].copy(), locked[:used].copy())
    return (*kept, offsets[: rings + 1].copy(), ring_slice[:rings].copy())


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
    padded: ByteArray, side_nodes: IntArray, nodes: npt.NDArray[np.void]
) -> tuple[IntArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Follow all rings of one padded slice into linked lists of nodes.

    `side_nodes` gets the nodes of each pixel's left and right crack.

    Returns:
        Two nodes of each ring, whether the ring is a hole, and whether each node belongs to one. The first node of an
        outer ring is its start; those of a hole are the cracks to its leftmost column, seen from the inside pixel on
        the hole's left, and to its rightmost one, seen from its right: the places for a bridge.
    """
    rows, columns = padded.shape
    visited = np.zeros((rows, columns), dtype=np.uint8)
    starts = np.empty((nodes.shape[0] // 4 + 1, 2), dtype=np.int32)
    of_hole = np.zeros(nodes.shape[0], dtype=np.bool_)
    holes = np.zeros(nodes.shape[0] // 4 + 1, dtype=np.bool_)
    rings = 0
    used = 0
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            # Every ring has a crack above some pixel: bit 0 of `visited`.
            if padded[row, column] and not padded[row - 1, column] and not visited[row, column] & 1:
                first = used
                used, turning, leftmost, rightmost = _follow(padded, visited, side_nodes, nodes, (row, column), first)
                starts[rings, 0] = first if turning > 0 else leftmost
                starts[rings, 1] = rightmost
                holes[rings] = turning < 0
                of_hole[first:used] = turning < 0
                rings += 1
    return starts[:rings].copy(), holes[:rings].copy(), of_hole


@compiled
def _follow(
    padded: ByteArray,
    visited: ByteArray,
    side_nodes: IntArray,
    nodes: npt.NDArray[np.void],
    pixel: tuple[int, int],
    first: int,
) -> tuple[int, int, int, int]:
    """Follow one ring from the crack above a pixel.

    Returns:
        The number of nodes in use, the quarter turns to the right (4 for an outer ring, -4 for a hole), the node of
        the leftmost crack whose outside is on the right, and that of the rightmost one whose outside is on the left.
    """
    row, column = pixel
    direction = 0
    node = first
    turning = 0
    leftmost, leftmost_column = first, padded.shape[1]
    rightmost, rightmost_column = first, -1
    heading = first_heading = -1
    while not visited[row, column] & (1 << direction):
        visited[row, column] |= 1 << direction
        nodes[node].row, nodes[node].column, nodes[node].direction = row - 1, column - 1, direction
        nodes[node].next = node + 1
        if direction == LEFT:
            side_nodes[0, row, column] = node
            if column > rightmost_column:
                rightmost, rightmost_column = node, column
        elif direction == RIGHT:
            side_nodes[1, row, column] = node
            if column < leftmost_column:
                leftmost, leftmost_column = node, column
        along = (direction + 1) & 3
        ahead_row, ahead_column = row + _ROW_STEP[along], column + _COLUMN_STEP[along]
        beyond_row, beyond_column = ahead_row + _ROW_STEP[direction], ahead_column + _COLUMN_STEP[direction]
        before = heading
        if padded[ahead_row, ahead_column] == 0:  # convex: round this pixel's corner
            heading, direction, turning = 4 + along, along, turning + 1
        elif padded[beyond_row, beyond_column] == 0:
            heading, row, column = along, ahead_row, ahead_column
        else:  # concave: on to the diagonal neighbour
            heading, row, column = 4 + direction, beyond_row, beyond_column
            direction, turning = (along + 2) & 3, turning - 1
        nodes[node].keep = heading != before
        if node == first:
            first_heading = heading
        node += 1
    nodes[first].keep = heading != first_heading
    nodes[node - 1].next = first
    return node, turning, leftmost, rightmost


@compiled
def _bridge_holes(
    padded: ByteArray,
    side_nodes: IntArray,
    nodes: npt.NDArray[np.void],
    hole_starts: IntArray,
    of_hole: npt.NDArray[np.bool_],
    used: int,
) -> None:
    """Join every hole to the ring on its left, which lies further left, or to an outer ring nearer on its right.

    So all end in an outer ring: on the way to the left each is further left, and the way to the right is over at once.
    A bridge goes along one row, only through inside pixels, from the hole's leftmost crack to the next left crack, or
    from its rightmost one to the next right crack; both ends are vertices of the rings.
    """
    for number in range(hole_starts.shape[0]):
        hole = hole_starts[number, 0]
        row = nodes[hole].row + 1
        near = nodes[hole].column + 1
        far = near
        while padded[row, far - 1] != 0:
            far -= 1
        outer = side_nodes[0, row, far]
        far_side, near_side = _BRIDGE_LEFT, _BRIDGE_RIGHT
        other = hole_starts[number, 1]
        other_row = nodes[other].row + 1
        other_near = nodes[other].column + 1
        other_far = other_near
        while other_far - other_near < near - far and padded[other_row, other_far + 1] != 0:
            other_far += 1
        if other_far - other_near < near - far and not of_hole[side_nodes[1, other_row, other_far]]:
            hole, row, near, far = other, other_row, other_near, other_far
            outer = side_nodes[1, row, far]
            far_side, near_side = _BRIDGE_RIGHT, _BRIDGE_LEFT
        # outer, far in, near in, hole, round the hole, hole again, near out, far out, outer again, on
        far_in, near_in, hole_start, near_out, far_out, outer_again = range(used, used + BRIDGE_NODES)
        for node in (far_in, near_in, near_out, far_out):
            nodes[node].row = row - 1
        nodes[far_in].column = nodes[far_out].column = far - 1
        nodes[near_in].column = nodes[near_out].column = near - 1
        nodes[far_in].direction = nodes[far_out].direction = far_side
        nodes[near_in].direction = nodes[near_out].direction = near_side
        nodes[hole_start] = nodes[hole]
        nodes[outer_again] = nodes[outer]
        nodes[outer].next, nodes[far_in].next, nodes[near_in].next = far_in, near_in, hole_start
        nodes[hole].next, nodes[near_out].next, nodes[far_out].next = near_out, far_out, outer_again
        nodes[hole].keep = nodes[outer].keep = 2
        for node in range(used, used + BRIDGE_NODES):
            nodes[node].keep = 2
        used += BRIDGE_NODES
