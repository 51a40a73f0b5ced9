"""Trains a small network by the real nnunetv2 on phantoms; runs in the peers' environment (`make nnunet-peers`).

Started by `benchmarks/networks.py`, which writes the data set and sets nnU-Net's three folders. Planning,
preprocessing, trainer, losses and augmentation are nnU-Net's own; the plan is made smaller (patch, features) and the
epochs fewer, which nnU-Net's plans file and trainer are meant to allow. From random weights a few minutes on a
processor teach nothing but background, so training starts from the demo network of the same shape.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

DATASET = "Dataset001_Phantoms"
CONFIGURATION = "3d_fullres"
PATCH = [48, 80, 80]
FEATURES = [16, 32, 48, 64, 64]
INTENSITIES = {"percentile_00_5": -250.0, "percentile_99_5": 400.0, "mean": 40.0, "std": 100.0}
EPOCHS, STEPS = 2, 8
START = "start.pth"


def main() -> None:
    preprocessed = Path(os.environ["nnUNet_preprocessed"]) / DATASET  # noqa: SIM112 - nnU-Net's own name
    plan(preprocessed)
    train(preprocessed)


def plan(preprocessed: Path) -> None:
    extract_fingerprints([1], num_processes=2)
    plan_experiments([1])
    path = preprocessed / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    stages = len(FEATURES)
    configuration = plans["configurations"][CONFIGURATION]
    configuration["patch_size"] = PATCH
    configuration["batch_size"] = 2
    plans["foreground_intensity_properties_per_channel"]["0"] |= INTENSITIES
    layers = configuration["architecture"]["arch_kwargs"]
    layers |= {
        "n_stages": stages,
        "features_per_stage": FEATURES,
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    path.write_text(json.dumps(plans, indent=2))
    preprocess([1], configurations=(CONFIGURATION,), num_processes=(2,))


def train(preprocessed: Path) -> None:
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    torch.manual_seed(0)
    trainer = nnUNetTrainer(plans, CONFIGURATION, 0, dataset, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = EPOCHS, STEPS, 1
    trainer.initialize()
    start = torch.load(preprocessed.parents[1] / START, weights_only=True)
    found = trainer.network.load_state_dict(start, strict=False)
    if found.unexpected_keys:
        raise SystemExit(f"the demo network has other layers: {found.unexpected_keys[:5]}")
    trainer.run_training()


if __name__ == "__main__":
    main()
