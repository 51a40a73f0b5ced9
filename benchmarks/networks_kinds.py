"""Kinds of plans: which keys are taken and which refused, and networks of other kinds beside the real nnU-Net.

Part of `benchmarks/networks.py`. The networks here have random weights, drawn and written by the real nnunetv2: labels
change from voxel to voxel, so that a grid off by one or an axis the wrong way round shows at once. Cases have odd
sizes.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from npc_contour.catalog import read_contract
from npc_networks.imports.network import Target, write_network
from npc_networks.imports.nnunet_v2 import read_nnunet_v2
from npc_networks.imports.origin import Origin
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.parity.cases import read_case
from npc_networks.parity.comparison import Agreement, compare
from npc_networks.parity.original import predict
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_networks.unet import PlainConvUNet
from npc_testkit.nnunet_commands import RANDOM_V2, run
from npc_testkit.nnunet_v2 import UNET, dataset_json, draw_weights, plans_json, write_trained

ODD_ZYX = (23, 47, 39)
Change = Callable[[dict[str, Any], dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A network of another kind than most.

    Attributes:
        spacing_xyz_mm: of the case.
    """

    name: str
    plans: dict[str, Any]
    dataset: dict[str, Any]
    configuration: str = "3d_fullres"
    spacing_xyz_mm: tuple[float, float, float] = (0.9, 0.9, 2.3)


def kinds() -> Iterator[Kind]:
    """Yield an anisotropic residual network of two channels and regions, one of low resolution, and one of RAS."""
    schemes = {"normalization_schemes": ["CTNormalization", "ZScoreNormalization"], "use_mask_for_norm": [False, False]}
    residual = plans_json("ResidualEncoderUNet", spacing=[4.0, 0.9, 0.9], **schemes)
    intensities = residual["foreground_intensity_properties_per_channel"]
    intensities["1"] = dict(intensities["0"])
    regions = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "heart of it": [3]}
    two = dataset_json(channel_names={"0": "CT", "1": "MR"}, labels=regions, regions_class_order=[1, 2, 3])
    yield Kind("anisotropic residual, two channels, regions", residual, two, spacing_xyz_mm=(0.8, 0.8, 3.7))
    low = plans_json()
    low["configurations"]["3d_lowres"] = {"inherits_from": "3d_fullres", "spacing": [4.5, 1.7, 1.7]}
    yield Kind("3d_lowres", low, dataset_json(), "3d_lowres")
    yield Kind("RAS reader", plans_json() | {"image_reader_writer": "NibabelIOWithReorient"}, dataset_json())


def agreements(python: Path, root: Path) -> dict[str, Agreement]:
    """Compare each kind with nnU-Net's own code, sums in single precision as here."""
    return {kind.name: _agreement(kind, python, root / str(number)) for number, kind in enumerate(kinds())}


def _agreement(kind: Kind, python: Path, root: Path) -> Agreement:
    trained = root / "trained"
    trained.mkdir(parents=True)
    (trained / "plans.json").write_text(json.dumps(kind.plans))
    (trained / "dataset.json").write_text(json.dumps(kind.dataset))
    run(python, "-I", RANDOM_V2, trained, kind.configuration)
    network = read_nnunet_v2(trained)
    names = ("background", *(f"label {value}" for value in range(1, network.classes)))
    write_network(network, Target("kind", network.modalities, names), root)
    contract = read_contract(root / "kind" / "contract.json")
    files = tuple(_channel(root / f"case_{index:04d}.nii.gz", index, kind) for index in range(len(network.modalities)))
    case = read_case(files[0], len(files))
    (theirs,) = predict(Origin("nnunet-v2", trained), [files], python, maps=False, single_sums=True).predictions
    segmenter = VolumeSegmenter(contract, OpenVinoEngine(contract, root / "kind" / contract.weights_file))
    return compare(segmenter.segment(case.hu, case.spacing_zyx_mm), theirs.labels, names)


def _channel(path: Path, seed: int, kind: Kind) -> Path:
    noise = np.random.default_rng(seed).normal(0, 1, ODD_ZYX)
    image = SimpleITK.GetImageFromArray((ndimage.gaussian_filter(noise, 2.0) * 4000).astype(np.int16))
    image.SetSpacing(kind.spacing_xyz_mm)
    SimpleITK.WriteImage(image, str(path))
    return path


