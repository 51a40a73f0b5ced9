"""Networks whose labels no pipeline here has get one of their own: the public ones that a clinic would bring.

Plans and names are those that their authors published, features and patches are cut, weights are random.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from npc_contour.catalog import read_contract, read_pipeline
from npc_networks.cli import main
from npc_networks.imports.own_pipeline import roi_names
from npc_networks.unet import PlainConvUNet, UNetPlan
from npc_testkit.nnunet_v1 import ct_plans, random_network, write_checkpoint
from npc_testkit.nnunet_v2 import KERNELS, STRIDES, dataset_json, draw_weights, plans_json, write_trained

HEAD_GLANDS = [
    "eye_left",
    "eye_right",
    "eye_lens_left",
    "eye_lens_right",
    "optic_nerve_left",
    "optic_nerve_right",
    "parotid_gland_left",
    "parotid_gland_right",
    "submandibular_gland_right",
    "submandibular_gland_left",
    "nasopharynx",
    "oropharynx",
    "hypopharynx",
    "nasal_cavity_right",
    "nasal_cavity_left",
    "auditory_canal_right",
    "auditory_canal_left",
    "soft_palate",
    "hard_palate",
]
"""TotalSegmentator's head_glands_cavities."""
NECK_VESSELS = [
    "larynx_air",
    "thyroid_cartilage",
    "hyoid",
    "cricoid_cartilage",
    "zygomatic_arch_right",
    "zygomatic_arch_left",
    "styloid_process_right",
    "styloid_process_left",
    "internal_carotid_artery_right",
    "internal_carotid_artery_left",
    "internal_jugular_vein_right",
    "internal_jugular_vein_left",
]
"""TotalSegmentator's headneck_bones_vessels."""
HAN_SEG = [
    "OAR_A_Carotid_L",
    "OAR_A_Carotid_R",
    "OAR_Arytenoid",
    "OAR_Bone_Mandible",
    "OAR_Brainstem",
    "OAR_BuccalMucosa",
    "OAR_Cavity_Oral",
    "OAR_Cochlea_L",
    "OAR_Cochlea_R",
    "OAR_Cricopharyngeus",
    "OAR_Esophagus_S",
    "OAR_Eye_AL",
    "OAR_Eye_AR",
    "OAR_Eye_PL",
    "OAR_Eye_PR",
    "OAR_Glnd_Lacrimal_L",
    "OAR_Glnd_Lacrimal_R",
    "OAR_Glnd_Submand_L",
    "OAR_Glnd_Submand_R",
    "OAR_Glnd_Thyroid",
    "OAR_Glottis",
    "OAR_Larynx_SG",
    "OAR_Lips",
    "OAR_OpticChiasm",
    "OAR_OpticNrv_L",
    "OAR_OpticNrv_R",
    "OAR_Parotid_L",
    "OAR_Parotid_R",
    "OAR_Pituitary",
    "OAR_SpinalCord",
]
"""HaN-Seg's thirty, which are CADS's task 558."""
PUBLIC = {
    "head_glands": (HEAD_GLANDS, "nnUNetTrainer_DASegOrd0_NoMirroring"),
    "neck_vessels": (NECK_VESSELS, "nnUNetTrainer_DASegOrd0_NoMirroring"),
    "han_cads": (HAN_SEG, "nnUNetTrainerNoMirroring"),
}


def old_plans() -> dict[str, Any]:
    """Return plans as version 2 wrote them before 2024: no `architecture`."""
    plans = plans_json()
    chosen = plans["configurations"]["3d_fullres"]
    del chosen["architecture"]
    chosen |= {
        "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2],
        "pool_op_kernel_sizes": STRIDES, "conv_kernel_sizes": KERNELS,
    }  # fmt: skip
    return plans


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_gets_a_pipeline_and_is_imported(tmp_path: Path, name: str) -> None:
    labels, trainer = PUBLIC[name]
    plan = UNetPlan(in_channels=1, classes=len(labels) + 1, features=(4, 8, 8), kernels=KERNELS, strides=STRIDES)
    weights = draw_weights(PlainConvUNet(plan)).state_dict()
    dataset = dataset_json(labels={"background": 0} | {label: value for value, label in enumerate(labels, 1)})
    trained = write_trained(tmp_path / "trained", weights, plans=old_plans(), dataset=dataset, trainer=trainer)
    own, repository = tmp_path / f"{name}.toml", tmp_path / "repository"

    assert main(["pipeline", str(trained), "--name", name, "--out", str(own)]) == 0
    assert main(["import", "nnunet-v2", str(trained), "--pipeline", str(own), "--repo", str(repository)]) == 0

    pipeline = read_pipeline(own)
    assert [sorted(roi.labels) for roi in pipeline.rois] == [[value] for value in range(1, len(labels) + 1)]
    contract = read_contract(repository / name / "contract.json")
    assert contract.labels == ("background", *(roi.name for roi in pipeline.rois))


def test_known_structures_have_the_names_of_tg_263_and_no_two_share_one() -> None:
    names = roi_names([*HEAD_GLANDS, *NECK_VESSELS, "common_carotid_artery_left"])

    assert names["submandibular_gland_left"] == "Glnd_Submand_L"
    assert names["eye_lens_right"] == "Lens_R"
    assert names["nasal_cavity_left"] == "nasal_cavity_L"
    # Two networks' carotid arteries are not one: neither is called A_Carotid.
    assert names["internal_carotid_artery_left"] != names["common_carotid_artery_left"]
    assert "A_Carotid_L" not in names.values()
    assert max(map(len, names.values())) <= 16


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"channel_names": {"0": "T1"}, "labels": {"background": 0, "Brain": 1}}, "takes T1"),
        ({"channel_names": {"0": "CT"}, "labels": {"background": 0, "Brain": 1.5}}, "expected whole numbers"),
        ({"name": "nothing"}, "has no labels"),
    ],
)
def test_what_no_pipeline_can_be_made_of_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: dict[str, Any], message: str
) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))

    assert main(["pipeline", str(tmp_path), "--name", "own", "--out", str(tmp_path / "own.toml")]) == 2
    assert message in capsys.readouterr().out
    assert not (tmp_path / "own.toml").exists()


def test_a_network_of_uniseg_is_refused_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """UniSeg's prompts are a part of its network that nnU-Net does not have."""
    plans = ct_plans()
    network = random_network(plans)
    weights = network.state_dict()
    weights |= {"intermediate_prompt": weights[next(iter(weights))].clone()}
    (tmp_path / "plans.pkl").write_bytes(pickle.dumps(plans))
    write_checkpoint(tmp_path / "fold_0", weights)
    (checkpoint,) = (tmp_path / "fold_0").glob("*.model")
    checkpoint.with_name(checkpoint.name + ".pkl").write_bytes(pickle.dumps({"name": "UniSeg_Trainer"}))
    bring = ["import", "nnunet-v1", str(tmp_path), "--pipeline", "ln_ctv", "--repo", str(tmp_path / "repository")]

    assert main(bring) == 2
    assert "written by trainer 'UniSeg_Trainer'" in capsys.readouterr().out
    assert main([*bring, "--trainer", "UniSeg_Trainer"]) == 2
    assert "intermediate_prompt is no weight of nnU-Net v1" in capsys.readouterr().out
