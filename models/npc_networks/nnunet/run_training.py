"""Trains one fold with `NpcTrainer`; runs in the environment of nnunetv2.

    python run_training.py DATASET_FOLDER CONFIGURATION PLANS FOLD DEVICE [resume]

nnU-Net's own command looks for trainers by importing every trainer there is, and fails where one of them lacks a
package that it needs (timm's torchvision beside a PyTorch of another build). This names the trainer instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from npc_trainer import NpcTrainer  # type: ignore[import-not-found]


def main(preprocessed: Path, configuration: str, plans_name: str, fold: str, device: str, *, resume: bool) -> None:
    """Train, or continue from the last checkpoint, then judge the validation cases as nnU-Net does."""
    plans = json.loads((preprocessed / f"{plans_name}.json").read_text(encoding="utf-8"))
    dataset = json.loads((preprocessed / "dataset.json").read_text(encoding="utf-8"))
    plans["continue_training"] = resume
    which = fold if fold == "all" else int(fold)
    trainer = NpcTrainer(plans, configuration, which, dataset, torch.device(device))
    maybe_load_checkpoint(trainer, resume, validation_only=False)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
    trainer.run_training()
    trainer.perform_actual_validation(save_probabilities=False)


if __name__ == "__main__":
    folder, *names = sys.argv[1:6]
    main(Path(folder), *names, resume=sys.argv[6:] == ["resume"])
