"""Masks in files: label maps and stacks of masks (NIfTI, MHA, NRRD, 3D Slicer, DICOM SEG) in, NIfTI out."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from npc_contour.adapters.masks.dicom_seg import is_dicom, read_segmentation
from npc_contour.adapters.masks.names import NamedLabels, write_names
from npc_contour.core.placing import Placement, placement
from npc_contour.domain.geometry import Grid
from npc_contour.domain.structures import MAX_NAME_LENGTH, InterpretedType
from npc_contour.errors import CaseRefused, VoxelFileError
from npc_contour.voxel_files import Voxels, labels_of, read_voxels

BoolArray = npt.NDArray[np.bool_]

MASK_ENDINGS = (".nii", ".nii.gz")
"""Of the files that `write_nifti` writes."""

_NIFTI_HEADER_BYTES = 352
_UINT8, _SFORM_SCANNER, _MM = 2, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """Masks on the axes of the planning grid.

    Attributes:
        array: (z, y, x) label map, or (channel, z, y, x) stack where anything but 0 is inside.
        rois: what the file itself names; () where it names nothing.
    """

    path: Path
    array: npt.NDArray[np.generic]
    rois: tuple[NamedLabels, ...] = ()

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
        """Return the union of labels or channels, (z, y, x)."""
        wanted = sorted(labels)
        if not self.is_stack:
            return np.isin(self.array, wanted)
        return np.asarray(np.any([self.array[label - 1] != 0 for label in wanted], axis=0))

    def unnamed(self, rois: Sequence[NamedLabels]) -> tuple[int, ...]:
        """Return the labels that a list of ROIs leaves out on purpose.

        Raises:
            CaseRefused: it does not suit this file: a channel is missing or has no name, or it counts on and stops
                before the last label.
        """
        held, named = set(self.labels()), {label for roi in rois for label in roi.labels}
        left = tuple(sorted(held - named))
        if self.is_stack and held != named:
            raise CaseRefused(
                f"{self.path} holds {len(held)} masks, the names are those of {_listed(named)}: every mask needs a name"
            )
        if left and any(roi.counted for roi in rois):
            raise CaseRefused(
                f"{self.path} holds the labels {_listed(held)}, the list names {len(rois)} by their place only: name"
                " every label, or write the numbers before the names"
            )
        return left


def read_mask_file(path: Path, grid: Grid) -> MaskFile:
    """Read a label map or a stack of masks that lies on the planning grid; axes may be swapped or flipped.

    Of 3D Slicer's segmentations, and of DICOM's, a part of the planning grid is enough.

    Raises:
        CaseRefused: the file is not whole, lies on another grid, or holds what is no label.
    """
    if is_dicom(path):
        return _read_dicom(path, grid)
    voxels = read_voxels(path)
    segments = _slicer_segments(voxels)
    place = _placement(path, voxels.grid, grid, part=bool(segments))
    values = labels_of(voxels.array, path)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 3:
        return MaskFile(path, place.apply(values, grid.shape_zyx), tuple(roi for _, roi in segments))
    if segments:
        parts = [values[layer] == min(roi.labels) for layer, roi in segments]
        segments = [(0, replace(roi, labels=frozenset({n}))) for n, (_, roi) in enumerate(segments, start=1)]
    else:
        parts = list(values)
    stack = np.stack([place.apply(part, grid.shape_zyx) for part in parts])
    return MaskFile(path, stack, tuple(roi for _, roi in segments))


def _read_dicom(path: Path, grid: Grid) -> MaskFile:
    own, segments = read_segmentation(path, grid.frame_of_reference_uid)
    place = _placement(path, own, grid, part=True)
    rois = []
    for number, segment in enumerate(segments, start=1):
        if len(segment.name) > MAX_NAME_LENGTH:
            raise VoxelFileError(f"{path}: segment {number} has a name of {len(segment.name)} characters")
        roi = NamedLabels(segment.name, frozenset({number}), InterpretedType.ORGAN, colour_rgb=segment.colour_rgb)
        rois.append(roi)
    stack = np.stack([place.apply(segment.mask, grid.shape_zyx) for segment in segments])
    return MaskFile(path, stack, tuple(rois))


def _placement(path: Path, own: Grid, grid: Grid, *, part: bool) -> Placement:
    try:
        return placement(own, grid, part=part)
    except CaseRefused as error:
        raise CaseRefused(f"{path}: {error}") from error


def _slicer_segments(voxels: Voxels) -> list[tuple[int, NamedLabels]]:
    """Return (layer, segment) of what 3D Slicer wrote in its .seg.nrrd; [] for other files."""
    segments = []
    for number in range(len(voxels.notes)):
        about = {
            key: voxels.notes.get(f"Segment{number}_{key}", "") for key in ("Name", "LabelValue", "Layer", "Color")
        }
        if not about["LabelValue"]:
            break
        try:
            layer, label = int(about["Layer"] or 0), int(about["LabelValue"])
            colour = [round(255 * float(part)) for part in about["Color"].split()]
        except ValueError as error:
            raise VoxelFileError(f"{voxels.path}: segment {number} cannot be read: {error}") from error
        if len(about["Name"]) > MAX_NAME_LENGTH or label < 1 or layer >= max(len(voxels.array), 1):
            raise VoxelFileError(
                f"{voxels.path}: segment {number} ({about['Name']!r}) has label {label}, layer {layer}"
            )
        rgb = (colour[0], colour[1], colour[2]) if len(colour) == 3 else None
        roi = NamedLabels(about["Name"], frozenset({label}), InterpretedType.ORGAN, colour_rgb=rgb)
        segments.append((layer, roi))
    return segments


def _listed(labels: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(labels))) or "none"


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
    if not path.name.endswith(MASK_ENDINGS):
        raise ValueError(f"{path.name}: expected a name that ends with {' or '.join(MASK_ENDINGS)}")
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
    write_names(listed, names)
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
