"""What nnU-Net v2's plans may say beside what is computed here: every other key, and every other value, is refused.

A key that is not known may change the computation, and a network that is computed otherwise than it was trained is
wrong without a word. Keys that say nothing of prediction (batch size, statistics of the training data) are let pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from npc_networks.imports.keys import Keys
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.unet import NEGATIVE_SLOPE, NORM_EPS

_PLANS = frozenset({
    *("dataset_name", "plans_name", "original_median_spacing_after_transp", "original_median_shape_after_transp"),
    *("image_reader_writer", "transpose_forward", "transpose_backward", "configurations", "experiment_planner_used"),
    *("label_manager", "foreground_intensity_properties_per_channel"),
})  # fmt: skip
_CONFIGURATION = frozenset({
    *("inherits_from", "data_identifier", "preprocessor_name", "batch_size", "patch_size", "spacing", "batch_dice"),
    *("median_image_size_in_voxels", "normalization_schemes", "use_mask_for_norm", "architecture", "next_stage"),
    *("previous_stage", "resampling_fn_data", "resampling_fn_data_kwargs", "resampling_fn_seg"),
    *("resampling_fn_seg_kwargs", "resampling_fn_probabilities", "resampling_fn_probabilities_kwargs"),
    # Before version 2.3 the network stood here.
    *("UNet_class_name", "UNet_base_num_features", "n_conv_per_stage_encoder", "n_conv_per_stage_decoder"),
    *("num_pool_per_axis", "pool_op_kernel_sizes", "conv_kernel_sizes", "unet_max_num_features"),
})  # fmt: skip
_ARCHITECTURE = frozenset({"network_class_name", "arch_kwargs", "_kw_requires_import"})
_NETWORK = frozenset({
    *("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage_decoder", "conv_bias"),
    *("norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs", "nonlin_first"),
    *("deep_supervision", "n_conv_per_stage", "n_blocks_per_stage"),
})  # fmt: skip
_RESAMPLING = frozenset({"is_seg", "order", "order_z", "force_separate_z", "separate_z_anisotropy_threshold"})
_THRESHOLD = 3
"""Slices so many times as thick as pixels are wide are treated apart."""
_NORM = {"eps": NORM_EPS, "affine": True, "track_running_stats": False, "momentum": None}
_NONLIN = {"negative_slope": NEGATIVE_SLOPE, "inplace": None}
"""Of an option whose value is None any value computes the same."""
_DATASET = frozenset({
    *("channel_names", "modality", "labels", "numTraining", "file_ending", "regions_class_order", "name"),
    *("description", "reference", "licence", "license", "release", "tensorImageSize", "dataset_name"),
    *("converted_by", "numTest", "training", "test", "dim", "overwrite_image_reader_writer"),
    *("citation", "dataset", "validation"),
})  # fmt: skip


def check_plans(plans: Keys, dataset: Keys, chosen: Keys) -> None:
    """Return when plans, data set and configuration ask for nothing but what is computed here.

    Raises:
        ImportRefused: a key is unknown, or another preprocessor or label manager is named.
    """
    _only(plans, _PLANS)
    _only(dataset, _DATASET)
    _only(chosen, _CONFIGURATION)
    for keys, key, expected in (
        (chosen, "preprocessor_name", "DefaultPreprocessor"),
        (plans, "label_manager", "LabelManager"),
    ):
        if key in keys and keys.get(key) not in (expected, None):
            raise ImportRefused(f"{keys.where}: {key} is {keys.get(key)!r}, expected {expected!r}")
    for what in ("data", "probabilities"):
        options = Keys(chosen.mapping(f"resampling_fn_{what}_kwargs"), f"{chosen.where}, resampling of {what}")
        _only(options, _RESAMPLING)
        key = "separate_z_anisotropy_threshold"
        if key in options and options.get(key) != _THRESHOLD:
            raise ImportRefused(f"{options.where}: {key} is {options.get(key)!r}, expected {_THRESHOLD}")


def check_architecture(architecture: Keys, options: Keys) -> None:
    """Return when the network's keyword arguments are those that are built here.

    Raises:
        ImportRefused: one is unknown or has another value.
    """
    _only(architecture, _ARCHITECTURE)
    _only(options, _NETWORK)
    for key, expected in (("norm_op_kwargs", _NORM), ("nonlin_kwargs", _NONLIN)):
        _same_options(options, key, expected)
    if "nonlin_first" in options and options.get("nonlin_first"):
        raise ImportRefused(f"{options.where}: nonlin_first is true; only normalisation before it is built")
    if "n_stages" in options and options.get("n_stages") != len(options.numbers("features_per_stage")):
        raise ImportRefused(f"{options.where}: n_stages is {options.get('n_stages')}, features_per_stage has others")


def _same_options(options: Keys, key: str, expected: Mapping[str, Any]) -> None:
    found = options.get(key) if key in options else None
    for name, value in Keys({} if found is None else found, f"{options.where}, {key}").items():
        if name not in expected:
            raise ImportRefused(f"{options.where}: {key} has {name!r}, which is not known here")
        wanted = expected[name]
        if wanted is not None and not (value == wanted or (_is_float(value) and math.isclose(value, wanted))):
            raise ImportRefused(f"{options.where}: {key} has {name} = {value!r}, expected {wanted!r}")


def _is_float(value: object) -> bool:
    return isinstance(value, float) and not isinstance(value, bool)


def _only(keys: Keys, known: frozenset[str]) -> None:
    unknown = sorted(str(name) for name, _ in keys.items() if name not in known)
    if unknown:
        raise ImportRefused(
            f"{keys.where} has {', '.join(map(repr, unknown))}, which may change what is computed and is not known here"
        )
