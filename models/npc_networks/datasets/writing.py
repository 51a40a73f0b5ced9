"""Writes an nnU-Net v2 raw data set: dataset.json, imagesTr, labelsTr, and what our training asks of it besides."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_networks.datasets.cases import (
    AIR_HU,
    LEAST_COVERED,
    CaseRefused,
    RawCase,
    like,
    on_grid,
    read_image,
    read_labels,
)
from npc_networks.datasets.plausibility import check_drawn, check_phases
from npc_networks.datasets.recipe import Recipe, RecipeRefused
from npc_networks.datasets.unknown import mask_unknown

SUFFIX: Final = ".nii.gz"
MR_LAYOUT: Final = "npc-mri"
PHASES: Final = ("non_contrast_CT", "contrast_CT")
NOTES_FILE: Final = "npc.json"
"""Beside dataset.json: which recipe, whose the cases are, what was drawn in which."""


@dataclass(slots=True)
class Written:
    """What came of the cases."""

    folder: Path
    cases: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def write_dataset(
    recipe: Recipe,
    cases: Sequence[RawCase],
    names: Sequence[str],
    raw: Path,
    *,
    certain: Path | None = None,
    done: Callable[[], None] = lambda: None,
) -> Written:
    """Write the cases as nnU-Net reads them; what was written before is kept, so a broken run continues.

    Args:
        recipe: of the data set.
        cases: what to write.
        names: of labels 1, 2, ....
        raw: nnU-Net's folder of raw data sets (`nnUNet_raw`).
        certain: folder with CASE.nii.gz masks of voxels that are background for sure, for recipes with unknown voxels.
        done: called after each case.

    Returns:
        Which cases were written, and why others were not.

    Raises:
        RecipeRefused: no case could be written.
    """
    written = Written(raw / recipe.folder)
    for part in ("imagesTr", "labelsTr"):
        (written.folder / part).mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[int]] = {}
    for case in cases:
        try:
            if not (written.folder / "labelsTr" / f"{case.name}{SUFFIX}").is_file():
                _write_case(recipe, case, names, written.folder, certain)
        except CaseRefused as refusal:
            written.left_out[case.name] = str(refusal)
        else:
            written.cases.append(case.name)
            drawn[case.name] = sorted(case.drawn if case.drawn is not None else range(1, len(names) + 1))
        done()
    if not written.cases:
        name, reason = next(iter(written.left_out.items()))
        raise RecipeRefused(f"none of {len(cases)} cases could be read; {name}: {reason}")
    kept = [case for case in cases if case.name in set(written.cases)]
    _write_json(written.folder / "dataset.json", dataset_json(recipe, names, len(kept)))
    notes = {
        "recipe": recipe.name,
        "patients": {case.name: case.patient for case in kept},
        "drawn": drawn,
        "left_out": written.left_out,
    }
    _write_json(written.folder / NOTES_FILE, notes)
    return written


def dataset_json(recipe: Recipe, names: Sequence[str], cases: int) -> dict[str, Any]:
    """Return nnU-Net's description of the data set; the ignore label, where there is one, is the highest."""
    labels = {"background": 0, **{name: index for index, name in enumerate(names, start=1)}}
    if recipe.unknown is not None:
        labels["ignore"] = len(labels)
    return {
        "channel_names": {str(index): name for index, name in enumerate(recipe.channels)},
        "labels": labels,
        "numTraining": cases,
        "file_ending": SUFFIX,
        "name": recipe.dataset_name,
        "reference": recipe.reference,
        "licence": recipe.terms,
    }


def _write_case(recipe: Recipe, case: RawCase, names: Sequence[str], folder: Path, certain: Path | None) -> None:
    grid = read_image(case.images[case.grid])
    channels = _channels(recipe, case, grid)
    values = read_labels(case, grid)
    if recipe.layout == MR_LAYOUT:
        # Masks come as 0 and 1, or 0 and 255.
        values = (values != 0).astype(np.uint8)
    if values.max() > len(names):
        raise CaseRefused(f"{case.name} has label {values.max()}, the recipe names 1 to {len(names)}")
    check_drawn(values, names)
    if recipe.unknown is not None and not case.complete:
        x, y, z = grid.GetSpacing()
        path = None if certain is None else certain / f"{case.name}{SUFFIX}"
        sure = None if path is None or not path.is_file() else on_grid(read_image(path), grid, path, labels=True) != 0
        values = mask_unknown(
            values, channels[0].astype(np.float32), (z, y, x), recipe.unknown, ignore=len(names) + 1, certain=sure
        )
    for index, voxels in enumerate(channels):
        _write_image(like(voxels, grid), folder / "imagesTr" / f"{case.name}_{index:04d}{SUFFIX}")
    # Last: a case counts as written once its labels are there.
    _write_image(like(values, grid), folder / "labelsTr" / f"{case.name}{SUFFIX}")


def _channels(recipe: Recipe, case: RawCase, grid: SimpleITK.Image) -> list[npt.NDArray[np.generic]]:
    if len(case.images) != len(recipe.channels):
        raise CaseRefused(f"{case.name} has {len(case.images)} images, the recipe {len(recipe.channels)} channels")
    # MR series of one study often cover different parts; CT series that do are not what they are taken for.
    outside, covered = (0.0, 0.0) if recipe.layout == MR_LAYOUT else (AIR_HU, LEAST_COVERED)
    channels = [on_grid(read_image(path), grid, path, outside=outside, covered=covered) for path in case.images]
    if recipe.channels == PHASES:
        check_phases(channels[0], channels[1])
    return channels


def _write_image(image: SimpleITK.Image, path: Path) -> None:
    part = path.with_name(f"part-{path.name}")
    SimpleITK.WriteImage(image, part, useCompression=True, compressionLevel=1)
    part.replace(path)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
