"""An nnU-Net v1 network computes the same after import, and what is not one is refused with what was found."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from npc_contour.catalog import read_contract
from npc_contour.domain.pipelines import LargestComponent, Regions
from npc_networks.cli import main
from npc_networks.imports.nnunet_v1 import read_nnunet_v1
from npc_networks.imports.plans_v1 import read_plans
from npc_networks.imports.safe_files import ImportRefused, read_checkpoint, read_pickle
from npc_networks.serving.engines import OpenVinoEngine
from npc_networks.serving.pipeline import VolumeSegmenter
from npc_testkit.nnunet_v1 import GenericUNet, ct_plans, plans, random_network, write_checkpoint, write_folder

EXPORT = {"force_separate_z": None, "interpolation_order": 1, "interpolation_order_z": 0}


class _Runs:
    """A pickle of it calls a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("make", [plans, ct_plans])
def test_probabilities_are_those_of_version_1(tmp_path: Path, make: Any) -> None:
    (theirs,) = write_folder(tmp_path, make())
    image = torch.randn(1, make()["num_modalities"], 8, 16, 16, generator=torch.Generator().manual_seed(1))

    ours = read_nnunet_v1(tmp_path)

    with torch.inference_mode():
        np.testing.assert_allclose(ours.module(image), torch.softmax(theirs(image), 1), atol=1e-6)
    assert (ours.patch, ours.spacing_mm, ours.transpose) == ((8, 16, 16), (3.0, 1.0, 1.0), (0, 1, 2))


def test_folds_are_averaged_as_probabilities(tmp_path: Path) -> None:
    networks = write_folder(tmp_path, plans(), folds=("fold_0", "fold_1", "fold_2"))
    image = torch.randn(1, 2, 8, 16, 16, generator=torch.Generator().manual_seed(1))

    every, two = read_nnunet_v1(tmp_path), read_nnunet_v1(tmp_path, folds=["0", "2"])

    with torch.inference_mode():
        answers = [torch.softmax(network(image), 1) for network in networks]
        np.testing.assert_allclose(every.module(image), sum(answers) / 3, atol=1e-6)
        np.testing.assert_allclose(two.module(image), (answers[0] + answers[2]) / 2, atol=1e-6)


def test_names_left_by_wrappers_are_understood(tmp_path: Path) -> None:
    write_folder(tmp_path, plans(), folds=())
    weights = {f"module.{key}": value for key, value in random_network(plans()).state_dict().items()}
    write_checkpoint(tmp_path / "all", weights)

    assert "all/model_final_checkpoint.model" in read_nnunet_v1(tmp_path).source


