"""Plans and trains by the real nnunetv2, in the environment where that is installed.

Everything is nnU-Net's own but what a recipe changes: our trainer (`nnunet/npc_trainer.py`) is a subclass of nnU-Net's,
folds keep patients together, and plans may be laid over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from npc_networks.datasets.recipe import PlansPart, Recipe, RecipeRefused
from npc_networks.datasets.writing import NOTES_FILE

TRAINER: Final = "NpcTrainer"
TRAINER_FOLDER: Final = Path(__file__).parents[1] / "nnunet"
TRAINING_VARIABLE: Final = "NPC_TRAINING"
PLANS: Final = "nnUNetPlans"
FOLDS: Final = 5
OWN_ENVIRONMENT: Final = Path(".venv-nnunet/bin/python")
INSTALL: Final = "python3 -m venv .venv-nnunet && .venv-nnunet/bin/pip install nnunetv2==2.8.1"
_HAS_NNUNET: Final = "import importlib.util, sys; sys.exit(importlib.util.find_spec('nnunetv2') is None)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training.

    Attributes:
        dataset: folder that `npc-networks dataset` wrote, below nnU-Net's folder of raw data sets.
        work: where preprocessed data and results go.
        fold: "0" to "4", or "all".
        python: of the environment with nnunetv2; None looks for one.
        epochs: None takes the recipe's.
    """

    recipe: Recipe
    dataset: Path
    work: Path
    fold: str = "0"
    device: str = "cuda"
    python: Path | None = None
    epochs: int | None = None
    resume: bool = False

    @property
    def preprocessed(self) -> Path:
        """Return nnU-Net's folder of the preprocessed data set."""
        return self.work.resolve() / "nnUNet_preprocessed" / self.dataset.name

    @property
    def results(self) -> Path:
        """Return the folder that `npc-networks import nnunet-v2` takes."""
        configuration = self.recipe.training.configuration
        return self.work.resolve() / "nnUNet_results" / self.dataset.name / f"{TRAINER}__{PLANS}__{configuration}"


def train(run: Run) -> Path:
    """Plan and preprocess where that was not done yet, or the recipe plans otherwise now; then train one fold.

    Returns:
        The folder of results.

    Raises:
        RecipeRefused: no nnunetv2, no such data set, or a step of nnU-Net's failed.
    """
    notes = _notes(run)
    python = find_nnunet(run.python)
    environment = _environment(run)
    for folder in ("nnUNet_preprocessed", "nnUNet_results"):
        (run.work / folder).mkdir(parents=True, exist_ok=True)
    _plan(run, python, environment)
    _write_splits(run, notes["patients"])
    asked = run.recipe.training.model_dump() | {"drawn": notes["drawn"]}
    if run.epochs is not None:
        asked["epochs"] = run.epochs
    _training_file(run).write_text(json.dumps(asked), encoding="utf-8")
    arguments = [str(run.preprocessed), run.recipe.training.configuration, PLANS, run.fold, run.device]
    script = TRAINER_FOLDER / "run_training.py"
    _call("training", [str(python), str(script), *arguments, *(["resume"] if run.resume else [])], environment)
    return run.results


def find_nnunet(python: Path | None) -> Path:
    """Return a Python that has nnunetv2: the one named, this one, or that of `.venv-nnunet`.

    Raises:
        RecipeRefused: there is none; with the line that installs it.
    """
    candidates = [python] if python is not None else [Path(sys.executable), OWN_ENVIRONMENT]
    for candidate in candidates:
        if candidate.is_file():
            asked = subprocess.run([candidate, "-c", _HAS_NNUNET], capture_output=True, check=False, timeout=60)
            if asked.returncode == 0:
                # Not resolved: a virtual environment is known by the path that its python is called by.
                return candidate.absolute()
    raise RecipeRefused(
        f"nnunetv2 is not installed in {', '.join(map(str, candidates))}: {INSTALL} (or name it with --python)"
    )


def splits(patients: Mapping[str, str], folds: int = FOLDS, seed: int = 12345) -> list[dict[str, list[str]]]:
    """Return nnU-Net's `splits_final.json`, all cases of a patient on one side.

    With fewer patients than folds there are as many folds as patients; a single patient trains and validates.

    Args:
        patients: of each case.
        folds: how many.
        seed: of the order in which patients are dealt out.
    """
    known = sorted(set(patients.values()))
    if len(known) == 1:
        return [{"train": sorted(patients), "val": sorted(patients)}]
    order = [known[index] for index in np.random.default_rng(seed).permutation(len(known))]
    parts = [set(order[part :: min(folds, len(known))]) for part in range(min(folds, len(known)))]
    return [
        {
            "train": sorted(case for case, patient in patients.items() if patient not in held),
            "val": sorted(case for case, patient in patients.items() if patient in held),
        }
        for held in parts
    ]


