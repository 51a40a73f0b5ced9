"""The network that `benchmarks/networks.py` compares with: trained by the real nnunetv2 on phantoms, a few minutes.

It starts from the weights of the committed demo network ln_ctv: from random weights a few minutes on a processor teach
nothing but background, and two answers without structures would agree for nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import SimpleITK
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from npc_contour.settings import default_model_repository
from npc_networks.export import WEIGHTS_FILE
from npc_networks.networks import LN_LABELS
from npc_networks.phantom_data import scan_of
from npc_phantom import PhantomOptions, draw
from npc_testkit.nnunet_commands import run

HERE = Path(__file__).parent
CACHE = HERE.parent / ".nnunet-phantoms"
TRAINED = CACHE / "nnUNet_results" / "Dataset001_Phantoms" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
TRAINING_SEED, TRAINING_CASES, TRAINING_MM = 1000, 5, 3.0


def trained(python: Path) -> Path:
    """Return nnU-Net's folder of the trained network; training it the first time."""
    if not (TRAINED / "fold_0" / "checkpoint_final.pth").is_file():
        train(python)
    return TRAINED


def train(python: Path) -> None:
    """Write phantoms as an nnU-Net data set and let the real nnunetv2 plan, preprocess and train."""
    shutil.rmtree(CACHE, ignore_errors=True)
    folder = CACHE / "nnUNet_raw" / TRAINED.parent.name
    for index in range(TRAINING_CASES):
        seed = TRAINING_SEED + index
        matrix = round(draw(seed).scan.field_of_view_mm / TRAINING_MM)
        scan = scan_of(seed, PhantomOptions(matrix=matrix, slice_spacing_mm=TRAINING_MM))
        write(folder / "imagesTr" / f"phantom_{index}_0000.nii.gz", scan.images[0], scan.spacing_zyx_mm)
        write(folder / "labelsTr" / f"phantom_{index}.nii.gz", scan.labels["ln"], scan.spacing_zyx_mm)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0} | {label: value for value, label in enumerate(LN_LABELS[1:], 1)},
        "numTraining": TRAINING_CASES,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    torch.save(demo_weights(), CACHE / "start.pth")
    paths = {name: str(CACHE / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for path in paths.values():
        Path(path).mkdir(exist_ok=True)
    run(python, "-I", HERE / "nnunet_train.py", environment={**paths, "nnUNet_n_proc_DA": "1"})


def demo_weights() -> dict[str, torch.Tensor]:
    """Return the weights of the committed demo network ln_ctv, out of its ONNX file."""
    graph = onnx.load(default_model_repository() / "ln_ctv" / WEIGHTS_FILE).graph
    suffix = ".half"
    return {
        one.name.removesuffix(suffix): torch.from_numpy(onnx.numpy_helper.to_array(one).astype(np.float32))
        for one in graph.initializer
        if one.name.endswith(suffix)
    }


def write(path: Path, voxels: npt.NDArray[Any], spacing_zyx_mm: tuple[float, float, float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing([float(value) for value in reversed(spacing_zyx_mm)])
    SimpleITK.WriteImage(image, str(path))
    return path
