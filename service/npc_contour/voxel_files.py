"""Files of voxels (NIfTI, NRRD, MetaImage): proved to be whole, placed in the patient, labels where labels are asked.

The one way in for masks, training data and what is evaluated. SimpleITK reads them; what it lets pass is caught here:
of a NIfTI file it fills what was cut off, and what is NaN, with zeros; and it takes fractions and negative numbers for
labels.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.domain.geometry import Grid, Vec3
from npc_contour.errors import VoxelFileError

MOST_LABEL = 2**31 - 1
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_HEADER_BYTES = 540
_MOST_TEXT = 1 << 20
_FLOATING = {16: "f4", 64: "f8"}
"""NIfTI data types."""


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """What a file holds.

    Attributes:
        array: (z, y, x), or (channel, z, y, x).
        grid: where the voxels lie, without a frame of reference.
        notes: the file's own keys and values, as NRRD has them.
    """

    path: Path
    array: npt.NDArray[np.generic]
    grid: Grid
    notes: dict[str, str]


def read_image(path: Path) -> SimpleITK.Image:
    """Read a file that is whole.

    Raises:
        VoxelFileError: it is cut short, damaged, or no image.
    """
    try:
        fault = _fault(path)
    except OSError as error:
        raise VoxelFileError(f"{path} cannot be read as an image: {error.strerror}") from error
    if fault:
        raise VoxelFileError(f"{path} {fault}")
    try:
        return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1].partition("Reason:")[0].strip()
        reason = f": {said}" if said else ""
        raise VoxelFileError(f"{path} cannot be read as an image, or is cut short{reason}") from error


def read_voxels(path: Path) -> Voxels:
    """Read a volume, or a stack of volumes that share a grid.

    Raises:
        VoxelFileError: it is not whole, or has other axes than three in the patient.
    """
    image = read_image(path)
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    if image.GetDimension() not in (3, 4) or array.ndim > 4:
        raise VoxelFileError(f"{path} has the shape {array.shape}, expected (z, y, x) or (channel, z, y, x)")
    notes = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return Voxels(path, array, grid_of(image, path), notes)


def grid_of(image: SimpleITK.Image, path: Path) -> Grid:
    """Return where an image's voxels lie; of four axes the first three count.

    Raises:
        VoxelFileError: its axes are sheared, or its place is not finite.
    """
    axes = image.GetDimension()
    columns = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    x, y, z = (float(step) for step in image.GetSpacing()[:3])
    origin = np.array(image.GetOrigin()[:3])
    if not (np.isfinite(columns).all() and np.isfinite(origin).all() and all(map(math.isfinite, (x, y, z)))):
        raise VoxelFileError(f"{path} has a place in the patient that is not finite")
    size = image.GetSize()
    try:
        return Grid(
            (size[2], size[1], size[0]),
            (z, y, x),
            _vec3(origin),
            (_vec3(columns[:, 2]), _vec3(columns[:, 1]), _vec3(columns[:, 0])),
            "",
        )
    except ValueError as error:
        raise VoxelFileError(f"{path} has axes that do not stand at right angles: {error}") from error


def labels_of(array: npt.NDArray[np.generic], path: Path, most: int = MOST_LABEL) -> npt.NDArray[np.integer]:
    """Return values that are labels, as whole numbers.

    Raises:
        VoxelFileError: a value is not finite, negative, no whole number, or above `most`.
    """
    floating = np.issubdtype(array.dtype, np.floating)
    if floating and not np.isfinite(array).all():
        raise VoxelFileError(f"{path} holds values that are not finite, expected labels")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < 0 or high > most:
        upper = "on" if most == MOST_LABEL else f"to {most}"
        raise VoxelFileError(f"{path} holds values from {low:g} to {high:g}, expected labels from 0 {upper}")
    if floating and not np.array_equal(array, np.rint(array)):
        raise VoxelFileError(f"{path} holds values between whole numbers, as probabilities are: expected labels")
    if not floating:
        return array  # type: ignore[return-value]
    return array.astype(np.uint8 if high < 256 else np.int32)


def _vec3(vector: npt.NDArray[np.float64]) -> Vec3:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _fault(path: Path) -> str:
    """Return what of a file is not whole, as far as SimpleITK does not see it itself; "" where nothing is."""
    headed = path.with_suffix(".hdr")
    with (headed if path.suffix == ".img" and headed.is_file() else path).open("rb") as file:
        header = file.read(_MOST_TEXT)
        try:
            if header.startswith(_GZIP):
                file.seek(0)
                start, length = _unpacked(file)
                file.seek(0)
                return _nifti_fault(start, length, gzip.GzipFile(fileobj=file))
            if header.startswith(b"NRRD") and (voxels := _packed_nrrd(header)):
                file.seek(voxels)
                _unpacked(file)
        except EOFError:
            return "is cut short: its compressed data end too soon"
        except (zlib.error, OSError) as error:
            return f"is damaged: {error}"
    voxels_of = path if _is_single_file(header) else path.with_suffix(".img")
    if not voxels_of.is_file():
        return ""
    with voxels_of.open("rb") as file:
        return _nifti_fault(header, voxels_of.stat().st_size, file)


def _unpacked(file: IO[bytes]) -> tuple[bytes, int]:
    """Return the beginning and the length of what a gzip stream holds, once its checksum was seen to be right."""
    with gzip.GzipFile(fileobj=file) as stream:
        start = stream.read(_HEADER_BYTES)
        length = len(start)
        while chunk := stream.read(_CHUNK):
            length += len(chunk)
    return start, length


def _packed_nrrd(header: bytes) -> int:
    """Return where the gzip stream of a NRRD file starts; 0 where it has none in the same file."""
    end = re.search(rb"\r?\n\r?\n", header)
    text = header[: end.start()].lower() if end else b""
    packed = re.search(rb"\nencoding: *(gzip|gz)\b", text) and not re.search(
        rb"\n(data ?file|byte ?skip|line ?skip):", text
    )
    return end.end() if end and packed else 0


def _nifti_fault(header: bytes, held: int, file: IO[bytes] | gzip.GzipFile) -> str:
    """Return what is wrong with the voxels of a NIfTI file, of which there are `held` bytes; "" for other formats."""
    asked = _asked(header)
    if asked is None:
        return ""
    if held < asked.end:
        return f"is cut short: {held} bytes, its header asks for {asked.end}"
    if asked.number is not None:
        file.seek(asked.start)
        for start in range(asked.start, asked.end, _CHUNK):
            numbers = np.frombuffer(file.read(min(_CHUNK, asked.end - start)), asked.number)
            if not np.isfinite(numbers).all():
                return "holds values that are not finite"
    return ""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where a header says that the voxels lie, in bytes; and their type where it is a floating one of 4 or 8 bytes."""

    start: int
    end: int
    number: np.dtype[np.floating] | None


