"""Recipes: one public data set each, how its files lie, what is asked of a network, and how it is trained, as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.structure_names import Meaning, meaning
from npc_networks.imports.command import PART_OF, target_of

RECIPES_DIR: Final = Path(__file__).parent / "recipes"
Layout = Literal["segrap2023", "lnctvseg", "han5k", "lnq2023", "npc-mri"]


class RecipeRefused(ValueError):
    """The recipe, the data or the training cannot be used; the message says what was found and what helps."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingPart(_Strict):
    """How nnU-Net trains.

    Attributes:
        loss: "nnunet" is its own; "marginal" lets a case teach only the structures that were drawn in it.
        mirror_axes: along which patches are mirrored, of z, y, x; not x where left and right are different structures.
    """

    configuration: str = "3d_fullres"
    planner: str = "ExperimentPlanner"
    epochs: int = Field(default=1000, ge=1)
    iterations_per_epoch: int = Field(default=250, ge=1)
    validations_per_epoch: int = Field(default=50, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    loss: Literal["nnunet", "marginal"] = "nnunet"
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    random_seed: int = 0


class PlansPart(_Strict):
    """What is changed in nnU-Net's plans; nothing by default.

    Attributes:
        architecture: laid over the plans' `arch_kwargs`.
    """

    patch_size: tuple[int, int, int] | None = None
    batch_size: int | None = Field(default=None, ge=1)
    spacing_zyx_mm: tuple[float, float, float] | None = None
    architecture: dict[str, int | list[int] | list[list[int]]] = {}


class UnknownPart(_Strict):
    """Which voxels count as known where only some nodes were drawn; the others do not reach the loss.

    Attributes:
        coat_mm: this far around a drawn node is background: its border was drawn too.
        tissue_hu: outside of it no node can be, which is background as well.
    """

    coat_mm: float = Field(gt=0)
    tissue_hu: tuple[float, float]


class Recipe(_Strict):
    """One data set.

    Attributes:
        channels: nnU-Net's channel names; "CT" asks for its CT normalisation, others for the channel's own statistics.
        pipeline: with `network`, names the labels; else `labels` does, in order from 1. Empty with "han5k" takes the
            structures that are found.
        names: of structures by what their mask files are called, where that differs.
        unknown: given where annotation is incomplete within a case.
    """

    name: str
    layout: Layout
    task: Literal["", "oar", "gtv"] = ""
    dataset_id: int = Field(ge=1, le=999)
    dataset_name: str = Field(pattern="^[A-Za-z0-9]+$")
    reference: str
    terms: str
    channels: tuple[str, ...] = Field(min_length=1)
    pipeline: str = ""
    network: str = ""
    labels: tuple[str, ...] = ()
    names: dict[str, str] = {}
    unknown: UnknownPart | None = None
    training: TrainingPart = TrainingPart()
    plans: PlansPart = PlansPart()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.labels and self.network:
            raise ValueError("labels are named by pipeline and network or one by one, not both")
        return self

    @property
    def folder(self) -> str:
        """Return nnU-Net's name of the data set."""
        return f"Dataset{self.dataset_id:03d}_{self.dataset_name}"

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the names of labels 1, 2, ...; empty when the files name them."""
        if not self.network:
            return self.labels
        pipeline = read_pipeline(PIPELINES_DIR / f"{self.pipeline}.toml")
        return target_of(pipeline, self.network, self.network).labels[1:]

    @property
    def structures(self) -> Mapping[Meaning, frozenset[int]]:
        """Return the labels that make each structure, by what its name means; empty without a pipeline."""
        if not self.network:
            return {}
        rois = read_pipeline(PIPELINES_DIR / f"{self.pipeline}.toml").rois
        return {meaning(roi.name): frozenset(roi.labels) for roi in rois if roi.network == self.network}

    def label_of(self, file_name: str) -> int | None:
        """Return the label that a mask file draws, by its name without ending; None where the recipe has none for it.

        A label that is part of several structures is the smallest's: the mask of the brain draws what of it no other
        structure has.
        """
        structures = [name.split(PART_OF)[0] for name in self.label_names]
        wanted = self.names.get(file_name, file_name)
        return structures.index(wanted) + 1 if wanted in structures else None


def shipped() -> tuple[str, ...]:
    """Return the names of the recipes that come with the product."""
    return tuple(sorted(path.stem for path in RECIPES_DIR.glob("*.toml")))


def read_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by its name, or from a TOML file.

    Raises:
        RecipeRefused: there is none, it is no TOML or a key is wrong; file and key are named.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else RECIPES_DIR / f"{name_or_path}.toml"
    if not path.is_file():
        raise RecipeRefused(f"no recipe {name_or_path!r}: there are {', '.join(shipped())}, or name a .toml file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return Recipe.model_validate({"name": path.stem, **content})
    except (OSError, ValueError, ValidationError) as error:
        raise RecipeRefused(f"{path}: {error}") from error
