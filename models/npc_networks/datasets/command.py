"""`npc-networks dataset` and `npc-networks train`: public data, brought into nnU-Net's form and trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from npc_networks.datasets.layouts import find_cases
from npc_networks.datasets.recipe import Recipe, RecipeRefused, read_recipe, shipped
from npc_networks.datasets.training import Run, train
from npc_networks.datasets.writing import Written, write_dataset
from npc_networks.progress import bar

DATASET_TITLE = "write a public data set as an nnU-Net v2 raw data set"
TRAIN_TITLE = "train on such a data set with the real nnunetv2"
LEFT_OUT = 1


def add_dataset_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `dataset`."""
    _add_recipe(command)
    command.add_argument("source", type=Path, metavar="SRC", help="the unpacked archive; searched with its subfolders")
    command.add_argument("raw", type=Path, metavar="DST", help="nnU-Net's folder of raw data sets")
    command.add_argument(
        "--certain",
        type=Path,
        metavar="DIR",
        help="CASE.nii.gz masks of what is background for sure (lnq2023; for example TotalSegmentator's organs)",
    )


def add_train_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`."""
    _add_recipe(command)
    command.add_argument("dataset", type=Path, metavar="DATASET", help="DST/DatasetNNN_NAME that `dataset` wrote")
    command.add_argument("--work", type=Path, required=True, metavar="DIR", help="for preprocessed data and results")
    command.add_argument("--fold", choices=["0", "1", "2", "3", "4", "all"], default="0", help="default 0")
    command.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="default cuda")
    command.add_argument("--epochs", type=_positive, metavar="N", help="instead of the recipe's")
    command.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    command.add_argument(
        "--python", type=Path, metavar="FILE", help="of the environment with nnunetv2 (default: this, or .venv-nnunet)"
    )


def run_dataset(options: argparse.Namespace, console: Console) -> int:
    """Write the data set; returns 1 when cases had to be left out, 2 when nothing could be written."""
    try:
        recipe = read_recipe(options.recipe)
        cases, names = find_cases(recipe, options.source)
        with bar(console) as progress:
            task = progress.add_task(recipe.dataset_name, total=len(cases))
            written = write_dataset(
                recipe, cases, names, options.raw, certain=options.certain, done=lambda: progress.advance(task)
            )
    except RecipeRefused as refusal:
        return _refused(refusal, console)
    _tell_dataset(recipe, written, console)
    return LEFT_OUT if written.left_out else 0


def run_train(options: argparse.Namespace, console: Console) -> int:
    """Train one fold; returns 2 and says why when that is refused."""
    try:
        recipe = read_recipe(options.recipe)
        run = Run(
            recipe=recipe,
            dataset=options.dataset,
            work=options.work,
            fold=options.fold,
            device=options.device,
            python=options.python,
            epochs=options.epochs,
            resume=options.resume,
        )
        results = train(run)
    except RecipeRefused as refusal:
        return _refused(refusal, console)
    pipeline = f"--pipeline {recipe.pipeline} --network {recipe.network}" if recipe.network else "--pipeline PIPELINE"
    for line in (
        f"{results}: fold {run.fold}",
        f"npc-networks import nnunet-v2 {results} {pipeline} --folds {run.fold}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", metavar="RECIPE", help=f"one of {', '.join(shipped())}, or a .toml file")


def _tell_dataset(recipe: Recipe, written: Written, console: Console) -> None:
    lines = [f"{written.folder}: {len(written.cases)} cases"]
    lines += [f"left out {name}: {reason}" for name, reason in written.left_out.items()]
    lines += [f"cite: {recipe.reference}", f"terms: {recipe.terms}"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _refused(refusal: RecipeRefused, console: Console) -> int:
    console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
    return 2


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of epochs")
    return int(text)
