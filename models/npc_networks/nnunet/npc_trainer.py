"""nnU-Net's trainer with what a recipe changes: epochs, loss, mirroring."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from marginal_loss import MarginalLoss  # type: ignore[import-not-found]
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

TRAINING_VARIABLE = "NPC_TRAINING"
"""Path of a JSON file with the recipe's part on training and what was drawn in which case."""


class NpcTrainer(nnUNetTrainer):  # type: ignore[misc]
    """Builds the network of the plans, as nnU-Net's own trainer does."""

    num_epochs: int
    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int
    initial_lr: float

    # nnU-Net keeps the arguments by the names in this signature.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        path = os.environ.get(TRAINING_VARIABLE)
        # Absent when nnU-Net predicts: only the network is built then.
        self.asked: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        seed = int(self.asked.get("random_seed", 0))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what nnU-Net draws from
        torch.manual_seed(seed)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.asked.get("epochs", self.num_epochs)
        self.num_iterations_per_epoch = self.asked.get("iterations_per_epoch", self.num_iterations_per_epoch)
        self.num_val_iterations_per_epoch = self.asked.get("validations_per_epoch", self.num_val_iterations_per_epoch)
        self.initial_lr = self.asked.get("learning_rate", self.initial_lr)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:  # noqa: N802
        """Mirror along the recipe's axes only, in training and in prediction."""
        settings = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        rotation, dummy, size, mirror = settings
        wanted = self.asked.get("mirror_axes")
        if wanted is not None and mirror is not None:
            # The recipe's axes are z, y, x; the network's may come in another order.
            order = self.plans_manager.transpose_forward
            mirror = tuple(axis for axis in mirror if order[axis] in wanted) or None
            self.inference_allowed_mirroring_axes = mirror
        return rotation, dummy, size, mirror

    def _build_loss(self) -> Any:  # noqa: ANN401
        loss = super()._build_loss()
        if self.asked.get("loss") != "marginal":
            return loss
        marginal = MarginalLoss(
            batch_dice=self.configuration_manager.batch_dice, ignore_label=self.label_manager.ignore_label
        )
        self.marginal = marginal
        return DeepSupervisionWrapper(marginal, loss.weight_factors) if self.enable_deep_supervision else marginal

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Tell the loss what was drawn, then step as nnU-Net does."""
        self._tell_drawn(batch)
        step: dict[str, Any] = super().train_step(batch)
        return step

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Tell the loss what was drawn, then judge as nnU-Net does."""
        self._tell_drawn(batch)
        step: dict[str, Any] = super().validation_step(batch)
        return step

    def _tell_drawn(self, batch: dict[str, Any]) -> None:
        if self.asked.get("loss") != "marginal":
            return
        drawn = torch.zeros(len(batch["keys"]), self.label_manager.num_segmentation_heads, dtype=torch.bool)
        for row, case in zip(drawn, batch["keys"], strict=True):
            row[self.asked["drawn"][str(case)]] = True
        self.marginal.drawn = drawn