def keys() -> tuple[int, int, list[str]]:
    """Return how many keys of plans and dataset.json are taken, how many changes are refused, and which are not.

    Each change asks for another computation than this product's, or says what it does not know; all must be refused.
    """
    weights = draw_weights(PlainConvUNet(UNET)).state_dict()
    plans, dataset = plans_json(), dataset_json()
    with tempfile.TemporaryDirectory() as name:
        read_nnunet_v2(write_trained(Path(name), weights, plans=plans, dataset=dataset))
        taken = sum(1 for _ in _leaves(plans | {"configurations": plans["configurations"]["3d_fullres"]}))
        taken += sum(1 for key in dataset if key != "labels") + 1
        let_pass = []
        refused = 0
        for words, change in changes():
            other, others = copy.deepcopy(plans), copy.deepcopy(dataset)
            change(other, others)
            try:
                read_nnunet_v2(write_trained(Path(name), weights, plans=other, dataset=others))
                let_pass.append(words)
            except ImportRefused:
                refused += 1
    return taken, refused, let_pass


def _leaves(table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value)
        else:
            yield key


def changes() -> Iterator[tuple[str, Change]]:
    """Yield (words, change of plans and data set) that must not be taken."""
    for table, key, value in (
        ("", "image_reader_writer", "TheirOwnIO"),
        ("", "label_manager", "TheirLabels"),
        ("", "transpose_forward", [0, 0, 1]),
        ("", "unheard_of", 1),
        ("chosen", "preprocessor_name", "TheirPreprocessor"),
        ("chosen", "normalization_schemes", ["TheirNormalization"]),
        ("chosen", "use_mask_for_norm", [False, False]),
        ("chosen", "spacing", [3.0, 1.0]),
        ("chosen", "patch_size", [16, 16]),
        ("chosen", "previous_stage", "3d_lowres"),
        ("chosen", "resampling_fn_data", "resample_torch_fornnunet"),
        ("chosen", "resampling_fn_probabilities", "no_resampling_hack"),
        ("chosen", "unheard_of", 1),
        ("resampling_fn_data_kwargs", "order", 1),
        ("resampling_fn_data_kwargs", "order_z", 1),
        ("resampling_fn_data_kwargs", "force_separate_z", True),
        ("resampling_fn_data_kwargs", "separate_z_anisotropy_threshold", 4),
        ("resampling_fn_data_kwargs", "unheard_of", 1),
        ("resampling_fn_probabilities_kwargs", "order", 0),
        ("resampling_fn_probabilities_kwargs", "unheard_of", 1),
        ("architecture", "network_class_name", "theirs.TheirUNet"),
        ("architecture", "unheard_of", 1),
        ("arch_kwargs", "n_stages", 4),
        ("arch_kwargs", "conv_op", "torch.nn.modules.conv.Conv2d"),
        ("arch_kwargs", "norm_op", "torch.nn.BatchNorm3d"),
        ("arch_kwargs", "norm_op_kwargs", {"eps": 1e-3, "affine": True}),
        ("arch_kwargs", "nonlin", "torch.nn.ReLU"),
        ("arch_kwargs", "nonlin_kwargs", {"negative_slope": 0.2}),
        ("arch_kwargs", "nonlin_first", True),
        ("arch_kwargs", "conv_bias", False),
        ("arch_kwargs", "kernel_sizes", [[3, 3, 3]] * 3),
        ("arch_kwargs", "features_per_stage", [4, 8, 16]),
        ("arch_kwargs", "squeeze_excitation", True),
        ("dataset", "labels", {"background": 0, "a": 2}),
        ("dataset", "channel_names", {"0": "CT", "1": "MR"}),
        ("dataset", "unheard_of", 1),
    ):
        yield f"{table or 'plans'}: {key} = {value!r}", _changing(table, key, value)


def _changing(table: str, key: str, value: object) -> Change:
    def change(plans: dict[str, Any], dataset: dict[str, Any]) -> None:
        chosen = plans["configurations"]["3d_fullres"]
        places = {"": plans, "chosen": chosen, "dataset": dataset, "architecture": chosen["architecture"]}
        places["arch_kwargs"] = chosen["architecture"]["arch_kwargs"]
        places.get(table, chosen.get(table))[key] = value

    return change
