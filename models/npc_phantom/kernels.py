"""The painter's inner loops: signed distances of shapes and their colours, voxel by voxel, compiled.

The map from voxel to canonical position is given on a lattice of cells of a few voxels; within
a cell it is trilinear. Cells that a shape cannot reach are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Code = tuple[I32, F32, F32]
Function = TypeVar("Function", bound=Callable[..., Any])

SLACK = 1.35
"""How much faster than 1 mm per mm a shape's value may change (the values are not quite distances)."""


class Program(NamedTuple):
    """All parts, in painting order, as arrays.

    Attributes:
        spans: (parts, 2) first and last step of each part.
        looks: (parts, 6) HU, HU with contrast, texture amplitude HU, texture scale mm, opacity,
            softness mm; opacity 0 paints labels only.
        luts: (parts, 256) label written where each label stood.
        channels: (parts,) which label map the part writes, -1 none.
        bounds: (parts, 6) box around each part: lower x, y, z, upper x, y, z, canonical mm.
        steps: (steps, 3) op, kind, offset into the parameters.
        amounts: (steps, 2) growth and blend in mm.
        params: parameters of all primitives.
    """

    spans: I32
    looks: F32
    luts: U8
    channels: I32
    bounds: F32
    steps: I32
    amounts: F32
    params: F32


class Place(NamedTuple):
    """Where the slab lies and how finely it is looked at.

    Attributes:
        lattice: (z, y, x, 3) canonical x, y, z in mm at cell corners.
        cell: (3,) voxels a cell, z y x.
        tile: (n, n, n) periodic texture, unit variance.
        first_cell: layer of cells at which the slab begins.
        reach_mm: half diagonal of the largest cell, canonical mm.
        edge_mm: half width of an edge.
    """

    lattice: F32
    cell: I32
    tile: F32
    first_cell: int
    reach_mm: float
    edge_mm: float


def _compiled(function: Function) -> Function:
    return compiled(fastmath=True)(function)


def _inlined(function: Function) -> Function:
    """Compile into the caller: a call would count references to every array that it passes."""
    return cast("Function", numba.njit(nogil=True, fastmath=True, inline="always")(function))


@_compiled
def _superellipse(u: float, v: float, inverse_rx: float, inverse_ry: float, power: float) -> float:
    if power == 2.0:
        k = math.sqrt(u * u + v * v) + 1e-6
        gx, gy = u / k * inverse_rx, v / k * inverse_ry
    else:
        up, vp = u**power, v**power
        k = (up + vp) ** (1.0 / power) + 1e-6
        scale = k / (up + vp + 1e-20)
        gx, gy = up / (u + 1e-9) * scale * inverse_rx, vp / (v + 1e-9) * scale * inverse_ry
    return (k - 1.0) / math.sqrt(gx * gx + gy * gy + 1e-12)


@_compiled
def _ellipsoid(p: F32, o: int, x: float, y: float, z: float) -> float:
    dx, dy, dz = x - p[o], y - p[o + 1], z - p[o + 2]
    u = abs(dx * p[o + 3] + dy * p[o + 4] + dz * p[o + 5]) * p[o + 12]
    v = abs(dx * p[o + 6] + dy * p[o + 7] + dz * p[o + 8]) * p[o + 13]
    w = abs(dx * p[o + 9] + dy * p[o + 10] + dz * p[o + 11]) * p[o + 14]
    power = p[o + 15]
    if power == 2.0:
        k = math.sqrt(u * u + v * v + w * w) + 1e-6
        gx, gy, gz = u / k * p[o + 12], v / k * p[o + 13], w / k * p[o + 14]
    else:
        up, vp, wp = u**power, v**power, w**power
        k = (up + vp + wp) ** (1.0 / power) + 1e-6
        scale = k / (up + vp + wp + 1e-20)
        gx = up / (u + 1e-9) * scale * p[o + 12]
        gy = vp / (v + 1e-9) * scale * p[o + 13]
        gz = wp / (w + 1e-9) * scale * p[o + 14]
    return float((k - 1.0) / math.sqrt(gx * gx + gy * gy + gz * gz + 1e-12))


@_compiled
def _capsule(p: F32, o: int, x: float, y: float, z: float) -> float:
    ax, ay, az = x - p[o], y - p[o + 1], z - p[o + 2]
    bx, by, bz = p[o + 3] - p[o], p[o + 4] - p[o + 1], p[o + 5] - p[o + 2]
    t = (ax * bx + ay * by + az * bz) / (bx * bx + by * by + bz * bz + 1e-9)
    t = min(1.0, max(0.0, t))
    dx, dy, dz = ax - t * bx, ay - t * by, az - t * bz
    return float(math.sqrt(dx * dx + dy * dy + dz * dz) - (p[o + 6] + t * (p[o + 7] - p[o + 6])))