def _asked(header: bytes) -> _Asked | None:
    """Return what a NIfTI header (nifti1.h, nifti2.h) asks for; None for other formats."""
    for order in "<>":
        if header[:4] == struct.pack(order + "i", 348) and len(header) >= 348:
            dimensions = struct.unpack_from(order + "8h", header, 40)
            (kind, bits), (offset,) = (
                struct.unpack_from(order + "2h", header, 70),
                struct.unpack_from(order + "f", header, 108),
            )
        elif header[:4] == struct.pack(order + "i", 540) and len(header) >= 540:
            dimensions = struct.unpack_from(order + "8q", header, 16)
            (kind, bits), (offset,) = (
                struct.unpack_from(order + "2h", header, 12),
                struct.unpack_from(order + "q", header, 168),
            )
        else:
            continue
        axes = dimensions[1 : 1 + min(max(dimensions[0], 0), 7)]
        start = int(offset) if _is_single_file(header) and math.isfinite(offset) else 0
        end = start + math.prod(max(int(size), 1) for size in axes) * max(int(bits), 0) // 8
        name = _FLOATING.get(kind)
        return _Asked(start, end, np.dtype(order + name) if name else None)
    return None


def _is_single_file(header: bytes) -> bool:
    """Whether header and voxels are in one file: n+1 and n+2; an older pair of files has ni1, ni2 or nothing."""
    return header[344:347] == b"n+1" or header[4:7] == b"n+2"
