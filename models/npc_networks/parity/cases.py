"""Cases as nnU-Net names them: one file per channel, `CASE_0000.nii.gz`, `CASE_0001.nii.gz`, ..."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.domain.geometry import Vec3
from npc_contour.errors import VoxelFileError
from npc_contour.voxel_files import read_image
from npc_networks.parity.original import ParityRefused

FIRST = "_0000"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One case.

    Attributes:
        hu: (channel, z, y, x) int16.
    """

    name: str
    files: tuple[Path, ...]
    hu: npt.NDArray[np.int16]
    spacing_zyx_mm: Vec3


def read_case(path: Path, channels: int) -> Case:
    """Read a case by its first file.

    Args:
        path: `CASE_0000.nii.gz` (other endings as SimpleITK reads them); any name where there is one channel.
        channels: that the network takes.

    Raises:
        ParityRefused: a file is missing or no image, grids differ, or values are no whole HU.
    """
    if channels > 1 and FIRST not in path.name:
        raise ParityRefused(f"{path}: the network takes {channels} channels, name the first file CASE{FIRST}.*")
    files = tuple(path.with_name(path.name.replace(FIRST, f"_{index:04d}")) for index in range(channels))
    images = [_read(file) for file in files]
    frames = {(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()) for image in images}
    if len(frames) > 1:
        raise ParityRefused(f"{path}: the channels lie on {len(frames)} different grids")
    hu = np.stack([_whole(image, path) for image in images])
    x, y, z = (float(value) for value in images[0].GetSpacing())
    return Case(path.name.split(".")[0].replace(FIRST, ""), files, hu, (z, y, x))


def _whole(image: SimpleITK.Image, path: Path) -> npt.NDArray[np.int16]:
    """Return the voxels as they are; a view where they are 16 bits already, for a scan is large."""
    values = SimpleITK.GetArrayViewFromImage(image)
    hu: npt.NDArray[np.int16] = values.astype(np.int16, copy=False)
    if values.ndim != 3 or (hu is not values and not np.array_equal(hu, values)):
        raise ParityRefused(f"{path}: expected three axes and whole numbers that fit 16 bits, as Hounsfield units are")
    return hu


def _read(path: Path) -> SimpleITK.Image:
    try:
        return read_image(path)
    except VoxelFileError as error:
        raise ParityRefused(str(error)) from error
