"""An nnU-Net v2 network computes the same after import, and what is not one is refused with what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from npc_contour.catalog import read_contract
from npc_contour.domain.pipelines import LargestComponent, Regions
from npc_networks.cli import main
from npc_networks.imports.arranging import arranged, read_mapping
from npc_networks.imports.names import check_names
from npc_networks.imports.nnunet_v2 import read_nnunet_v2
from npc_networks.imports.postprocessing import LARGEST_V2
from npc_networks.imports.residual import ResidualEncoderUNet, ResidualPlan
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.unet import PlainConvUNet, UNetPlan
from npc_testkit.nnunet_commands import largest_of
from npc_testkit.nnunet_v2 import (
    KERNELS,
    LIBRARY,
    STRIDES,
    UNET,
    architecture_of,
    dataset_json,
    draw_weights,
    plans_json,
    write_trained,
)

REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "inner": 3}
RESIDUAL = ResidualPlan(
    unet=UNetPlan(in_channels=1, classes=7, features=(4, 8, 8), kernels=KERNELS, strides=STRIDES, convs_per_stage=1),
    blocks=(1, 2, 2),
)


def _with_options(**options: object) -> dict[str, Any]:
    """Plans whose network has other keyword arguments."""
    architecture = architecture_of("PlainConvUNet")
    return plans_json(architecture={**architecture, "arch_kwargs": {**architecture["arch_kwargs"], **options}})


def _image() -> torch.Tensor:
    return torch.randn(1, 1, 8, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_logits_are_those_of_the_library(tmp_path: Path, kind: str) -> None:
    library = pytest.importorskip(LIBRARY)
    options = architecture_of(kind)["arch_kwargs"] | {
        "input_channels": 1, "num_classes": 7, "deep_supervision": True,
        "conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU,
    }  # fmt: skip
    theirs = draw_weights(getattr(library, kind)(**options))
    assert any(".all_modules." in key for key in theirs.state_dict())
    assert any(key.startswith("decoder.encoder.") for key in theirs.state_dict())

    ours = read_nnunet_v2(write_trained(tmp_path, theirs.state_dict(), plans=plans_json(kind)))

    with torch.inference_mode():
        np.testing.assert_allclose(ours.module(_image()), theirs(_image())[0], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "network"),
    [("PlainConvUNet", PlainConvUNet(UNET)), ("ResidualEncoderUNet", ResidualEncoderUNet(RESIDUAL))],
)
def test_a_compiled_networks_names_are_understood(tmp_path: Path, kind: str, network: nn.Module) -> None:
    theirs = draw_weights(network)
    weights = {f"_orig_mod.{key}": value for key, value in theirs.state_dict().items()}

    ours = read_nnunet_v2(write_trained(tmp_path, weights, plans=plans_json(kind)))

    with torch.inference_mode():
        np.testing.assert_array_equal(ours.module(_image()), theirs(_image()))
    assert (ours.classes, ours.modalities, ours.normalise_first) == (7, ("CT",), True)
    assert ours.normalisation[0].clip_hu == (-120.0, 260.0)


def test_folds_are_averaged_as_logits(tmp_path: Path) -> None:
    networks = [draw_weights(PlainConvUNet(UNET), seed) for seed in range(2)]
    for fold, network in enumerate(networks):
        write_trained(tmp_path, network.state_dict(), fold=str(fold))

    ours = read_nnunet_v2(tmp_path)

    with torch.inference_mode():
        expected = sum(network(_image()) for network in networks) / 2
        np.testing.assert_allclose(ours.module(_image()), expected, atol=1e-5)


def test_folds_and_checkpoints_are_those_that_version_2_takes(tmp_path: Path) -> None:
    weights = PlainConvUNet(UNET).state_dict()
    write_trained(tmp_path, weights, fold="all")
    assert "fold_all" in read_nnunet_v2(tmp_path).source
    write_trained(tmp_path, weights, fold="3")
    assert "fold_all" not in read_nnunet_v2(tmp_path).source

    final = tmp_path / "fold_3" / "checkpoint_final.pth"
    final.rename(final.with_name("checkpoint_best.pth"))
    with pytest.raises(ImportRefused, match=r"fold_3 holds checkpoint_best\.pth: take one by --checkpoint"):
        read_nnunet_v2(tmp_path, folds=["3"])
    assert "fold_3/checkpoint_best.pth" in read_nnunet_v2(tmp_path, checkpoint="checkpoint_best.pth").source


@pytest.mark.parametrize("value", [str, float, lambda label: [label] if label else 0])
def test_labels_are_read_as_version_2_reads_them(tmp_path: Path, value: Callable[[int], object]) -> None:
    weights = PlainConvUNet(UNET).state_dict()
    labels = {name: value(label) for name, label in dataset_json()["labels"].items() if name != "ignore"}

    found = read_nnunet_v2(write_trained(tmp_path, weights, dataset=dataset_json(labels=labels)))

    assert (found.classes, found.regions, found.label_names[1]) == (7, None, "R_II")


def test_inherited_and_old_plans_are_read(tmp_path: Path) -> None:
    weights = draw_weights(PlainConvUNet(UNET)).state_dict()
    assert read_nnunet_v2(write_trained(tmp_path / "a", weights, configuration="3d_small")).patch == (4, 8, 8)

    old = plans_json()
    fullres = old["configurations"]["3d_fullres"]
    del fullres["architecture"]
    fullres |= {
        "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2],
        "pool_op_kernel_sizes": STRIDES, "conv_kernel_sizes": KERNELS,
    }  # fmt: skip
    assert read_nnunet_v2(write_trained(tmp_path / "b", weights, plans=old)).classes == 7

    fullres |= {
        "UNet_class_name": "ResidualEncoderUNet",
        "n_conv_per_stage_encoder": [1, 2, 2], "n_conv_per_stage_decoder": [1, 1],
    }  # fmt: skip
    residual = ResidualEncoderUNet(RESIDUAL).state_dict()
    found = read_nnunet_v2(write_trained(tmp_path / "c", residual, plans=old)).module
    assert any(isinstance(part, ResidualEncoderUNet) for part in found.modules())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"configuration": "3d_cascade_fullres"}, "second stage of a cascade after 3d_lowres"),
        ({"configuration": "2d"}, "no configuration '2d', there are 3d_fullres"),
        ({"trainer": "nnUNetTrainerUMambaBot"}, "written by trainer nnUNetTrainerUMambaBot"),
        ({"plans": plans_json("UMambaBot")}, "is UMambaBot, supported are PlainConvUNet"),
        ({"plans": plans_json(patch_size=[64, 64])}, "two-dimensional"),
        (
            {"plans": plans_json(normalization_schemes=["OwnNormalization"])},
            "normalised by OwnNormalization; supported",
        ),
        ({"plans": plans_json(resampling_fn_data="resample_torch_simple")}, "resamples data by resample_torch_simple"),
        (
            {"plans": _with_options(nonlin_kwargs={"inplace": True, "negative_slope": 0.2})},
            "negative_slope = 0.2, expected",
        ),
        ({"plans": _with_options(norm_op_kwargs={"eps": 0.1, "affine": True})}, "eps = 0.1, expected"),
        ({"plans": _with_options(norm_op_kwargs={"eps": 1e-5, "affine": False})}, "affine = False, expected True"),
        ({"plans": _with_options(nonlin_first=True)}, "nonlin_first is true"),
        ({"plans": _with_options(squeeze_excitation=True)}, "'squeeze_excitation', which may change what is computed"),
        ({"plans": plans_json(pad_to_square=True)}, "'pad_to_square', which may change what is computed"),
        ({"plans": plans_json(preprocessor_name="OwnPreprocessor")}, "preprocessor_name is 'OwnPreprocessor'"),
        ({"plans": plans_json() | {"label_manager": "Own"}}, "label_manager is 'Own'"),
        ({"plans": plans_json() | {"image_reader_writer": "Tiff3DIO"}}, "image_reader_writer is 'Tiff3DIO', supported"),
        ({"dataset": dataset_json(labels=REGIONS)}, "has no 'regions_class_order'"),
        (
            {"dataset": dataset_json(labels=REGIONS, regions_class_order=[1, 2])},
            "3 regions, but regions_class_order is",
        ),
        ({"dataset": dataset_json(labels=REGIONS, regions_class_order=[2, 9, 1])}, "expected the labels 1, 2, ..."),
        ({"dataset": dataset_json(labels={"background": 0, "a": 2})}, "expected whole numbers 0, 1, 2"),
        ({"dataset": dataset_json(channel_names={"0": "CT", "1": "CT"})}, "for 2 channels"),
        ({"dataset": dataset_json(labels={"background": 0, "a": 1})}, r"shape \(7, 8, 1, 1, 1\), expected \(2, 8,"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_trained(tmp_path, PlainConvUNet(UNET).state_dict(), **change)

    with pytest.raises(ImportRefused, match=message):
        read_nnunet_v2(tmp_path)


def test_a_network_that_learned_in_ras_sees_the_patient_as_it_learned(tmp_path: Path) -> None:
    theirs = draw_weights(PlainConvUNet(UNET))
    plans = plans_json() | {"image_reader_writer": "NibabelIOWithReorient"}

    ours = read_nnunet_v2(write_trained(tmp_path, theirs.state_dict(), plans=plans))

    assert ours.flipped_zyx == (1, 2)


def test_channels_need_no_numbers(tmp_path: Path) -> None:
    weights = draw_weights(PlainConvUNet(UNET)).state_dict()
    dataset = dataset_json(channel_names={"CT": "CT"})

    assert read_nnunet_v2(write_trained(tmp_path, weights, dataset=dataset)).modalities == ("CT",)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (("background", "Parotid_R", "Parotid_L", "Tongue"), "label 1 of the network is 'Parotid_R'"),
        (("background", "parotid left", "right parotid", "Brain"), None),
        (("background", "Glandula parotis sin", "gl. parotis dex", "x"), None),
        (("background", "Glandula parotis dex", "gl. parotis sin", "x"), "the other side"),
        ((), None),
    ],
)
def test_labels_stand_where_the_pipeline_has_them(found: tuple[str, ...], message: str | None) -> None:
    expected = ("background", "Parotid_L in Glands", "Parotid_R", "Brain")
    if message is None:
        check_names("label", found, expected)
    else:
        with pytest.raises(ImportRefused, match=message):
            check_names("label", found, expected)


@pytest.mark.parametrize(
    ("scheme", "masked", "expected"),
    [
        ("ZScoreNormalization", True, ("zscore", True)),
        ("CTNormalization", True, ("ct", False)),
        ("NoNormalization", False, ("ct", False)),
        ("RescaleTo01Normalization", False, ("rescale01", False)),
        ("RGBTo01Normalization", False, ("rgb01", False)),
    ],
)
def test_every_normalisation_scheme_is_read(
    tmp_path: Path,
    scheme: str,
    masked: bool,  # noqa: FBT001
    expected: tuple[str, bool],
) -> None:
    plans = plans_json(normalization_schemes=[scheme], use_mask_for_norm=[masked])

    (how,) = read_nnunet_v2(write_trained(tmp_path, PlainConvUNet(UNET).state_dict(), plans=plans)).normalisation

    assert (how.scheme, how.masked) == expected


def test_regions_have_an_output_each_and_write_their_labels_in_order(tmp_path: Path) -> None:
    network = draw_weights(PlainConvUNet(replace(UNET, classes=3)))
    dataset = dataset_json(labels=REGIONS, regions_class_order=[1, 2, 3])

    ours = read_nnunet_v2(write_trained(tmp_path, network.state_dict(), dataset=dataset))

    assert (ours.classes, ours.regions) == (4, Regions((1, 2, 3), 0.0))
    assert ours.module(_image()).shape[1] == 3


def test_mirroring_is_what_training_allowed(tmp_path: Path) -> None:
    write_trained(tmp_path, PlainConvUNet(UNET).state_dict())

    assert read_nnunet_v2(tmp_path).mirror_axes == ()
    assert read_nnunet_v2(tmp_path, mirroring=True).mirror_axes == (0, 1, 2)


def test_postprocessing_of_version_2_is_read_without_its_function(tmp_path: Path) -> None:
    write_trained(tmp_path, PlainConvUNet(UNET).state_dict())
    file = tmp_path / "postprocessing.pkl"
    file.write_bytes(largest_of([1, (2, 3)], 4))

    rules = LargestComponent((1, 2, 3), corners=True), LargestComponent((4,), corners=True)
    assert read_nnunet_v2(tmp_path, postprocessing=file).keep_largest == rules

    file.write_bytes(largest_of([0]))
    with pytest.raises(ImportRefused, match="0 is no label of a structure"):
        read_nnunet_v2(tmp_path, postprocessing=file)
    file.write_bytes(largest_of([1]).replace(LARGEST_V2.name.encode(), b"other"))
    with pytest.raises(ImportRefused, match=r"asks for nnunetv2\..*\.other"):
        read_nnunet_v2(tmp_path, postprocessing=file)


def test_missing_files_and_weights_are_named(tmp_path: Path) -> None:
    weights = PlainConvUNet(UNET).state_dict()
    with pytest.raises(ImportRefused, match="holds no fold_"):
        read_nnunet_v2(tmp_path)
    write_trained(tmp_path, {key: value for key, value in weights.items() if "seg_layers" not in key})
    with pytest.raises(ImportRefused, match=r"lacks 4 of \d+ weights: decoder\.seg_layers\.0\.weight"):
        read_nnunet_v2(tmp_path)
    write_trained(tmp_path, weights)
    with pytest.raises(ImportRefused, match=r"fold_4/checkpoint_final\.pth is missing"):
        read_nnunet_v2(tmp_path, folds=["4"])
    (tmp_path / "plans.json").write_text("{")
    with pytest.raises(ImportRefused, match="is no JSON"):
        read_nnunet_v2(tmp_path)


def test_import_writes_a_model_folder(tmp_path: Path) -> None:
    write_trained(
        tmp_path / "trained",
        draw_weights(ResidualEncoderUNet(RESIDUAL)).state_dict(),
        plans=plans_json("ResidualEncoderUNet"),
    )

    arguments = [
        "import",
        "nnunet-v2",
        str(tmp_path / "trained"),
        "--pipeline",
        "ln_ctv",
        "--repo",
        str(tmp_path / "r"),
    ]
    assert main(arguments) == 0

    contract = read_contract(tmp_path / "r" / "ln_ctv" / "contract.json")
    assert (contract.normalise_first, contract.separate_z, len(contract.labels)) == (True, True, 7)
    assert contract.normalisation[0].mean_hu == 35.0
    assert (tmp_path / "r" / "ln_ctv" / "1" / "model.py").is_file()


def test_a_network_that_finds_nothing_of_a_label_is_refused_unless_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_trained(tmp_path / "net", draw_weights(PlainConvUNet(UNET)).state_dict())
    summary = folder / "fold_0" / "validation" / "summary.json"
    summary.parent.mkdir()
    dice = {str(label): {"Dice": math.nan if label == 6 else 0.0 if label == 2 else 0.8} for label in range(1, 7)}
    summary.write_text(json.dumps({"foreground_mean": {"Dice": 0.6}, "mean": dice, "metric_per_case": []}))
    arguments = ["import", "nnunet-v2", str(folder), "--pipeline", "ln_ctv", "--repo", str(tmp_path / "repo")]

    assert main(arguments) == 2
    assert "finds nothing of label 2 (L_II): its Dice is 0; --accept" in capsys.readouterr().out
    assert not (tmp_path / "repo").exists()

    assert main([*arguments, "--accept"]) == 0
    card = (tmp_path / "repo" / "ln_ctv" / "MODEL_CARD.md").read_text()
    assert "| 1 | R_II | 0.800 |\n| 2 | L_II | 0.000 |" in card
    assert "| 6 |" not in card


def test_labels_are_put_where_whoever_imports_says(tmp_path: Path) -> None:
    names = ("background", "R_II", "L_II", "R_IV", "L_IV", "R_Ib", "L_Ib")
    ours = ("background", *(f"CTVn_{name}" for name in names[1:]))
    found = read_nnunet_v2(write_trained(tmp_path, draw_weights(PlainConvUNet(UNET)).state_dict()))

    swapped = arranged(found, {"R_II": "CTVn_L_II", "2": "1"}, ours)

    with torch.inference_mode():
        straight = found.module(_image())
        np.testing.assert_array_equal(swapped.module(_image()), straight[:, [0, 2, 1, 3, 4, 5, 6]])
    assert swapped.label_names == ("background", "CTVn_R_II", "CTVn_L_II", *names[3:])
    turned = arranged(found, {"R_II": "CTVn_L_II", "L_II": "CTVn_R_IV", "R_IV": "CTVn_R_II"}, ours)
    with torch.inference_mode():
        np.testing.assert_array_equal(turned.module(_image()), straight[:, [0, 3, 1, 2, 4, 5, 6]])
    assert turned.label_names == (*ours[:4], *names[4:])
    with pytest.raises(ImportRefused, match="several labels of the network fall on CTVn_L_II"):
        arranged(found, {"R_II": "CTVn_L_II"}, ours)
    with pytest.raises(ImportRefused, match="the network has no label 'R_III'; it has background, R_II"):
        arranged(found, {"R_III": "1"}, ours)
    with pytest.raises(ImportRefused, match="expected THEIRS=OURS"):
        read_mapping(["R_II"])
