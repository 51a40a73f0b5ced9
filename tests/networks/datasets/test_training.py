"""Folds keep patients together, plans change only where a recipe says so, and the real nnunetv2 trains and resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from npc_contour.catalog import read_contract
from npc_networks.cli import main
from npc_networks.datasets.recipe import PlansPart, RecipeRefused
from npc_networks.datasets.training import lay_over, splits
from npc_testkit.nnunet_commands import write_planner
from npc_testkit.peers import require_nnunet_python
from npc_testkit.public_data import write_han5k, write_lnctvseg

LNCTV = """
layout = "lnctvseg"
dataset_id = 390
dataset_name = "Smoke"
reference = "invented phantoms"
terms = "none"
channels = ["CT"]
pipeline = "ln_ctv"
network = "ln_ctv"

[plans]
patch_size = [32, 48, 48]
"""

SMOKE = """
layout = "han5k"
dataset_id = 391
dataset_name = "Smoke"
reference = "invented phantoms"
terms = "none"
channels = ["CT"]
pipeline = "ln_ctv"
network = "ln_ctv"

[training]
epochs = 1
iterations_per_epoch = 2
validations_per_epoch = 1
loss = "marginal"
mirror_axes = [0, 1]

[plans]
patch_size = [16, 32, 32]
batch_size = 2

[plans.architecture]
n_stages = 3
features_per_stage = [8, 16, 16]
kernel_sizes = [[3, 3, 3], [3, 3, 3], [3, 3, 3]]
strides = [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
n_conv_per_stage = [1, 1, 1]
n_conv_per_stage_decoder = [1, 1]
"""


@pytest.mark.parametrize(("patients", "folds"), [(12, 5), (3, 3)])
def test_folds_never_part_a_patient(patients: int, folds: int) -> None:
    cases = {f"{patient}_{phase}": str(patient) for patient in range(patients) for phase in ("plain", "contrast")}

    made = splits(cases)

    assert len(made) == folds
    for split in made:
        sides = [{cases[case] for case in split[side]} for side in ("train", "val")]
        assert not sides[0] & sides[1]
        assert sides[0] | sides[1] == set(cases.values())
        assert sides[1]
    assert sorted(case for split in made for case in split["val"]) == sorted(cases)


def test_one_patient_trains_and_validates() -> None:
    assert splits({"a": "1", "b": "1"}) == [{"train": ["a", "b"], "val": ["a", "b"]}]


def test_plans_change_only_where_the_recipe_says() -> None:
    part = {"patch_size": [28, 224, 224], "batch_size": 2, "architecture": {"arch_kwargs": {"n_stages": 6, "x": 1}}}
    plans = {"configurations": {"3d_fullres": part, "2d": part}, "other": 1}

    changed = lay_over(plans, "3d_fullres", PlansPart(patch_size=(16, 32, 32), architecture={"n_stages": 3}))

    full = changed["configurations"]["3d_fullres"]
    assert (full["patch_size"], full["batch_size"]) == ([16, 32, 32], 2)
    assert full["architecture"]["arch_kwargs"] == {"n_stages": 3, "x": 1}
    assert changed["configurations"]["2d"] == plans["configurations"]["2d"]  # type: ignore[index]
    assert lay_over(plans, "3d_fullres", PlansPart()) == plans
    with pytest.raises(RecipeRefused, match="planned no 3d_lowres, it has 3d_fullres, 2d"):
        lay_over(plans, "3d_lowres", PlansPart())


def test_without_nnunet_the_command_names_the_line_that_installs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_han5k(tmp_path / "source", {1: ["Parotid_L"]})
    assert main(["dataset", "han5k", str(tmp_path / "source"), str(tmp_path)]) == 0
    work = ["--work", str(tmp_path / "work"), "--python", str(tmp_path / "python")]

    assert main(["train", "han5k", str(tmp_path / "Dataset304_HaN5K"), *work]) == 2

    assert "pip install nnunetv2==2.8.1" in capsys.readouterr().out


def test_data_set_of_another_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_han5k(tmp_path / "source", {1: ["Parotid_L"]})
    assert main(["dataset", "han5k", str(tmp_path / "source"), str(tmp_path)]) == 0

    assert main(["train", "lnctvseg", str(tmp_path / "Dataset304_HaN5K"), "--work", str(tmp_path)]) == 2
    assert "Dataset304_HaN5K is not the recipe's Dataset303_LNCTVSeg" in capsys.readouterr().out
    assert main(["train", "lnctvseg", str(tmp_path / "none"), "--work", str(tmp_path)]) == 2


def test_a_recipe_that_plans_otherwise_plans_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lnctvseg(tmp_path / "source", [1, 2])
    recipe = tmp_path / "smoke.toml"
    recipe.write_text(LNCTV)
    assert main(["dataset", str(recipe), str(tmp_path / "source"), str(tmp_path / "raw")]) == 0
    command = ["train", str(recipe), str(tmp_path / "raw" / "Dataset390_Smoke"), "--work", str(tmp_path / "work")]
    command += ["--python", str(write_planner(tmp_path))]
    plans = tmp_path / "work" / "nnUNet_preprocessed" / "Dataset390_Smoke" / "nnUNetPlans.json"

    assert main(command) == main(command) == 0
    assert (tmp_path / "steps").read_text().split() == ["plan", "rest", "run", "run"]

    recipe.write_text(LNCTV.replace("[32, 48, 48]", "[32, 64, 64]"))
    assert main([*command, "--resume"]) == 2
    assert "plans otherwise than when" in capsys.readouterr().out
    assert main(command) == 0
    assert (tmp_path / "steps").read_text().split()[4:] == ["plan", "rest", "run"]
    assert json.loads(plans.read_text())["configurations"]["3d_fullres"]["patch_size"] == [32, 64, 64]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_nnunet_trains_on_partly_drawn_phantoms_and_the_result_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = require_nnunet_python()
    for name, value in {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    recipe = tmp_path / "smoke.toml"
    recipe.write_text(SMOKE)
    right, left = "CTVn_II_III_Va_R", "CTVn_II_III_Va_L"
    write_han5k(tmp_path / "source", {1: [right], 2: [left], 3: [right, left]}, (left, right))
    assert main(["dataset", str(recipe), str(tmp_path / "source"), str(tmp_path / "raw")]) == 0
    train = ["train", str(recipe), str(tmp_path / "raw" / "Dataset391_Smoke"), "--work", str(tmp_path / "work")]
    train += ["--device", "cpu", "--python", str(python)]

    assert main(train) == 0
    assert main([*train, "--epochs", "2", "--resume"]) == 0

    results = tmp_path / "work" / "nnUNet_results" / "Dataset391_Smoke" / "NpcTrainer__nnUNetPlans__3d_fullres"
    checkpoint = torch.load(results / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 2
    assert checkpoint["trainer_name"] == "NpcTrainer"
    assert tuple(checkpoint["inference_allowed_mirroring_axes"]) == (0, 1)
    folds = json.loads(
        (tmp_path / "work" / "nnUNet_preprocessed" / "Dataset391_Smoke" / "splits_final.json").read_text()
    )
    assert len(folds) == 3
    # After two epochs it finds nothing on its validation case.
    bring = ["import", "nnunet-v2", str(results), "--pipeline", "ln_ctv", "--folds", "0", "--accept"]
    assert main([*bring, "--repo", str(tmp_path / "repo")]) == 0
    assert read_contract(tmp_path / "repo" / "ln_ctv" / "contract.json").patch_zyx == (16, 32, 32)