@_compiled
def _loft(p: F32, o: int, x: float, y: float, z: float) -> float:
    count = int(p[o + 2])
    t = (z - p[o]) / p[o + 1]
    over = max(-t, t - (count - 1)) * p[o + 1]
    t = min(max(t, 0.0), count - 1.001)
    i = int(t)
    t -= i
    a = o + 4 + 7 * i
    b = a + 7
    dx = x - (p[a] + t * (p[b] - p[a]))
    dy = y - (p[a + 1] + t * (p[b + 1] - p[a + 1]))
    ix = p[a + 2] + t * (p[b + 2] - p[a + 2])
    iy = p[a + 3] + t * (p[b + 3] - p[a + 3])
    c, s = p[a + 4], p[a + 5]
    u, v = abs(c * dx + s * dy) * ix, abs(c * dy - s * dx) * iy
    aside = _superellipse(u, v, ix, iy, p[o + 3]) * (p[a + 6] + t * (p[b + 6] - p[a + 6]))
    if aside > 0.0 and over > 0.0:
        return math.sqrt(aside * aside + over * over)
    return float(max(aside, over))


@_compiled
def _primitive(kind: int, p: F32, o: int, x: float, y: float, z: float) -> float:
    if kind == 0:
        return _ellipsoid(p, o, x, y, z)
    if kind == 1:
        return _capsule(p, o, x, y, z)
    if kind == 2:
        return _loft(p, o, x, y, z)
    return float(p[o] * x + p[o + 1] * y + p[o + 2] * z - p[o + 3])


@_compiled
def _join(op: int, d: float, e: float, k: float) -> float:
    if op == 0:
        return min(d, e)
    if op == 1:
        return max(d, -e)
    if op == 2:
        return max(d, e)
    h = min(1.0, max(0.0, 0.5 + 0.5 * (d - e) / k))
    return d * (1.0 - h) + e * h - k * h * (1.0 - h)


@_inlined
def _distance(code: Code, active: I32, count: int, x: float, y: float, z: float) -> float:
    steps, amounts, params = code
    d = 1.0e6
    for n in range(count):
        s = active[n]
        e = _primitive(steps[s, 1], params, steps[s, 2], x, y, z) - amounts[s, 0]
        d = _join(steps[s, 0], d, e, amounts[s, 1])
    return d


@_inlined
def _approach(code: Code, active: I32, span: I32, far: float, x: float, y: float, z: float) -> tuple[float, int]:
    """Return the distance at a cell's centre; list in `active` the steps that matter within `far` of it."""
    steps, amounts, params = code
    d, count = 1.0e6, 0
    for s in range(span[0], span[1]):
        op = steps[s, 0]
        e = _primitive(steps[s, 1], params, steps[s, 2], x, y, z) - amounts[s, 0]
        d = _join(op, d, e, amounts[s, 1])
        matters = e > -far if op == 2 else e < far + amounts[s, 1]
        if matters:
            active[count] = s
            count += 1
    return d, count


@_compiled
def _tile(tile: F32, x: float, y: float, z: float) -> float:
    n = tile.shape[0]
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    tx, ty, tz = x - fx, y - fy, z - fz
    i, j, k = int(fx) % n, int(fy) % n, int(fz) % n
    i1, j1, k1 = (i + 1) % n, (j + 1) % n, (k + 1) % n
    a = (tile[k, j, i] * (1 - tx) + tile[k, j, i1] * tx) * (1 - ty)
    a += (tile[k, j1, i] * (1 - tx) + tile[k, j1, i1] * tx) * ty
    b = (tile[k1, j, i] * (1 - tx) + tile[k1, j, i1] * tx) * (1 - ty)
    b += (tile[k1, j1, i] * (1 - tx) + tile[k1, j1, i1] * tx) * ty
    return float(a * (1 - tz) + b * tz)


@_inlined
def _line(lattice: F32, corner: tuple[int, int, int], tz: float, ty: float, cell_x: int, line: F32) -> None:
    """Write start and step per voxel of the canonical position along one row of a cell."""
    cz, cy, cx = corner
    for k in range(3):
        start = (1 - tz) * ((1 - ty) * lattice[cz, cy, cx, k] + ty * lattice[cz, cy + 1, cx, k])
        start += tz * ((1 - ty) * lattice[cz + 1, cy, cx, k] + ty * lattice[cz + 1, cy + 1, cx, k])
        stop = (1 - tz) * ((1 - ty) * lattice[cz, cy, cx + 1, k] + ty * lattice[cz, cy + 1, cx + 1, k])
        stop += tz * ((1 - ty) * lattice[cz + 1, cy, cx + 1, k] + ty * lattice[cz + 1, cy + 1, cx + 1, k])
        line[k] = start
        line[3 + k] = (stop - start) / cell_x


