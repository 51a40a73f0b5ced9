"""Label maps read from files, paired by name, on one grid or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_contour.domain.geometry import Vec3
from npc_contour.errors import VoxelFileError
from npc_contour.structure_names import meaning
from npc_contour.voxel_files import labels_of, read_image

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
SAME_MM = 1e-3
SAME_DIRECTION = 1e-4


class EvaluationRefused(ValueError):
    """The files cannot be compared; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure of a protocol.

    Attributes:
        labels: of a label map that unite into it.
        channel: where it lies in a stack of masks, one per structure.
        tolerance_mm: of the surface Dice; 0 where the protocol has none.
    """

    name: str
    labels: frozenset[int]
    channel: int
    tolerance_mm: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class LabelImage:
    """A label map, or a stack of masks that may overlap.

    Attributes:
        voxels: (z, y, x) integer labels, or (channel, z, y, x) masks.
        spacing_zyx_mm: of the grid.
        frame: (x, y, z) spacing, origin and direction cosines, to compare grids by.
    """

    path: Path
    voxels: npt.NDArray[np.generic]
    spacing_zyx_mm: Vec3
    frame: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]

    def mask(self, structure: Structure) -> npt.NDArray[np.bool_]:
        """Return the (z, y, x) mask of one structure."""
        if self.voxels.ndim == 4:
            stacked: npt.NDArray[np.bool_] = self.voxels[structure.channel] != 0
            return stacked
        return np.isin(self.voxels, sorted(structure.labels))

    @property
    def shape_zyx(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.voxels.shape[-3:]


def pair_files(found: Path, reference: Path) -> list[tuple[str, Path, Path]]:
    """Return (case, answer, reference) of two files, or of two folders with the same names in them.

    What has a name is a file, or a folder of masks: CASE/STRUCTURE.nii.gz.

    Raises:
        EvaluationRefused: a path is absent, a file has no partner, or there is none at all.
    """
    for path in (found, reference):
        if not path.exists():
            raise EvaluationRefused(f"{path} does not exist")
    if found.is_dir() != reference.is_dir():
        raise EvaluationRefused(f"{found} and {reference}: give two files or two folders")
    if not found.is_dir():
        return [(_stem(found), found, reference)]
    ours, theirs = _by_name(found), _by_name(reference)
    if not theirs:
        raise EvaluationRefused(f"{reference} holds no file with one of the endings {', '.join(SUFFIXES)}")
    if missing := sorted(theirs.keys() - ours.keys()):
        raise EvaluationRefused(f"{found} has no file for {', '.join(missing)}")
    if unknown := sorted(ours.keys() - theirs.keys()):
        raise EvaluationRefused(f"{reference} has no file for {', '.join(unknown)}")
    return [(name, ours[name], theirs[name]) for name in sorted(theirs)]


def read_pair(found: Path, reference: Path, structures: Sequence[Structure]) -> tuple[LabelImage, LabelImage]:
    """Read an answer and its reference.

    Raises:
        EvaluationRefused: a file is no image, holds other labels than the protocol, or the grids differ.
    """
    ours, theirs = (_read(path, structures) for path in (found, reference))
    differences = list(_differences(ours, theirs))
    if differences:
        raise EvaluationRefused(f"{found} and {reference} lie on different grids: {'; '.join(differences)}")
    return ours, theirs


def _read(path: Path, structures: Sequence[Structure]) -> LabelImage:
    if path.is_dir():
        return _read_masks(path, structures)
    try:
        image = read_image(path)
        voxels: npt.NDArray[np.generic] = labels_of(SimpleITK.GetArrayFromImage(image), path)
    except VoxelFileError as error:
        raise EvaluationRefused(str(error)) from error
    if image.GetNumberOfComponentsPerPixel() > 1 and voxels.ndim == 4:
        voxels = np.moveaxis(voxels, -1, 0)
    if voxels.ndim not in (3, 4):
        raise EvaluationRefused(f"{path} has shape {voxels.shape}; expected (z, y, x) or (structure, z, y, x)")
    spacing, origin = np.array(image.GetSpacing()[:3]), np.array(image.GetOrigin()[:3])
    axes = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3].ravel()
    x, y, z = spacing.tolist()
    read = LabelImage(path, voxels, (z, y, x), (spacing, origin, direction))
    _check_labels(read, structures)
    return read


def _read_masks(folder: Path, structures: Sequence[Structure]) -> LabelImage:
    """Read a folder with one mask a structure; a structure without a file is empty."""
    files = {meaning(name): path for name, path in _by_name(folder).items()}
    names = {meaning(structure.name): structure.channel for structure in structures}
    if strange := sorted(files[one].name for one in files.keys() - names.keys()):
        raise EvaluationRefused(f"{folder} holds {', '.join(strange[:10])}: no structures of the protocol")
    stack: npt.NDArray[np.uint8] | None = None
    first: LabelImage | None = None
    for what, path in files.items():
        mask = _read(path, [Structure("", frozenset({1, 255}), 0)])
        if first is None or stack is None:
            first, stack = mask, np.zeros((len(structures), *mask.shape_zyx), dtype=np.uint8)
        if differences := list(_differences(mask, first)):
            raise EvaluationRefused(f"{path} and {first.path} lie on different grids: {'; '.join(differences)}")
        stack[names[what]] = mask.voxels != 0
    if first is None or stack is None:
        raise EvaluationRefused(f"{folder} holds no mask with one of the endings {', '.join(SUFFIXES)}")
    return LabelImage(folder, stack, first.spacing_zyx_mm, first.frame)


def _check_labels(image: LabelImage, structures: Sequence[Structure]) -> None:
    if image.voxels.ndim == 4:
        if len(image.voxels) != len(structures):
            raise EvaluationRefused(
                f"{image.path} holds {len(image.voxels)} masks, the protocol has {len(structures)} structures"
                f" ({', '.join(s.name for s in structures)})"
            )
        return
    known = {0}.union(*(structure.labels for structure in structures))
    values = np.unique(image.voxels)
    strange = [f"{value:g}" for value in values.tolist() if value not in known]
    if strange:
        raise EvaluationRefused(
            f"{image.path} holds the values {', '.join(strange[:10])}; the protocol has labels 0 to {max(known)}"
        )


def _differences(ours: LabelImage, theirs: LabelImage) -> Iterator[str]:
    if ours.shape_zyx != theirs.shape_zyx:
        yield f"size (z, y, x) {ours.shape_zyx} and {theirs.shape_zyx}"
    for name, tolerance, a, b in zip(
        ("spacing (x, y, z) mm", "origin (x, y, z) mm", "direction"),
        (SAME_MM, SAME_MM, SAME_DIRECTION),
        ours.frame,
        theirs.frame,
        strict=True,
    ):
        if not np.allclose(a, b, rtol=0.0, atol=tolerance):
            yield f"{name} {a.round(5).tolist()} and {b.round(5).tolist()}"


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        is_folder_of_masks = path.is_dir() and any(file.name.endswith(SUFFIXES) for file in path.iterdir())
        if is_folder_of_masks or (path.is_file() and path.name.endswith(SUFFIXES)):
            name = path.name if is_folder_of_masks else _stem(path)
            if name in files:
                raise EvaluationRefused(f"{folder} holds {files[name].name} and {path.name}: which one is meant?")
            files[name] = path
    return files


def _stem(path: Path) -> str:
    ending = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), path.suffix)
    return path.name.removesuffix(ending)
