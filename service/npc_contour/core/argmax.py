"""Exact argmax of interpolated class maps, without interpolating them.

Linear interpolation is a convex combination, so a voxel whose eight corners agree on the largest class has that class.
The same holds for regions, where the last output above a threshold wins: it is above at every corner, all later ones
are not.
Only voxels where the corners disagree (a few per cent) are interpolated, all classes of one voxel at a time. The result
is the label of every voxel of the full interpolation, at a fraction of its time and none of its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
LookupFields = tuple[Int32Array, Float32Array, int]

MIXED = 255
"""Mark of a cell whose corners disagree; class 255 is therefore always interpolated, which is merely slower."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisLookup:
    """Where the voxels of a fine axis lie between those of a coarse one.

    Attributes:
        lower: (fine,) int32, the coarse voxel below; the one above is `min(lower + 1, coarse - 1)`.
        fraction: (fine,) float32 in [0, 1), the weight of the one above.
        coarse: length of the coarse axis.
    """

    lower: Int32Array
    fraction: Float32Array
    coarse: int

    @property
    def fields(self) -> LookupFields:
        """What a compiled kernel takes."""
        return self.lower, self.fraction, self.coarse


def axis_lookup(coarse: int, fine: int) -> AxisLookup:
    """Return the lookup of two axes over the same extent: pixel centres aligned, edges repeated."""
    position = np.clip((np.arange(fine) + 0.5) * (coarse / fine) - 0.5, 0.0, coarse - 1.0)
    lower = np.floor(position).astype(np.int32)
    fraction = (position - lower).astype(np.float32)
    # Rounding to float32 may reach one; the voxel is then the next one.
    full = fraction >= 1.0
    lower[full] += 1
    fraction[full] = 0.0
    return AxisLookup(lower, fraction, coarse)


LARGEST = np.float32(np.nan)
"""In the place of a threshold: outputs compete, the largest wins."""


@compiled(inline="always")
def _decide(values: Float32Array, threshold: np.float32) -> int:
    """Return the largest class, the lowest of equals; with a threshold 1 + the last output above it, 0 for none."""
    label = 0
    if np.isnan(threshold):
        best = values[0]
        for k in range(1, values.shape[0]):
            if values[k] > best:
                best = values[k]
                label = k
    else:
        for k in range(values.shape[0]):
            if values[k] > threshold:
                label = k + 1
    return label


@compiled
def largest_class(
    slab: Float32Array, labels: UInt8Array, first: int, last: int, threshold: np.float32 = LARGEST
) -> int:
    """Write the class of each voxel of some planes; return how many voxels are not numbers.

    Args:
        slab: (planes, y, x, classes) float32; plane z of the grid is row z modulo planes.
        labels: (planes, y, x) uint8, rows as in `slab`; written.
        first: first plane of the grid.
        last: the plane after the last.
        threshold: of regions; LARGEST takes the largest class.
    """
    broken = 0
    for z in range(first, last):
        row = z % slab.shape[0]
        for y in range(slab.shape[1]):
            for x in range(slab.shape[2]):
                broken += np.isnan(slab[row, y, x, 0])
                labels[row, y, x] = _decide(slab[row, y, x], threshold)
    return broken


@compiled
def _unite(labels: UInt8Array, below: int, above: int, cells: UInt8Array) -> None:
    """Write the class that the eight corners of each cell share, or MIXED; cells at the far border repeat the edge."""
    rows, columns = cells.shape
    for y in range(rows):
        y1 = min(y + 1, rows - 1)
        for x in range(columns):
            x1 = min(x + 1, columns - 1)
            label = labels[below, y, x]
            same = (
                label == labels[below, y, x1]
                and label == labels[below, y1, x]
                and label == labels[below, y1, x1]
                and label == labels[above, y, x]
                and label == labels[above, y, x1]
                and label == labels[above, y1, x]
                and label == labels[above, y1, x1]
            )
            cells[y, x] = label if same else MIXED


