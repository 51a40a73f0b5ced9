"""The real nnU-Net, versions 1 and 2, by the commands that its users run; `make nnunet-peers` installs it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_networks.imports.postprocessing import LARGEST_V2
from npc_testkit.nnunet_v2 import dataset_json, plans_json

ROOT = Path(__file__).parents[2]
RANDOM_V1 = ROOT / "benchmarks" / "nnunet_v1_random.py"
RANDOM_V2 = ROOT / "benchmarks" / "nnunet_v2_random.py"
TASK, IDENTIFIER = "Task001_Phantoms", "nnUNetTrainerV2__nnUNetPlansv2.1"
LAST_WORDS = 4000

UInt8Array = npt.NDArray[np.uint8]


def predict_v2(python: Path, trained: Path, image: Path, work: Path, *, mirroring: bool) -> UInt8Array:
    """Return the labels (z, y, x) of `nnUNetv2_predict_from_modelfolder`, fold 0, on the processor.

    Args:
        python: of the environment with nnunetv2.
        trained: folder with plans.json and fold_0.
        image: of one channel.
        work: folder that is made for it.
        mirroring: nnU-Net's own default.
    """
    command: list[str | Path] = [
        python.parent / "nnUNetv2_predict_from_modelfolder",
        "-i",
        _alone(work, image),
        "-o",
        work / "out",
    ]
    command += ["-m", trained, "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1"]
    paths = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(work))
    run(*command, *([] if mirroring else ["--disable_tta"]), environment=paths)
    return _labels(work / "out")


def predict_v1(python: Path, trained: Path, image: Path, work: Path, *, mirroring: bool) -> UInt8Array:
    """Return the labels (z, y, x) of `nnUNet_predict`, fold 0; arguments as of `predict_v2`."""
    place = work / "results" / "nnUNet" / "3d_fullres" / TASK / IDENTIFIER
    place.parent.mkdir(parents=True)
    place.symlink_to(trained.resolve())
    command: list[str | Path] = [
        python.parent / "nnUNet_predict",
        "-i",
        _alone(work, image),
        "-o",
        work / "out",
        "-t",
        TASK,
    ]
    command += ["-m", "3d_fullres", "-f", "0", "--num_threads_preprocessing", "1", "--num_threads_nifti_save", "1"]
    paths = {"RESULTS_FOLDER": str(work / "results")}
    run(*command, *([] if mirroring else ["--disable_tta"]), environment=paths)
    return _labels(work / "out")


def write_random_v1(python: Path, folder: Path) -> None:
    """Let the real trainer of version 1 write plans.pkl and fold_0 with random weights: one CT channel, six labels."""
    run(python, "-I", RANDOM_V1, folder)


def write_random_v2(python: Path, folder: Path, kind: str) -> None:
    """Let the real trainer of version 2 write fold_0 with random weights, beside `npc_testkit.nnunet_v2`'s plans."""
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(plans_json(kind)))
    (folder / "dataset.json").write_text(json.dumps(dataset_json()))
    run(python, "-I", RANDOM_V2, folder)


def run(*command: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, without a word.

    Raises:
        RuntimeError: it failed; its last words are quoted.
    """
    words = [str(word) for word in command]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout[-LAST_WORDS:]}\n{done.stderr[-LAST_WORDS:]}")


def _alone(work: Path, image: Path) -> Path:
    """Return a folder with one case, as the commands take it."""
    (work / "in").mkdir(parents=True)
    shutil.copy(image, work / "in" / "case_0000.nii.gz")
    return work / "in"


def _labels(folder: Path) -> UInt8Array:
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(folder / "case.nii.gz")), dtype=np.uint8)


def largest_of(*labels: object) -> bytes:
    """Return a `postprocessing.pkl` as nnU-Net 2 writes it: its function by name, and what it is told."""
    # The opcode for a global, by hand: nnU-Net's module is not at home here.
    function = f"c{LARGEST_V2.module}\n{LARGEST_V2.name}\n".encode()
    told = pickle.dumps([{"labels_or_regions": label} for label in labels], protocol=0)[:-1]
    return b"((l" + (function + b"a") * len(labels) + told + b"t."


PLANNER = """#!{python}
import json, os, sys
from pathlib import Path
words = " ".join(sys.argv[1:])
if "find_spec" in words:
    sys.exit(0)
step = "plan" if "plan_and_preprocess" in words and "--no_pp" in words else "run" if "run_training" in words else "rest"
with Path({log!r}).open("a") as log:
    print(step, file=log)
if step == "plan":
    for raw in Path(os.environ["nnUNet_raw"]).iterdir():
        folder = Path(os.environ["nnUNet_preprocessed"]) / raw.name
        if (raw / "dataset.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "nnUNetPlans.json").write_text(json.dumps({{"configurations": {{"3d_fullres": {{}}}}}}))
"""


def write_planner(folder: Path) -> Path:
    """Write a program that stands in for a Python with nnunetv2: it plans at once, and notes its steps in `steps`."""
    path = folder / "python"
    path.write_text(PLANNER.format(python=sys.executable, log=str(folder / "steps")))
    path.chmod(0o755)
    return path
