"""Masks in files: label maps and stacks of masks (NIfTI, MHA, NRRD) in, NIfTI out."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.domain.geometry import Grid
from npc_contour.domain.structures import InterpretedType
from npc_contour.errors import CaseRefused

BoolArray = npt.NDArray[np.bool_]

MAX_CORNER_OFF_PX = 0.1
"""How far a corner of the masks' grid may lie from the CT's, in voxels."""

_NIFTI_HEADER_BYTES = 352
_UINT8, _SFORM_SCANNER, _MM = 2, 1, 2


@dataclass(frozen=True, slots=True)
class NamedLabels:
    """One ROI of a names file: `labels` are label values of a map, or channels of a stack counted from 1."""

    name: str
    labels: frozenset[int]
    interpreted_type: InterpretedType


def read_names(path: Path) -> tuple[NamedLabels, ...]:
    """Read which ROI is which label.

    One ROI a line: `[LABELS] NAME [TYPE]`. LABELS are whole numbers joined by commas, united; without them the ROI
    is the label (or channel) of its number in the list. TYPE is ORGAN (the default), GTV, CTV or EXTERNAL. Lines
    that are empty or start with # are left out.

    Raises:
        CaseRefused: a line cannot be read; it is named.
    """
    rois: list[NamedLabels] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        labels = frozenset({len(rois) + 1})
        if len(words) > 1 and re.fullmatch(r"\d+(,\d+)*", words[0]):
            labels = frozenset(map(int, words.pop(0).split(",")))
        kind = InterpretedType.ORGAN
        if len(words) > 1:
            if words[1] not in set(InterpretedType):
                raise CaseRefused(f"{path}, line {number}: type {words[1]!r}, expected one of {[*InterpretedType]}")
            kind = InterpretedType(words[1])
        if len(words) > 2 or min(labels) < 1:
            raise CaseRefused(f"{path}, line {number}: {line!r}, expected [LABELS] NAME [TYPE]")
        rois.append(NamedLabels(words[0], labels, kind))
    if len({roi.name.casefold() for roi in rois}) != len(rois):
        raise CaseRefused(f"{path}: two ROIs have one name")
    return tuple(rois)


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """Masks on the axes of the planning grid.

    Attributes:
        array: (z, y, x) label map, or (channel, z, y, x) stack where anything but 0 is inside.
    """

    array: npt.NDArray[np.generic]

    @property
    def is_stack(self) -> bool:
        """Whether each channel is an ROI, rather than each label."""
        return self.array.ndim == 4

    def labels(self) -> tuple[int, ...]:
        """Return the labels that occur, or the numbers of all channels from 1 on."""
        if self.is_stack:
            return tuple(range(1, len(self.array) + 1))
        return tuple(int(label) for label in np.unique(self.array) if label != 0)

    def mask(self, labels: Iterable[int]) -> BoolArray:
        """Return the union of labels or channels, (z, y, x).

        Raises:
            CaseRefused: the stack has no such channel.
        """
        wanted = sorted(labels)
        if not self.is_stack:
            return np.isin(self.array, wanted)
        if wanted[-1] > len(self.array):
            raise CaseRefused(f"channel {wanted[-1]} is asked for, the file has {len(self.array)}")
        return np.asarray(np.any([self.array[label - 1] != 0 for label in wanted], axis=0))


def read_mask_file(path: Path, grid: Grid) -> MaskFile:
    """Read a label map or a stack of masks that lies on the planning grid; axes may be flipped.

    Raises:
        CaseRefused: the file cannot be read or lies on another grid.
    """
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise CaseRefused(f"{path} cannot be read as an image: {str(error).strip().splitlines()[-1]}") from error
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetDimension() == 3 and image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    if array.shape[-3:] != grid.shape_zyx:
        raise CaseRefused(f"{path} has {array.shape[-3:]} voxels (z, y, x), the CT has {grid.shape_zyx}")
    far = [size - 1 for size in image.GetSize()[:3]]
    first, last = (grid.to_index_zyx(_place(image, corner)) for corner in ([0, 0, 0], far))
    flipped = tuple(axis for axis in range(3) if first[axis] > last[axis])
    low, high = np.minimum(first, last), np.maximum(first, last)
    off = float(max(np.abs(low).max(), np.abs(high - np.subtract(grid.shape_zyx, 1)).max()))
    if off > MAX_CORNER_OFF_PX:
        raise CaseRefused(f"{path} lies on another grid than the CT: a corner is {off:.2f} voxels away")
    return MaskFile(np.flip(array, tuple(axis - 3 for axis in flipped)))


def _place(image: SimpleITK.Image, index_xyz: Sequence[int]) -> npt.NDArray[np.float64]:
    """LPS position of a voxel of the first channel."""
    extra = [0] * (image.GetDimension() - 3)
    return np.array(image.TransformIndexToPhysicalPoint([*index_xyz, *extra])[:3])


def write_nifti(path: Path, masks: Iterable[BoolArray], count: int, grid: Grid) -> None:
    """Write masks as a 4-D NIfTI-1 file of 0 and 1, one volume an ROI, without holding them all.

    Args:
        path: ends with .nii or .nii.gz.
        masks: `count` masks, (z, y, x), on the grid.
        count: how many.
        grid: where the voxels lie; written as sform and qform-free, RAS.

    Raises:
        ValueError: another ending, or another number of masks.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"{path.name}: expected a name that ends with .nii or .nii.gz")
    written = 0
    with _opened(path) as file:
        file.write(_nifti_header(grid, count))
        for mask in masks:
            file.write(np.ascontiguousarray(mask).view(np.uint8).tobytes())
            written += 1
    if written != count:
        raise ValueError(f"{written} masks were given, {count} announced")


def write_named_masks(path: Path, masks: Iterable[BoolArray], names: Sequence[str], grid: Grid) -> Path:
    """Write masks as `write_nifti` does, and their names in order in a text file beside it, which is returned."""
    write_nifti(path, masks, len(names), grid)
    listed = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".names.txt")
    listed.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return listed


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
            yield file  # type: ignore[misc]
    else:
        with path.open("wb") as file_:
            yield file_


def _nifti_header(grid: Grid, count: int) -> bytes:
    """NIfTI-1 header (nifti1.h): uint8, mm, sform from the grid turned from LPS to RAS."""
    depth, rows, columns = grid.shape_zyx
    step_z, step_y, step_x = grid.spacing_zyx_mm
    affine = np.zeros((3, 4))
    affine[:, :3] = (np.asarray(grid.direction_lps) * np.asarray(grid.spacing_zyx_mm)[:, np.newaxis])[::-1].T
    affine[:, 3] = grid.origin_lps_mm
    affine[:2] *= -1
    header = bytearray(_NIFTI_HEADER_BYTES)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 4, columns, rows, depth, count, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _UINT8, 8)
    struct.pack_into("<8f", header, 76, 1.0, step_x, step_y, step_z, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<3f", header, 108, _NIFTI_HEADER_BYTES, 1.0, 0.0)
    struct.pack_into("<B", header, 123, _MM)
    struct.pack_into("<2h", header, 252, 0, _SFORM_SCANNER)
    struct.pack_into("<12f", header, 280, *affine.ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)