def lay_over(plans: dict[str, Any], configuration: str, changes: PlansPart) -> dict[str, Any]:
    """Return nnU-Net's plans with a recipe's changes to one configuration.

    Raises:
        RecipeRefused: the plans have no such configuration.
    """
    if configuration not in plans["configurations"]:
        raise RecipeRefused(f"nnU-Net planned no {configuration}, it has {', '.join(plans['configurations'])}")
    changed: dict[str, Any] = json.loads(json.dumps(plans))
    part = changed["configurations"][configuration]
    if changes.patch_size is not None:
        part["patch_size"] = list(changes.patch_size)
    if changes.batch_size is not None:
        part["batch_size"] = changes.batch_size
    if changes.spacing_zyx_mm is not None:
        part["spacing"] = list(changes.spacing_zyx_mm)
    if changes.architecture:
        part["architecture"]["arch_kwargs"] |= changes.architecture
    return changed


def _plan(run: Run, python: Path, environment: Mapping[str, str]) -> None:
    path = run.preprocessed / f"{PLANS}.json"
    configuration = run.recipe.training.configuration
    done = run.preprocessed / f"planned-{configuration}"
    asked = json.dumps({"planner": run.recipe.training.planner, "plans": run.recipe.plans.model_dump()}, indent=1)
    if done.is_file() and done.read_text(encoding="utf-8") == asked:
        return
    if done.is_file() and run.resume:
        raise RecipeRefused(
            f"{run.recipe.name} plans otherwise than when {run.work} was planned: train anew without --resume, or with"
            " another --work"
        )
    done.unlink(missing_ok=True)
    dataset = str(run.recipe.dataset_id)
    planner = run.recipe.training.planner
    arguments = ["-d", dataset, "-c", configuration, "-pl", planner, "--verify_dataset_integrity", "--no_pp"]
    _call("planning", [*_entry(python, "plan_and_preprocess_entry"), *arguments], environment)
    plans = lay_over(json.loads(path.read_text(encoding="utf-8")), configuration, run.recipe.plans)
    path.write_text(json.dumps(plans, indent=4), encoding="utf-8")
    arguments = ["-d", dataset, "-c", configuration, "-plans_name", PLANS]
    _call("preprocessing", [*_entry(python, "preprocess_entry"), *arguments], environment)
    done.write_text(asked, encoding="utf-8")


def _entry(python: Path, name: str) -> list[str]:
    module = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
    return [str(python), "-c", f"from {module} import {name}; {name}()"]


def _call(what: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    ended = subprocess.run(command, check=False, env=dict(environment)).returncode
    if ended:
        raise RecipeRefused(f"nnU-Net's {what} ended with {ended}; its last lines say why")


def _environment(run: Run) -> dict[str, str]:
    work = run.work.resolve()
    return {
        **os.environ,
        "nnUNet_raw": str(run.dataset.resolve().parent),
        "nnUNet_preprocessed": str(work / "nnUNet_preprocessed"),
        "nnUNet_results": str(work / "nnUNet_results"),
        # Processes that augment are started anew and find the trainer's files only here.
        "PYTHONPATH": str(TRAINER_FOLDER),
        TRAINING_VARIABLE: str(_training_file(run)),
    }


def _training_file(run: Run) -> Path:
    return run.work.resolve() / f"{run.recipe.name}-fold{run.fold}.json"


def _notes(run: Run) -> dict[str, Any]:
    path = run.dataset / NOTES_FILE
    try:
        notes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeRefused(f"{run.dataset} was not written by `npc-networks dataset`: {error}") from error
    if run.dataset.name != run.recipe.folder:
        raise RecipeRefused(f"{run.dataset.name} is not the recipe's {run.recipe.folder}")
    return notes


def _write_splits(run: Run, patients: Mapping[str, str]) -> None:
    text = json.dumps(splits(patients), indent=1) + "\n"
    (run.preprocessed / "splits_final.json").write_text(text, encoding="utf-8")
