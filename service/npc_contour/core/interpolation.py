"""Linear interpolation of one volume on the voxels of another grid, by SimpleITK.

A module of its own: importing SimpleITK takes 110 MB, and most pairs lie on the same voxels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.domain.geometry import Grid
from npc_contour.domain.volumes import Volume


def linear_onto(volume: Volume, grid: Grid) -> npt.NDArray[np.int16]:
    """Return (z, y, x) int16 HU of `grid.shape_zyx`: linear between voxels, empty outside the volume."""
    image = SimpleITK.GetImageFromArray(volume.hu)
    _place(image, volume.grid)
    lattice = SimpleITK.Image([1, 1, 1], SimpleITK.sitkInt16)
    _place(lattice, grid)
    size_xyz = [int(size) for size in reversed(grid.shape_zyx)]
    moved = SimpleITK.Resample(
        image,
        size_xyz,
        SimpleITK.Transform(3, SimpleITK.sitkIdentity),
        SimpleITK.sitkLinear,
        lattice.GetOrigin(),
        lattice.GetSpacing(),
        lattice.GetDirection(),
        float(volume.empty_value),
        SimpleITK.sitkFloat32,
    )
    values = SimpleITK.GetArrayViewFromImage(moved)
    hu = np.empty(grid.shape_zyx, dtype=np.int16)
    for index in range(len(hu)):  # slice by slice: no second float copy of the volume
        hu[index] = np.rint(values[index])
    return hu


def _place(image: SimpleITK.Image, grid: Grid) -> None:
    image.SetOrigin([float(value) for value in grid.origin_lps_mm])
    image.SetSpacing([float(value) for value in reversed(grid.spacing_zyx_mm)])
    columns_xyz = np.asarray(grid.direction_lps)[::-1].T
    image.SetDirection([float(value) for value in columns_xyz.ravel()])
