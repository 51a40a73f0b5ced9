"""Small networks as nnU-Net v1 leaves them: plans.pkl, checkpoint, and the network itself with its own names.

`GenericUNet` has the names, shapes and order of computation of version 1's network, which the importer must reproduce
with a network of its own: pooling by strides, transposed convolutions and heads without bias, and a decoder whose
stage u (0 = deepest) has the u-th kernel from the end of the plans.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

POOLS = [[1, 2, 2], [2, 2, 2]]
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]


def plans(**changes: object) -> dict[str, Any]:
    """Return plans of one stage and two z-scored channels; three labels."""
    stage = {
        "batch_size": 2,
        "patch_size": np.array([8, 16, 16]),
        "current_spacing": np.array([3.0, 1.0, 1.0]),
        "pool_op_kernel_sizes": POOLS,
        "conv_kernel_sizes": KERNELS,
    }
    return {
        "num_stages": 1,
        "num_modalities": 2,
        "modalities": {0: "non_contrast_CT", 1: "contrast_CT"},
        "normalization_schemes": OrderedDict([(0, "nonCT"), (1, "nonCT")]),
        "use_mask_for_norm": OrderedDict([(0, False), (1, False)]),
        "dataset_properties": {"intensityproperties": None},
        "num_classes": 2,
        "base_num_features": 4,
        "conv_per_stage": 2,
        "transpose_forward": [np.int64(0), 1, 2],
        "transpose_backward": [np.int64(0), 1, 2],
        "plans_per_stage": {0: stage},
    } | changes


def ct_plans(**changes: object) -> dict[str, Any]:
    """Return plans of one CT channel normalised by the training data's intensities; six labels."""
    intensities = {"mean": 35.0, "sd": 80.0, "percentile_00_5": -120.0, "percentile_99_5": 260.0, "median": 40.0}
    return (
        plans(
            num_modalities=1,
            modalities={0: "CT"},
            normalization_schemes=OrderedDict([(0, "CT")]),
            use_mask_for_norm=OrderedDict([(0, False)]),
            dataset_properties={"intensityproperties": {0: {k: np.float64(v) for k, v in intensities.items()}}},
            num_classes=6,
        )
        | changes
    )


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: list[int], stride: list[int]) -> None:
        super().__init__()
        depth, height, width = kernel
        padding = (depth // 2, height // 2, width // 2)
        self.conv = nn.Conv3d(inputs, outputs, (depth, height, width), (stride[0], stride[1], stride[2]), padding)
        self.instnorm = nn.InstanceNorm3d(outputs, eps=1e-5, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.instnorm(self.conv(x)), 1e-2)


class _Stack(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: list[int], stride: list[int], count: int) -> None:
        super().__init__()
        first = _Block(inputs, outputs, kernel, stride)
        self.blocks = nn.Sequential(first, *(_Block(outputs, outputs, kernel, [1, 1, 1]) for _ in range(count - 1)))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.blocks(x)
        return answer


class GenericUNet(nn.Module):
    """Version 1's network of the last stage, deep supervision heads included."""

    def __init__(self, of: dict[str, Any]) -> None:
        super().__init__()
        stage = of["plans_per_stage"][max(of["plans_per_stage"])]
        kernels, pools = stage["conv_kernel_sizes"], stage["pool_op_kernel_sizes"]
        count, depth = of["conv_per_stage"], len(pools)
        width = [min(of["base_num_features"] * 2**level, 320) for level in range(depth + 1)]
        inputs = [of["num_modalities"], *width]
        strides = [[1, 1, 1], *pools]
        context: list[nn.Module] = [_Stack(inputs[d], width[d], kernels[d], strides[d], count) for d in range(depth)]
        bottom = nn.Sequential(
            _Stack(inputs[depth], width[depth], kernels[depth], strides[depth], count - 1),
            _Stack(width[depth], width[depth], kernels[depth], [1, 1, 1], 1),
        )
        self.conv_blocks_context = nn.ModuleList([*context, bottom])
        up, localization, heads = [], [], []
        for u in range(depth):
            skip = width[depth - 1 - u]
            up.append(nn.ConvTranspose3d(width[depth - u], skip, pools[-(u + 1)], pools[-(u + 1)], bias=False))
            kernel = kernels[-(u + 1)]
            localization.append(
                nn.Sequential(
                    _Stack(2 * skip, skip, kernel, [1, 1, 1], count - 1), _Stack(skip, skip, kernel, [1, 1, 1], 1)
                )
            )
            heads.append(nn.Conv3d(skip, of["num_classes"] + 1, 1, bias=False))
        self.tu, self.conv_blocks_localization = nn.ModuleList(up), nn.ModuleList(localization)
        self.seg_outputs = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.conv_blocks_context:
            x = block(x)
            skips.append(x)
        for u, (up, block) in enumerate(zip(self.tu, self.conv_blocks_localization, strict=True)):
            x = block(torch.cat((up(x), skips[-(u + 2)]), dim=1))
        answer: Tensor = self.seg_outputs[-1](x)
        return answer


def random_network(of: dict[str, Any], seed: int = 0) -> GenericUNet:
    """Return a network whose every weight is drawn, norms included, and whose answers are rarely undecided."""
    network = GenericUNet(of).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        for head in network.seg_outputs.parameters():
            head.mul_(10.0)
    return network


def write_folder(folder: Path, of: dict[str, Any], *, folds: tuple[str, ...] = ("fold_0",)) -> list[GenericUNet]:
    """Write plans and checkpoints as version 1's training does; return the networks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.pkl").write_bytes(pickle.dumps(of))
    networks = []
    for seed, fold in enumerate(folds):
        network = random_network(of, seed)
        write_checkpoint(folder / fold, network.state_dict())
        networks.append(network)
    return networks


def write_checkpoint(folder: Path, weights: dict[str, Any], trainer: str = "nnUNetTrainerV2") -> Path:
    """Write one checkpoint and the file that names its trainer."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model_final_checkpoint.model"
    content = {
        "epoch": 1000,
        "state_dict": OrderedDict(weights),
        "optimizer_state_dict": None,
        "plot_stuff": ([np.float64(0.1)], [np.float32(0.2)], [], [np.mean([0.5])]),
        "best_stuff": (np.float64(0.1), 0.2, None),
    }
    torch.save(content, path)
    description = {"init": ("plans.pkl", 0), "name": trainer, "class": f"<class '{trainer}'>", "plans": plans()}
    (folder / "model_final_checkpoint.model.pkl").write_bytes(pickle.dumps(OrderedDict(description)))
    return path
