"""The painter's inner loops: signed distances of shapes and their colours, voxel by voxel, compiled.

The map from voxel to canonical position is given on a lattice of cells of a few voxels; within
a cell it is trilinear. Cells that a shape cannot reach are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Function = TypeVar("Function", bound=Callable[..., Any])

SLACK = 1.35
"""How much faster than 1 mm per mm a shape's value may change (the values are not quite distances)."""


def _compiled(function: Function) -> Function:
    return cast("Function", numba.njit(cache=True, nogil=True, fastmath=True)(function))


@_compiled
def _superellipse(u: float, v: float, inverse_rx: float, inverse_ry: float, power: float) -> float:
    if power == 2.0:
        k = np.sqrt(u * u + v * v) + 1e-6
        gx, gy = u / k * inverse_rx, v / k * inverse_ry
    else:
        k = (u**power + v**power) ** (1.0 / power) + 1e-6
        gx, gy = (u / k) ** (power - 1.0) * inverse_rx, (v / k) ** (power - 1.0) * inverse_ry
    return (k - 1.0) / np.sqrt(gx * gx + gy * gy + 1e-12)


@_compiled
def _ellipsoid(p: F32, o: int, x: float, y: float, z: float) -> float:
    dx, dy, dz = x - p[o], y - p[o + 1], z - p[o + 2]
    u = abs(dx * p[o + 3] + dy * p[o + 4] + dz * p[o + 5]) * p[o + 12]
    v = abs(dx * p[o + 6] + dy * p[o + 7] + dz * p[o + 8]) * p[o + 13]
    w = abs(dx * p[o + 9] + dy * p[o + 10] + dz * p[o + 11]) * p[o + 14]
    power = p[o + 15]
    if power == 2.0:
        k = np.sqrt(u * u + v * v + w * w) + 1e-6
        gx, gy, gz = u / k * p[o + 12], v / k * p[o + 13], w / k * p[o + 14]
    else:
        k = (u**power + v**power + w**power) ** (1.0 / power) + 1e-6
        gx = (u / k) ** (power - 1.0) * p[o + 12]
        gy = (v / k) ** (power - 1.0) * p[o + 13]
        gz = (w / k) ** (power - 1.0) * p[o + 14]
    return (k - 1.0) / np.sqrt(gx * gx + gy * gy + gz * gz + 1e-12)


@_compiled
def _capsule(p: F32, o: int, x: float, y: float, z: float) -> float:
    ax, ay, az = x - p[o], y - p[o + 1], z - p[o + 2]
    bx, by, bz = p[o + 3] - p[o], p[o + 4] - p[o + 1], p[o + 5] - p[o + 2]
    t = (ax * bx + ay * by + az * bz) / (bx * bx + by * by + bz * bz + 1e-9)
    t = min(1.0, max(0.0, t))
    dx, dy, dz = ax - t * bx, ay - t * by, az - t * bz
    return np.sqrt(dx * dx + dy * dy + dz * dz) - (p[o + 6] + t * (p[o + 7] - p[o + 6]))


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
        return np.sqrt(aside * aside + over * over)
    return max(aside, over)


@_compiled
def _primitive(kind: int, p: F32, o: int, x: float, y: float, z: float) -> float:
    if kind == 0:
        return _ellipsoid(p, o, x, y, z)
    if kind == 1:
        return _capsule(p, o, x, y, z)
    if kind == 2:
        return _loft(p, o, x, y, z)
    return p[o] * x + p[o + 1] * y + p[o + 2] * z - p[o + 3]


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


@_compiled
def _distance(program: tuple[I32, F32, F32], active: I32, count: int, x: float, y: float, z: float) -> float:
    steps, amounts, params = program
    d = 1.0e6
    for n in range(count):
        s = active[n]
        e = _primitive(steps[s, 1], params, steps[s, 2], x, y, z) - amounts[s, 0]
        d = _join(steps[s, 0], d, e, amounts[s, 1])
    return d


@_compiled
def _approach(
    program: tuple[I32, F32, F32], active: I32, span: I32, far: float, x: float, y: float, z: float
) -> tuple[float, int]:
    """Return the distance at a cell's centre; list in `active` the steps that matter within `far` of it."""
    steps, amounts, params = program
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
    return a * (1 - tz) + b * tz


