"""Blocks of voxels in one pass over a volume."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled

Int16Array = npt.NDArray[np.int16]
Float32Array = npt.NDArray[np.float32]


@compiled
def fold(voxels: Int16Array, rows: int, columns: int) -> tuple[Float32Array, Int16Array, Int16Array]:
    """Return mean, highest and lowest value of each block of one slice, `rows` by `columns` voxels.

    Args:
        voxels: (z, y, x), C-contiguous; what is over at the end of a row or column is left out.
        rows: of a block, along y.
        columns: of a block, along x.
    """
    slices, height, width = voxels.shape[0], voxels.shape[1] // rows, voxels.shape[2] // columns
    mean = np.empty((slices, height, width), dtype=np.float32)
    highest = np.empty((slices, height, width), dtype=np.int16)
    lowest = np.empty((slices, height, width), dtype=np.int16)
    sums = np.empty(width, dtype=np.int64)
    for z in range(slices):
        for y in range(height):
            sums[:] = 0
            highest[z, y] = -32768
            lowest[z, y] = 32767
            for row in range(y * rows, (y + 1) * rows):
                for x in range(width):
                    for column in range(x * columns, (x + 1) * columns):
                        value = voxels[z, row, column]
                        sums[x] += value
                        highest[z, y, x] = max(highest[z, y, x], value)
                        lowest[z, y, x] = min(lowest[z, y, x], value)
            for x in range(width):
                mean[z, y, x] = np.float32(sums[x]) / np.float32(rows * columns)
    return mean, highest, lowest
