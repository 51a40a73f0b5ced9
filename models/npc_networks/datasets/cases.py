"""Cases of a public data set as files: which images, which labels, what was drawn, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.errors import VoxelFileError
from npc_contour.voxel_files import labels_of
from npc_contour.voxel_files import read_image as read_whole

UInt8Array = npt.NDArray[np.uint8]

MOST_UNEVEN_MM = 0.1
"""How far a slice may lie from where even spacing along the normal puts it."""
SAME_MM = 1e-3
LEAST_COVERED = 0.9
"""Of the image that was drawn on: a CT of the same patient that covers less lies elsewhere, or is cut."""
AIR_HU = -1024.0


class CaseRefused(ValueError):
    """One case cannot be read; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Organs:
    """Masks of whole structures, which may overlap, where labels do not.

    Attributes:
        masks: by the labels that make a structure.
        structures: the labels that make each structure there is.
    """

    masks: Mapping[frozenset[int], Path]
    structures: tuple[frozenset[int], ...]


@dataclass(frozen=True, slots=True)
class RawCase:
    """One training case.

    Attributes:
        patient: cases of one patient stay in one fold.
        images: one per channel, files or folders of DICOM slices.
        labels: a label map, or one mask per structure by label; smaller structures lie on top.
        drawn: labels that were drawn in this case; None says all.
        complete: False where only some instances of a structure were drawn.
        grid: which image's grid is the case's: the one that was drawn on.
        organs: laid over the label map, as corrections of it; with `labels` empty they are all there is.
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    labels: Path | Mapping[int, Path]
    drawn: frozenset[int] | None = None
    complete: bool = True
    grid: int = 0
    organs: Organs | None = None


def read_image(path: Path) -> SimpleITK.Image:
    """Read a file, or a folder with the slices of one DICOM series; axes run to the patient's left, back and head.

    Other axes are swapped and turned, however the file stores them: the service shows networks every patient so.

    Raises:
        CaseRefused: no image, one that is cut short, several series, or slices that are not evenly spaced.
    """
    try:
        image = _read_series(path) if path.is_dir() else read_whole(path)
    except VoxelFileError as error:
        raise CaseRefused(str(error)) from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CaseRefused(f"{path} cannot be read: {reason}") from error
    if image.GetDimension() != 3:
        raise CaseRefused(f"{path} has {image.GetDimension()} dimensions, expected 3")
    lps: SimpleITK.Image = SimpleITK.DICOMOrient(image, "LPS")
    return lps


def read_labels(case: RawCase, grid: SimpleITK.Image) -> UInt8Array:
    """Return the label of every voxel of the case's grid, (z, y, x); nearest neighbour where the files have another.

    Raises:
        CaseRefused: a file cannot be read, or a label is negative or above 255.
    """
    if case.organs is not None:
        corrected = {made_of: _labels(path, grid) != 0 for made_of, path in case.organs.masks.items()}
        whole = np.zeros(grid.GetSize()[::-1], dtype=np.uint8)
        drawn = _labels(case.labels, grid).astype(np.uint8) if isinstance(case.labels, Path) else whole
        return relabelled(drawn, corrected, case.organs.structures)
    if isinstance(case.labels, Path):
        return _labels(case.labels, grid).astype(np.uint8)
    masks = {label: _labels(path, grid) != 0 for label, path in sorted(case.labels.items())}
    merged = np.zeros(grid.GetSize()[::-1], dtype=np.uint8)
    for label, mask in sorted(masks.items(), key=lambda item: -int(item[1].sum())):
        merged[mask] = label
    return merged


def relabelled(
    labels: UInt8Array, masks: Mapping[frozenset[int], npt.NDArray[np.bool_]], structures: Sequence[frozenset[int]]
) -> UInt8Array:
    """Return a label map in which structures are what their masks say.

    A voxel's structures are those of its label, but for the ones that have a mask: of those it is where the mask is.
    It gets the label that belongs to just these structures; where none does, the one that differs in the fewest, and
    of those the one that shares the most.

    Args:
        labels: (z, y, x), exclusive.
        masks: of some structures or all, by the labels that make each; (z, y, x).
        structures: the labels that make each structure; 64 at most.
    """
    most = max((max(one) for one in structures), default=0)
    codes = np.zeros(most + 1, dtype=np.uint64)
    bits = {made_of: np.uint64(1) << np.uint64(number) for number, made_of in enumerate(structures)}
    for made_of, bit in bits.items():
        codes[sorted(made_of)] |= bit
    before = codes[labels]
    after = before.copy()
    for made_of, mask in masks.items():
        after = np.where(mask, after | bits[made_of], after & ~bits[made_of])
    changed = after != before
    kinds, which = np.unique(after[changed], return_inverse=True)
    differing = np.bitwise_count(kinds[:, np.newaxis] ^ codes).astype(np.int64)
    shared = np.bitwise_count(kinds[:, np.newaxis] & codes).astype(np.int64)
    nearest = (differing * (len(structures) + 1) - shared).argmin(axis=1)
    merged = labels.copy()
    merged[changed] = nearest.astype(np.uint8)[which]
    return merged


def _labels(path: Path, grid: SimpleITK.Image) -> npt.NDArray[np.integer]:
    image = read_image(path)
    try:
        labels_of(SimpleITK.GetArrayViewFromImage(image), path, most=255)
        return labels_of(on_grid(image, grid, path, labels=True), path, most=255)
    except VoxelFileError as error:
        raise CaseRefused(str(error)) from error


def on_grid(
    image: SimpleITK.Image,
    grid: SimpleITK.Image,
    path: Path,
    *,
    labels: bool = False,
    outside: float = 0.0,
    covered: float = 0.0,
) -> npt.NDArray[np.generic]:
    """Return an image's voxels on a grid, (z, y, x), by its position in the scanner.

    Args:
        image: to be moved.
        grid: where to.
        path: of the image, for messages.
        labels: nearest neighbour in place of linear.
        outside: value of voxels that the image does not cover.
        covered: least share of the grid that it must cover.

    Raises:
        CaseRefused: the two have no voxel in common, or the image covers less than it must.
    """
    if _same_grid(image, grid):
        voxels: npt.NDArray[np.generic] = SimpleITK.GetArrayFromImage(image)
        return voxels
    how = SimpleITK.sitkNearestNeighbor if labels else SimpleITK.sitkLinear
    inside = SimpleITK.Image(image.GetSize(), SimpleITK.sitkUInt8) + 1
    inside.CopyInformation(image)
    seen = SimpleITK.Resample(inside, grid, interpolator=SimpleITK.sitkNearestNeighbor)
    share = float(np.mean(SimpleITK.GetArrayFromImage(seen)))
    if not share:
        raise CaseRefused(f"{path} has no voxel in common with the image that was drawn on")
    if share < covered:
        raise CaseRefused(
            f"{path} covers {share:.0%} of the image that was drawn on, expected {covered:.0%} at least: it is cut, or"
            " lies elsewhere"
        )
    moved: npt.NDArray[np.generic] = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(image, grid, interpolator=how, defaultPixelValue=outside)
    )
    return moved


def like(voxels: npt.NDArray[np.generic], grid: SimpleITK.Image) -> SimpleITK.Image:
    """Return voxels (z, y, x) as an image on a grid."""
    image = SimpleITK.GetImageFromArray(voxels)
    image.CopyInformation(grid)
    return image


def _read_series(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    series: Sequence[str] = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise CaseRefused(f"{folder} holds {len(series)} DICOM series, expected one")
    files: Sequence[str] = reader.GetGDCMSeriesFileNames(str(folder), series[0])
    uneven_mm = _uneven_mm(files)
    if uneven_mm > MOST_UNEVEN_MM:
        raise CaseRefused(
            f"{folder}: a slice lies {uneven_mm:.2g} mm from where even spacing along the normal puts it: slices are"
            " missing, or the gantry was tilted"
        )
    reader.SetFileNames(files)
    image: SimpleITK.Image = reader.Execute()
    return image


def _uneven_mm(files: Sequence[str]) -> float:
    """Return the largest distance of a slice from its place; ITK itself neither refuses gaps nor tilt."""
    reader = SimpleITK.ImageFileReader()
    positions_mm, normal = np.zeros((len(files), 3)), np.array([0.0, 0.0, 1.0])
    for index, file in enumerate(files):
        reader.SetFileName(file)
        reader.ReadImageInformation()
        positions_mm[index] = reader.GetOrigin()
        normal = np.array(reader.GetDirection()).reshape(3, 3)[:, 2]
    if len(files) < 2:
        return 0.0
    along_mm = (positions_mm[-1] - positions_mm[0]) @ normal / (len(files) - 1)
    places_mm = positions_mm[0] + np.outer(np.arange(len(files)) * along_mm, normal)
    return float(np.linalg.norm(positions_mm - places_mm, axis=1).max())


def _same_grid(one: SimpleITK.Image, other: SimpleITK.Image) -> bool:
    return one.GetSize() == other.GetSize() and all(
        np.allclose(a, b, atol=SAME_MM)
        for a, b in (
            (one.GetSpacing(), other.GetSpacing()),
            (one.GetOrigin(), other.GetOrigin()),
            (one.GetDirection(), other.GetDirection()),
        )
    )