def test_normalisation_is_the_plans(tmp_path: Path) -> None:
    write_folder(tmp_path / "ct", ct_plans(), folds=())
    write_folder(tmp_path / "zscore", plans(), folds=())

    (ct,) = read_plans(tmp_path / "ct" / "plans.pkl").normalisation
    zscores = read_plans(tmp_path / "zscore" / "plans.pkl").normalisation

    masked = {"normalization_schemes": {0: "CT2"}, "use_mask_for_norm": {0: True}}
    write_folder(tmp_path / "ct2", ct_plans(**masked), folds=())
    write_folder(tmp_path / "none", plans(normalization_schemes={0: "noNorm", 1: "nonCT"}), folds=())
    (ct2,) = read_plans(tmp_path / "ct2" / "plans.pkl").normalisation
    unchanged, _ = read_plans(tmp_path / "none" / "plans.pkl").normalisation

    assert (ct2.scheme, ct2.clip_hu, ct2.masked) == ("clipped_zscore", (-120.0, 260.0), True)
    assert (unchanged.scheme, unchanged.mean_hu, unchanged.std_hu) == ("ct", 0.0, 1.0)
    assert (ct.scheme, ct.clip_hu, ct.mean_hu, ct.std_hu) == ("ct", (-120.0, 260.0), 35.0, 80.0)
    assert [how.scheme for how in zscores] == ["zscore", "zscore"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_mask_for_norm": {0: "some", 1: False}}, "use_mask_for_norm of channel 0 is 'some', expected yes or no"),
        ({"normalization_schemes": {0: "CT2", 1: "CT2"}}, "intensityproperties is a NoneType"),
        ({"segmentation_export_params": EXPORT | {"interpolation_order": 3}}, "interpolation_order is 3, expected 1"),
        (
            {"normalization_schemes": {0: "CT"}, "num_modalities": 1, "modalities": {0: "CT"}},
            "intensityproperties is a NoneType",
        ),
        ({"num_modalities": 3}, r"3 modalities, but names for \[0, 1\]"),
        ({"num_classes": "two"}, "num_classes is 'two', expected a positive whole number"),
        ({"plans_per_stage": {}}, r"plans_per_stage has keys \[\], expected 0, 1"),
        ({"plans_per_stage": {0: {"patch_size": [64, 64]}}}, "no 'current_spacing'"),
        ({"preprocessor_name": "Preprocessor3DBetterResampling"}, "expected 'GenericPreprocessor'"),
        ({"transpose_forward": [0, 1]}, "two-dimensional networks are not taken"),
    ],
)
def test_plans_that_ask_for_something_else_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write_folder(tmp_path, plans(**changes), folds=())

    with pytest.raises(ImportRefused, match=message):
        read_plans(tmp_path / "plans.pkl")


def test_plans_of_early_versions_are_read_with_version_1s_own_defaults(tmp_path: Path) -> None:
    early = plans(transpose_backward=None)
    del early["conv_per_stage"], early["transpose_forward"]
    stage = early["plans_per_stage"][0]
    del stage["pool_op_kernel_sizes"], stage["conv_kernel_sizes"]
    stage["num_pool_per_axis"] = [1, 3, 2]
    (tmp_path / "plans.pkl").write_bytes(pickle.dumps(early))

    found = read_plans(tmp_path / "plans.pkl")

    assert (found.transpose, found.unet.convs_per_stage, set(found.unet.kernels)) == ((0, 1, 2), 2, {(3, 3, 3)})
    assert found.unet.strides == ((1, 1, 1), (1, 2, 1), (1, 2, 2), (2, 2, 2))


def test_a_missing_key_and_an_unknown_stage_are_named(tmp_path: Path) -> None:
    without = plans()
    del without["base_num_features"]
    (tmp_path / "plans.pkl").write_bytes(pickle.dumps(without))

    with pytest.raises(ImportRefused, match="has no 'base_num_features'; it has num_stages"):
        read_plans(tmp_path / "plans.pkl")
    with pytest.raises(ImportRefused, match=r"has stages \[0\], asked for stage 1"):
        read_plans(tmp_path / "plans.pkl", stage=1)


