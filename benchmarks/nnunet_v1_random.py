"""Writes a trained folder of nnU-Net v1 with random weights; runs in the peers' environment (`make nnunet-peers`).

    .venv-nnunet/bin/python benchmarks/nnunet_v1_random.py FOLDER

The real nnunet's trainer builds the network and writes the checkpoint; nothing is trained.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

POOLS = [[1, 2, 2], [2, 2, 2], [2, 2, 2]]
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
INTENSITIES = {"mean": 35.0, "sd": 180.0, "percentile_00_5": -900.0, "percentile_99_5": 900.0, "median": 30.0}
LABELS = 6


def plans() -> dict[str, Any]:
    stage = {
        "batch_size": 2,
        "num_pool_per_axis": [2, 3, 3],
        "patch_size": np.array([32, 64, 64]),
        "median_patient_size_in_voxels": np.array([100, 160, 160]),
        "current_spacing": np.array([3.0, 3.0, 3.0]),
        "original_spacing": np.array([3.0, 3.0, 3.0]),
        "do_dummy_2D_data_aug": False,
        "pool_op_kernel_sizes": POOLS,
        "conv_kernel_sizes": KERNELS,
    }
    return {
        "num_stages": 1,
        "num_modalities": 1,
        "modalities": {0: "CT"},
        "normalization_schemes": OrderedDict([(0, "CT")]),
        "dataset_properties": {"intensityproperties": {0: INTENSITIES}},
        "num_classes": LABELS,
        "all_classes": list(range(1, LABELS + 1)),
        "base_num_features": 8,
        "conv_per_stage": 2,
        "use_mask_for_norm": OrderedDict([(0, False)]),
        "keep_only_largest_region": None,
        "min_region_size_per_class": None,
        "min_size_per_class": None,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "data_identifier": "nnUNetData_plans_v2.1",
        "preprocessor_name": "GenericPreprocessor",
        "plans_per_stage": {0: stage},
    }


def main(folder: Path) -> None:
    (folder / "fold_0").mkdir(parents=True)
    path = folder / "plans.pkl"
    path.write_bytes(pickle.dumps(plans()))
    trainer = nnUNetTrainerV2(str(path), 0, str(folder), str(folder), stage=0, fp16=False)
    trainer.initialize(training=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trainer.network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        for head in trainer.network.seg_outputs.parameters():
            head.mul_(10.0)
    trainer.save_checkpoint(str(folder / "fold_0" / "model_final_checkpoint.model"), save_optimizer=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