@compiled
def interpolated_argmax(  # noqa: PLR0913, PLR0917 - a compiled kernel takes no dataclass
    slab: Float32Array,
    labels: UInt8Array,
    offset_zyx: tuple[int, int, int],
    lookups_zyx: tuple[LookupFields, LookupFields, LookupFields],
    out: UInt8Array,
    first: int,
    last: int,
    threshold: np.float32 = LARGEST,
) -> None:
    """Write the labels of some fine slices; calls on disjoint slices may run in parallel.

    Args:
        slab: (planes, y, x, classes) float32 class maps; plane z of the padded grid is row z modulo planes.
        labels: (planes, y, x) uint8 from `largest_class` for the planes the slices need.
        offset_zyx: where the coarse grid begins in the padded one.
        lookups_zyx: `AxisLookup.fields` along each axis.
        out: (fine z, fine y, fine x) uint8; slices `first` to `last` are written.
        first: first fine slice.
        last: the slice after the last.
        threshold: as given to `largest_class`.
    """
    planes = slab.shape[0]
    classes = slab.shape[3]
    (z_lower, z_fraction, z_size), (y_lower, y_fraction, y_size), (x_lower, x_fraction, x_size) = lookups_zyx
    oz, oy, ox = offset_zyx
    window = labels[:, oy : oy + y_size, ox : ox + x_size]
    cells = np.empty((y_size, x_size), np.uint8)
    # The class maps of one fine row at the coarse columns, made where a voxel asks for them.
    line = np.empty((x_size, classes), np.float32)
    made = np.empty(x_size, np.bool_)
    values = np.empty(classes, np.float32)
    known = -1
    for i in range(first, last):
        below = (oz + z_lower[i]) % planes
        above = (oz + min(z_lower[i] + 1, z_size - 1)) % planes
        if z_lower[i] != known:
            _unite(window, below, above, cells)
            known = z_lower[i]
        for j in range(out.shape[1]):
            y0 = y_lower[j]
            y1 = min(y0 + 1, y_size - 1)
            made[:] = False
            for k in range(out.shape[2]):
                x0 = x_lower[k]
                label = cells[y0, x0]
                if label == MIXED:
                    x1 = min(x0 + 1, x_size - 1)
                    for x_coarse in range(x0, x1 + 1):
                        if not made[x_coarse]:
                            _bilinear(
                                slab[below, oy + y0, ox + x_coarse],
                                slab[below, oy + y1, ox + x_coarse],
                                slab[above, oy + y0, ox + x_coarse],
                                slab[above, oy + y1, ox + x_coarse],
                                y_fraction[j],
                                z_fraction[i],
                                line[x_coarse],
                            )
                            made[x_coarse] = True
                    label = _between(line[x0], line[x1], x_fraction[k], values, threshold)
                out[i, j, k] = label


@compiled
def _between(
    low: Float32Array, high: Float32Array, fraction: np.float32, values: Float32Array, threshold: np.float32
) -> int:
    """Interpolate all classes between two columns and decide; `values` is room to work in."""
    for c in range(values.shape[0]):
        values[c] = _lerp(low[c], high[c], fraction)
    return _decide(values, threshold)


@compiled
def _bilinear(
    below_near: Float32Array,
    below_far: Float32Array,
    above_near: Float32Array,
    above_far: Float32Array,
    fraction_y: np.float32,
    fraction_z: np.float32,
    out: Float32Array,
) -> None:
    """Interpolate all classes along y, then z."""
    for c in range(out.shape[0]):
        out[c] = _lerp(
            _lerp(below_near[c], below_far[c], fraction_y), _lerp(above_near[c], above_far[c], fraction_y), fraction_z
        )


@compiled(inline="always")
def _lerp(low: np.float32, high: np.float32, fraction: np.float32) -> np.float32:
    return low * (np.float32(1.0) - fraction) + high * fraction
