"""Writes fold_0 of nnU-Net v2 with random weights; runs in the peers' environment (`make nnunet-peers`).

    .venv-nnunet/bin/python benchmarks/nnunet_v2_random.py FOLDER [CONFIGURATION]

FOLDER holds plans.json and dataset.json. The real nnunetv2 builds the network and the real trainer writes the
checkpoint; nothing is trained.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

# Before the import, which looks for them; nothing is written there.
os.environ |= dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), tempfile.gettempdir())

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def main(folder: Path, configuration: str = "3d_fullres") -> None:
    plans, dataset = (json.loads((folder / name).read_text()) for name in ("plans.json", "dataset.json"))
    plans["continue_training"] = False
    (folder / "fold_0").mkdir()
    trainer = nnUNetTrainer(plans, configuration, 0, dataset, torch.device("cpu"))
    # Not by `initialize`, which asks for preprocessed training data.
    heads = trainer.label_manager.num_segmentation_heads
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, len(dataset["channel_names"]), heads
    )
    trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=0.01)
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    trainer.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