def test_a_pickle_with_code_is_refused_by_name_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("plans.pkl", {"num_stages": _Runs()}), ("other.pkl", np.array([_Runs()], dtype=object))):
        (tmp_path / name).write_bytes(pickle.dumps(content))
        with pytest.raises(ImportRefused, match=r"asks for posix\.system"):
            read_pickle(tmp_path / name)
    torch.save({"state_dict": _Runs()}, tmp_path / "x.model")
    with pytest.raises(ImportRefused, match=r"posix\.system"):
        read_checkpoint(tmp_path / "x.model")

    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, kept: float) -> None:
    write_folder(tmp_path, plans())
    for path, read in (
        (tmp_path / "plans.pkl", read_plans),
        (tmp_path / "fold_0" / "model_final_checkpoint.model", read_checkpoint),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(ImportRefused, match=path.name.replace(".", r"\.")):
            read(path)


def _without(key: str) -> Any:
    return lambda weights: {name: value for name, value in weights.items() if name != key}


def _changed(key: str, value: Any) -> Any:
    return lambda weights: weights | {key: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("tu.0.weight"), r"lacks 2 of \d+ weights: decoder\.transpconvs\.0\.weight"),
        (_changed("tu.0.weight", torch.zeros(3, 3, 1, 1, 1)), r"shape \(3, 3, 1, 1, 1\), expected \(16, 8, 2, 2, 2\)"),
        (_changed("extra.weight", torch.zeros(1)), r"extra\.weight is no weight of nnU-Net v1's Generic_UNet"),
        (_changed("seg_outputs.7.weight", torch.zeros(3, 4, 1, 1, 1)), "no place for"),
        (_changed("tu.0.weight", "text"), "is a str, expected a tensor"),
        (_changed("tu.0.weight", torch.full((16, 8, 2, 2, 2), torch.nan)), "not numbers"),
        (lambda _: {}, "no state dict"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    write_folder(tmp_path, plans(), folds=())
    write_checkpoint(tmp_path / "fold_0", change(dict(random_network(plans()).state_dict())))

    with pytest.raises(ImportRefused, match=message):
        read_nnunet_v1(tmp_path)


def test_mirroring_is_taken_when_asked_for_and_trained_with(tmp_path: Path) -> None:
    write_folder(tmp_path, plans())
    assert read_nnunet_v1(tmp_path).mirror_axes == ()
    assert read_nnunet_v1(tmp_path, mirroring=True).mirror_axes == (0, 1, 2)

    write_checkpoint(tmp_path / "fold_0", random_network(plans()).state_dict(), "nnUNetTrainerV2_noMirroring")
    assert read_nnunet_v1(tmp_path, mirroring=True).mirror_axes == ()


def test_regions_are_sigmoids_written_in_order(tmp_path: Path) -> None:
    (theirs,) = write_folder(tmp_path, plans())
    image = torch.randn(1, 2, 8, 16, 16, generator=torch.Generator().manual_seed(1))

    ours = read_nnunet_v1(tmp_path, regions=[2, 1, 3])

    with torch.inference_mode():
        np.testing.assert_allclose(ours.module(image), torch.sigmoid(theirs(image)), atol=1e-6)
    assert ours.regions == Regions((2, 1, 3), 0.5)
    assert ours.classes == 4


def test_postprocessing_of_the_folder_is_taken(tmp_path: Path) -> None:
    write_folder(tmp_path, plans())
    assert read_nnunet_v1(tmp_path).keep_largest == ()

    rules = {"for_which_classes": [1, [1, 2]], "min_valid_object_sizes": "{1: 20.5, (1, 2): 7}"}
    (tmp_path / "postprocessing.json").write_text(json.dumps(rules))
    assert read_nnunet_v1(tmp_path).keep_largest == (
        LargestComponent((1,), corners=False, spare_mm3=20.5),
        LargestComponent((1, 2), corners=False, spare_mm3=7.0),
    )

    for content in ("{", '{"classes": [1]}', '{"for_which_classes": [0]}', '{"for_which_classes": ["a"]}'):
        (tmp_path / "postprocessing.json").write_text(content)
        with pytest.raises(ImportRefused, match=r"postprocessing\.json"):
            read_nnunet_v1(tmp_path)


def test_a_cascade_is_refused_as_one(tmp_path: Path) -> None:
    write_folder(tmp_path, plans())
    write_checkpoint(tmp_path / "fold_0", random_network(plans()).state_dict(), "nnUNetTrainerV2CascadeFullRes")

    with pytest.raises(ImportRefused, match="the second stage of a cascade, which are not supported"):
        read_nnunet_v1(tmp_path)


def test_other_folds_and_trainers_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, plans())
    with pytest.raises(ImportRefused, match=r"fold_3/model_final_checkpoint\.model is missing; .* holds fold_0"):
        read_nnunet_v1(tmp_path, folds=["3"])

    write_checkpoint(tmp_path / "fold_0", random_network(plans()).state_dict(), "nnUNetTrainerV2BraTSRegions")
    with pytest.raises(ImportRefused, match="trainer 'nnUNetTrainerV2BraTSRegions'; known"):
        read_nnunet_v1(tmp_path)
    assert read_nnunet_v1(tmp_path, trainer="nnUNetTrainerV2BraTSRegions").classes == 3


def test_an_imported_network_segments_as_version_1_does(tmp_path: Path) -> None:
    (theirs,) = write_folder(tmp_path / "trained", ct_plans(), folds=("all",))
    repository = tmp_path / "repo"

    arguments = ["import", "nnunet-v1", str(tmp_path / "trained"), "--pipeline", "ln_ctv", "--repo", str(repository)]
    assert main([*arguments, "--name", "lnctv_nnunet"]) == 0

    contract = read_contract(repository / "lnctv_nnunet" / "contract.json")
    assert not contract.demo
    assert contract.labels[1] == "CTVn_II_III_Va_R"
    assert contract.contract_sha256 in (repository / "lnctv_nnunet" / "config.pbtxt").read_text()
    engine = OpenVinoEngine(contract, repository / "lnctv_nnunet" / contract.weights_file)
    volume = np.random.default_rng(0).integers(-200, 300, (1, 8, 16, 16)).astype(np.int16)
    labels = VolumeSegmenter(contract, engine).segment(volume, (3.0, 1.0, 1.0))
    normalised = (np.clip(volume, -120, 260) - 35.0) / 80.0
    with torch.inference_mode():
        probabilities = torch.softmax(theirs(torch.from_numpy(normalised[np.newaxis].astype(np.float32))), 1)[0].numpy()
    assert contract.precision == "f32"
    assert np.mean(labels == probabilities.argmax(0)) > 0.9995


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (plans, ["--pipeline", "ln_ctv"], "takes 2 channels (non_contrast_CT, contrast_CT), the pipeline feeds 1"),
        (plans, ["--pipeline", "npc_oar_gtv", "--network", "npc_oar"], "labels 0 to 2, the pipeline's structures are"),
        (plans, ["--pipeline", "npc_oar_gtv"], "has networks npc_oar, npc_gtv: choose one with --network"),
        (plans, ["--pipeline", "npc_oar_gtv", "--network", "other"], "no network 'other'"),
        (ct_plans, ["--pipeline", "ln_ctv", "--name", "../x"], "cannot name a model"),
    ],
)
def test_what_does_not_fit_the_pipeline_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, arguments: list[str], message: str
) -> None:
    write_folder(tmp_path / "trained", make())

    status = main(["import", "nnunet-v1", str(tmp_path / "trained"), "--repo", str(tmp_path / "repo"), *arguments])

    assert status == 2
    assert message in capsys.readouterr().out
    assert not (tmp_path / "repo").exists()


SEGRAP_STAGE = {
    "patch_size": np.array([28, 224, 224]),
    "current_spacing": np.array([3.0, 0.54199219, 0.54199219]),
    "pool_op_kernel_sizes": [[1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
    "conv_kernel_sizes": [[1, 3, 3], [1, 3, 3], *([[3, 3, 3]] * 4)],
}


def test_a_network_of_segraps_size_has_a_place_for_every_weight(tmp_path: Path) -> None:
    segrap = plans(num_classes=54, base_num_features=32, plans_per_stage={1: SEGRAP_STAGE})
    write_folder(tmp_path, segrap, folds=())
    with torch.device("meta"):
        shapes = OrderedDict((key, tuple(value.shape)) for key, value in GenericUNet(segrap).state_dict().items())
    write_checkpoint(tmp_path / "fold_0", {key: torch.zeros(shape) for key, shape in shapes.items()})

    network = read_nnunet_v1(tmp_path)

    assert (network.classes, network.downsampling) == (55, (4, 32, 32))
    assert sum(weight.numel() for weight in network.module.parameters()) > 30_000_000
    assert len(shapes) == 98