@_compiled
def _grain(look: F32, tile: F32, x: float, y: float, z: float) -> float:
    if look[2] <= 0.0:
        return 0.0
    return float(look[2] * _tile(tile, x / look[3], y / look[3], z / look[3]))


@_inlined
def _fill(
    part: tuple[Code, F32, U8, int],
    place: tuple[F32, I32, F32, int, float],
    corner: tuple[int, int, int],
    found: tuple[float, float, int],
    scratch: tuple[I32, F32],
    canvas: tuple[F32, U8],
) -> None:
    """Paint one part into one cell.

    Args:
        part: its code, look (6,), label table (256,), channel.
        place: lattice, cell, tile, first cell, half width of an edge.
        corner: which cell.
        found: distance at the cell's centre, margin, number of active steps.
        scratch: active steps; room for one line.
        canvas: HU and labels of the slab, written.
    """
    middle, far, count = found
    active, line = scratch
    hu, labels = canvas
    code, look, lut, channel = part
    lattice, cell, tile, first_cell, edge_mm = place
    soft = math.sqrt(edge_mm * edge_mm + look[5] * look[5])
    z_first = (corner[0] - first_cell) * cell[0]
    for z in range(z_first, min(z_first + cell[0], hu.shape[1])):
        for y in range(corner[1] * cell[1], min((corner[1] + 1) * cell[1], hu.shape[2])):
            _line(lattice, corner, (z - z_first) / cell[0], y / cell[1] - corner[1], cell[2], line)
            for x in range(corner[2] * cell[2], min((corner[2] + 1) * cell[2], hu.shape[3])):
                t = x - corner[2] * cell[2]
                qx, qy, qz = line[0] + line[3] * t, line[1] + line[4] * t, line[2] + line[5] * t
                value = middle
                if middle >= -far:
                    value = _distance(code, active, count, qx, qy, qz)
                    if value >= soft:
                        continue
                if channel >= 0 and value < 0.0:
                    labels[channel, z, y, x] = lut[labels[channel, z, y, x]]
                if look[4] > 0.0:
                    alpha = min(1.0, 0.5 - 0.5 * value / soft) * look[4]
                    grain = _grain(look, tile, qx, qy, qz)
                    hu[0, z, y, x] += alpha * (look[0] + grain - hu[0, z, y, x])
                    hu[1, z, y, x] += alpha * (look[1] + grain - hu[1, z, y, x])


@_inlined
def _misses(box: F32, far: float, x: float, y: float, z: float) -> bool:
    if z < box[2] - far or z > box[5] + far or y < box[1] - far or y > box[4] + far:
        return True
    return bool(x < box[0] - far or x > box[3] + far)


@_compiled
def paint(program: Program, place: Place, hu: F32, labels: U8) -> None:
    """Paint all parts, in order, into one slab.

    Args:
        program: what.
        place: where.
        hu: (phases = 2, z, y, x) of the slab, written.
        labels: (maps, z, y, x) of the slab, written.
    """
    lattice, cell = place.lattice, place.cell
    layers = (hu.shape[1] + cell[0] - 1) // cell[0]
    code = (program.steps, program.amounts, program.params)
    where = (lattice, cell, place.tile, place.first_cell, place.edge_mm)
    scratch = (np.empty(program.steps.shape[0], dtype=np.int32), np.empty(6, dtype=np.float32))
    for part in range(program.spans.shape[0]):
        softness = program.looks[part, 5]
        what = (code, program.looks[part], program.luts[part], program.channels[part])
        far = place.reach_mm * SLACK + math.sqrt(place.edge_mm * place.edge_mm + softness * softness)
        for cz in range(place.first_cell, place.first_cell + layers):
            for cy in range(lattice.shape[1] - 1):
                for cx in range(lattice.shape[2] - 1):
                    a, b = lattice[cz, cy, cx], lattice[cz + 1, cy + 1, cx + 1]
                    x, y, z = 0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1]), 0.5 * (a[2] + b[2])
                    if _misses(program.bounds[part], far, x, y, z):
                        continue
                    middle, count = _approach(code, scratch[0], program.spans[part], far, x, y, z)
                    if middle <= far:
                        _fill(what, where, (cz, cy, cx), (middle, far, count), scratch, (hu, labels))