@_compiled
def paint(
    spans: I32,
    looks: F32,
    luts: U8,
    channels: I32,
    bounds: F32,
    program: tuple[I32, F32, F32],
    lattice: F32,
    cell: I32,
    tile: F32,
    first_slice: int,
    reach_mm: float,
    edge_mm: float,
    hu: F32,
    labels: U8,
) -> None:
    """Paint all parts, in order, into one slab.

    Args:
        spans: (parts, 2) first and last step of each part.
        looks: (parts, 6) HU, HU with contrast, texture amplitude HU, texture scale mm, opacity,
            softness mm; opacity 0 paints labels only.
        luts: (parts, 256) label written where each label stood.
        channels: (parts,) which label map the part writes, -1 none.
        bounds: (parts, 6) box around each part: lower x, y, z, upper x, y, z, canonical mm.
        program: steps (n, 3) op, kind, offset into the parameters; (n, 2) growth and blend in mm;
            parameters.
        lattice: (z, y, x, 3) canonical x, y, z in mm at cell corners.
        cell: (3,) voxels a cell, z y x.
        tile: (n, n, n) periodic texture, unit variance.
        first_slice: slice of the grid at which `hu` begins, a multiple of `cell[0]`.
        reach_mm: half diagonal of the largest cell, canonical mm.
        edge_mm: half width of an edge.
        hu: (phases = 2, z, y, x) of the slab, written.
        labels: (3, z, y, x) of the slab, written.
    """
    nz, ny, nx = hu.shape[1], hu.shape[2], hu.shape[3]
    first_cell = first_slice // cell[0]
    cells_z = (nz + cell[0] - 1) // cell[0]
    active = np.empty(program[0].shape[0], dtype=np.int32)
    line = np.empty(6, dtype=np.float32)
    for part in range(spans.shape[0]):
        soft = np.sqrt(edge_mm * edge_mm + looks[part, 5] * looks[part, 5])
        far = reach_mm * SLACK + soft
        box = bounds[part]
        for cz in range(first_cell, first_cell + cells_z):
            for cy in range(lattice.shape[1] - 1):
                for cx in range(lattice.shape[2] - 1):
                    a, b = lattice[cz, cy, cx], lattice[cz + 1, cy + 1, cx + 1]
                    mx, my, mz = 0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1]), 0.5 * (a[2] + b[2])
                    if mz < box[2] - far or mz > box[5] + far or my < box[1] - far or my > box[4] + far:
                        continue
                    if mx < box[0] - far or mx > box[3] + far:
                        continue
                    middle, count = _approach(program, active, spans[part], far, mx, my, mz)
                    if middle > far:
                        continue
                    value = middle
                    for z in range((cz - first_cell) * cell[0], min((cz - first_cell + 1) * cell[0], nz)):
                        tz = z / cell[0] - (cz - first_cell)
                        for y in range(cy * cell[1], min((cy + 1) * cell[1], ny)):
                            _line(lattice, cz, cy, cx, tz, y / cell[1] - cy, cell[2], line)
                            for x in range(cx * cell[2], min((cx + 1) * cell[2], nx)):
                                t = x - cx * cell[2]
                                qx, qy, qz = (
                                    line[0] + line[3] * t,
                                    line[1] + line[4] * t,
                                    line[2] + line[5] * t,
                                )
                                if middle >= -far:
                                    value = _distance(program, active, count, qx, qy, qz)
                                    if value >= soft:
                                        continue
                                if channels[part] >= 0 and value < 0.0:
                                    k = channels[part]
                                    labels[k, z, y, x] = luts[part, labels[k, z, y, x]]
                                if looks[part, 4] > 0.0:
                                    alpha = min(1.0, 0.5 - 0.5 * value / soft) * looks[part, 4]
                                    grain = 0.0
                                    if looks[part, 2] > 0.0:
                                        scale = 1.0 / looks[part, 3]
                                        grain = looks[part, 2] * _tile(tile, qx * scale, qy * scale, qz * scale)
                                    hu[0, z, y, x] += alpha * (looks[part, 0] + grain - hu[0, z, y, x])
                                    hu[1, z, y, x] += alpha * (looks[part, 1] + grain - hu[1, z, y, x])


@_compiled
def _line(lattice: F32, cz: int, cy: int, cx: int, tz: float, ty: float, cell_x: int, line: F32) -> None:
    """Write start and step per voxel of the canonical position along one row of a cell."""
    for k in range(3):
        start = (1 - tz) * ((1 - ty) * lattice[cz, cy, cx, k] + ty * lattice[cz, cy + 1, cx, k])
        start += tz * ((1 - ty) * lattice[cz + 1, cy, cx, k] + ty * lattice[cz + 1, cy + 1, cx, k])
        stop = (1 - tz) * ((1 - ty) * lattice[cz, cy, cx + 1, k] + ty * lattice[cz, cy + 1, cx + 1, k])
        stop += tz * ((1 - ty) * lattice[cz + 1, cy, cx + 1, k] + ty * lattice[cz + 1, cy + 1, cx + 1, k])
        line[k] = start
        line[3 + k] = (stop - start) / cell_x
