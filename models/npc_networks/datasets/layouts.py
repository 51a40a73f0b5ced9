"""How the files of each public data set lie.

Only names are looked at here; every folder is searched with its subfolders, as archives unpack differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from npc_contour.structure_names import meaning
from npc_networks.datasets.cases import Organs, RawCase
from npc_networks.datasets.recipe import Layout, Recipe, RecipeRefused

NIFTI: Final = (".nii.gz", ".nii")
SEGRAP_TASKS: Final = {"oar": "Task001", "gtv": "Task002"}
MOST_NAMES: Final = 6
NPC_MRI_SEQUENCES: Final = ("T1WI", "T2WI", "CE-T1WI")


def find_cases(recipe: Recipe, source: Path) -> tuple[list[RawCase], tuple[str, ...]]:
    """Return the cases of a data set and the names of labels 1, 2, ....

    Raises:
        RecipeRefused: nothing in the folder is called as that data set calls its files; says what was looked for.
    """
    if not source.is_dir():
        raise RecipeRefused(f"{source} is no folder")
    cases, names = _FINDERS[recipe.layout](recipe, source)
    if not cases:
        raise RecipeRefused(f"{source} holds no case of {recipe.layout}: looked for {_LOOKED_FOR[recipe.layout]}")
    return sorted(cases, key=lambda case: case.name), names


def _segrap(recipe: Recipe, source: Path) -> tuple[list[RawCase], tuple[str, ...]]:
    task = SEGRAP_TASKS[recipe.task or "oar"]
    corrected = _segrap_organs(recipe, source, task)
    labels: dict[str, Path] = {}
    for path in source.rglob(f"{task}*/segrap_*.nii.gz"):
        name = _stem(path)
        if name in labels:
            raise RecipeRefused(f"{name} has labels in {labels[name].parent} and {path.parent}: keep one of them")
        labels[name] = path
    cases = []
    for image in source.rglob("segrap_*/image.nii.gz"):
        name, organs = image.parent.name, corrected.get(image.parent.name)
        images = (image, image.with_name("image_contrast.nii.gz"))
        is_whole = organs is not None and set(organs.masks) == set(organs.structures)
        if name in labels:
            cases.append(RawCase(name, name, images, labels[name], organs=organs))
        elif is_whole:
            cases.append(RawCase(name, name, images, {}, organs=organs))
        elif labels or organs is not None:
            # A case without labels is named as one that cannot be read.
            cases.append(RawCase(name, name, images, source / task / f"{name}.nii.gz", organs=organs))
    return cases, recipe.label_names


def _segrap_organs(recipe: Recipe, source: Path, task: str) -> dict[str, Organs]:
    """Return the masks, one file a structure, of the corrected labels (`Update_Labels`), by case; none where none are.

    Raises:
        RecipeRefused: there are no masks in their folder, or one is called as no structure is.
    """
    structures = recipe.structures
    masks: dict[str, dict[frozenset[int], Path]] = {}
    for folder in sorted(path for path in source.rglob(f"*Update_Labels*{task}*") if path.is_dir()):
        files = sorted(folder.rglob("segrap_*/*.nii.gz"))
        unknown = sorted({_stem(file) for file in files if meaning(_stem(file)) not in structures})
        if not files or unknown:
            held = f"masks called {', '.join(unknown[:MOST_NAMES])}" if unknown else "no masks"
            raise RecipeRefused(
                f"{folder} holds {held}: corrected labels are segrap_NNNN/STRUCTURE.nii.gz, one file for each of"
                f" {recipe.pipeline}'s structures that was corrected"
            )
        for file in files:
            masks.setdefault(file.parent.name, {})[structures[meaning(_stem(file))]] = file
    return {case: Organs(found, tuple(structures.values())) for case, found in masks.items()}


def _lnctvseg(recipe: Recipe, source: Path) -> tuple[list[RawCase], tuple[str, ...]]:
    cases = []
    for labels in source.rglob("lnctvseg*.nii.gz"):
        patient = _stem(labels)
        if not re.fullmatch(r"lnctvseg\d+", patient):
            continue
        for number, phase in (("0000", "plain"), ("0001", "contrast")):
            # The archive may hold images and labels in one folder or, as nnU-Net keeps them, in two.
            images = sorted(source.rglob(f"{patient}_{number}.nii.gz"))
            if images:
                cases.append(RawCase(f"{patient}_{phase}", patient, (images[0],), labels))
    return cases, recipe.label_names


def _han5k(recipe: Recipe, source: Path) -> tuple[list[RawCase], tuple[str, ...]]:
    images = _radcure_images(source)
    masks: dict[str, dict[str, Path]] = {}
    for path in source.rglob("*.nii.gz"):
        if path.parent.name in images and path != images[path.parent.name]:
            masks.setdefault(path.parent.name, {})[_stem(path)] = path
    maps = {
        _stem(path): path
        for path in source.rglob("RADCURE-*.nii.gz")
        if path.parent.name.lower().startswith("label") and _stem(path) in images
    }
    found_names = sorted({name for found in masks.values() for name in found})
    if not recipe.label_names:
        recipe = recipe.model_copy(update={"labels": tuple(recipe.names.get(name, name) for name in found_names)})
    names = recipe.label_names
    if masks and not any(recipe.label_of(name) for name in found_names):
        raise RecipeRefused(
            f"{source}: masks are called {', '.join(found_names[:MOST_NAMES])}, none is a structure of the recipe"
            f" ({', '.join(names[:MOST_NAMES])}, ...): say which is which with names = {{...}} in a recipe of your own"
        )
    if maps and not names:
        raise RecipeRefused(f"{source}: label maps do not name their labels: write them as labels = [...] in a recipe")
    cases = [RawCase(patient, patient, (images[patient],), path) for patient, path in maps.items()]
    for patient, found in masks.items():
        if patient not in maps:
            drawn = {label: path for name, path in found.items() if (label := recipe.label_of(name)) is not None}
            cases.append(RawCase(patient, patient, (images[patient],), drawn, frozenset(drawn)))
    return cases, names


def _radcure_images(source: Path) -> dict[str, Path]:
    """Return each patient's CT: a NIfTI file, or the folder below the patient's that holds DICOM slices."""
    images: dict[str, Path] = {}
    for path in sorted(source.rglob("RADCURE-*_0000.nii.gz")):
        images[_stem(path).removesuffix("_0000")] = path
    for path in sorted(source.rglob("RADCURE-*/image.nii.gz")):
        images.setdefault(path.parent.name, path)
    for slice_path in source.rglob("*.dcm"):
        patients = [part for part in slice_path.parts if re.fullmatch(r"RADCURE-\d+", part)]
        if patients:
            images.setdefault(patients[-1], slice_path.parent)
    return images


def _lnq(recipe: Recipe, source: Path) -> tuple[list[RawCase], tuple[str, ...]]:
    cases = []
    for labels in source.rglob("lnq2023-*-seg.nrrd"):
        image = labels.with_name(labels.name.replace("-seg.nrrd", "-ct.nrrd"))
        name = labels.name.removesuffix("-seg.nrrd")
        if image.is_file():
            cases.append(RawCase(name, name, (image,), labels, complete="-train-" not in name))
    return cases, recipe.label_names


def _npc_mri(recipe: Recipe, source: Path) -> tuple[list[RawCase], tuple[str, ...]]:
    cases = []
    for folder in (path for path in source.rglob("*") if path.is_dir() and re.fullmatch(r"\d{1,3}", path.name)):
        images = tuple(folder / name for name in NPC_MRI_SEQUENCES)
        drawn = [path for suffix in (".nii", ".nii.gz") if (path := folder / f"ROI-CE-T1{suffix}").is_file()]
        if all(image.is_dir() for image in images) and drawn:
            cases.append(RawCase(f"npc_{int(folder.name):03d}", folder.name, images, drawn[0], grid=len(images) - 1))
    return cases, recipe.label_names


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


_Finder = Callable[[Recipe, Path], tuple[list[RawCase], tuple[str, ...]]]
_FINDERS: Final[Mapping[Layout, _Finder]] = {
    "segrap2023": _segrap,
    "lnctvseg": _lnctvseg,
    "han5k": _han5k,
    "lnq2023": _lnq,
    "npc-mri": _npc_mri,
}
_LOOKED_FOR: Final[Mapping[Layout, str]] = {
    "segrap2023": "segrap_NNNN/image.nii.gz and image_contrast.nii.gz, Task001 or Task002/segrap_NNNN.nii.gz,"
    " Update_Labels(Task001)/.../segrap_NNNN/STRUCTURE.nii.gz",
    "lnctvseg": "lnctvsegNNNN_0000.nii.gz, lnctvsegNNNN_0001.nii.gz and lnctvsegNNNN.nii.gz",
    "han5k": "RADCURE-NNNN_0000.nii.gz, RADCURE-NNNN/image.nii.gz or RADCURE-NNNN/.../*.dcm; and RADCURE-NNNN/"
    "STRUCTURE.nii.gz or labels/RADCURE-NNNN.nii.gz",
    "lnq2023": "lnq2023-train-NNNN-ct.nrrd and lnq2023-train-NNNN-seg.nrrd",
    "npc-mri": "NNN/CE-T1WI, NNN/T1WI, NNN/T2WI (DICOM) and NNN/ROI-CE-T1.nii",
}
