"""Small networks as nnU-Net v2 leaves them: plans.json, dataset.json, a checkpoint; the real package reads them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from npc_networks.unet import UNetPlan

LIBRARY = "dynamic_network_architectures.architectures.unet"
KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2))
UNET = UNetPlan(in_channels=1, classes=7, features=(4, 8, 8), kernels=KERNELS, strides=STRIDES)


def architecture_of(kind: str) -> dict[str, Any]:
    """Return how plans describe a network of three stages."""
    kwargs = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": KERNELS,
        "strides": STRIDES,
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    if kind == "PlainConvUNet":
        kwargs |= {"n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2]}
    else:
        kwargs |= {"n_blocks_per_stage": [1, 2, 2], "n_conv_per_stage_decoder": [1, 1]}
    return {
        "network_class_name": f"{LIBRARY}.{kind}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans_json(kind: str = "PlainConvUNet", **changes: object) -> dict[str, Any]:
    """Return plans of one CT channel; `changes` are keys of the configuration 3d_fullres."""
    resampling = {"order_z": 0, "force_separate_z": None}
    fullres = {
        "patch_size": [8, 16, 16],
        "spacing": [3.0, 1.0, 1.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "batch_dice": False,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
        "architecture": architecture_of(kind),
    } | changes
    intensities = {"mean": 35.0, "std": 80.0, "percentile_00_5": -120.0, "percentile_99_5": 260.0}
    return {
        "plans_name": "nnUNetPlans",
        "dataset_name": "Dataset001_Phantoms",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "3d_fullres": fullres,
            "3d_small": {"inherits_from": "3d_fullres", "patch_size": [4, 8, 8]},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }


def dataset_json(**changes: object) -> dict[str, Any]:
    """Return the description of a data set with six structures and a label to ignore."""
    names = ("R_II", "L_II", "R_IV", "L_IV", "R_Ib", "L_Ib")
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0} | {name: index for index, name in enumerate(names, 1)} | {"ignore": 7},
        "file_ending": ".nii.gz",
    } | changes


def draw_weights(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network with every weight drawn, norms included, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return network.eval()


def write_trained(
    folder: Path,
    weights: Any,
    *,
    plans: Any = None,
    dataset: Any = None,
    configuration: str = "3d_fullres",
    trainer: str = "nnUNetTrainer",
    fold: str = "0",
) -> Path:
    """Write one fold as version 2's training does; return its folder."""
    (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans or plans_json()))
    (folder / "dataset.json").write_text(json.dumps(dataset or dataset_json()))
    content = {
        "network_weights": weights,
        "optimizer_state": {},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)]},
        "_best_ema": np.float64(0.4),
        "current_epoch": 1000,
        "init_args": {"plans": plans_json(), "configuration": configuration, "fold": 0, "dataset_json": dataset_json()},
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder
