"""A network's label is the pipeline's structure of that name, in whichever of the field's names."""

from __future__ import annotations

import pytest

from npc_contour.structure_names import meaning
from npc_networks.imports.names import check_names
from npc_networks.imports.safe_files import ImportRefused


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("BrainStem", "Brainstem"),  # SegRap2023
        ("Larynx_Supraglot", "Larynx_SG"),
        ("TMjoint_L", "Joint_TM_L"),
        ("GTVnd", "GTVn"),
        ("R_II+III+Va", "CTVn_II_III_Va_R"),  # LNCTVSeg
        ("TMJR", "Joint_TM_R"),  # HaN5K
        ("LenL", "Lens_L"),
        ("Cord_HaN", "SpinalCord"),
        ("PharynxConst_M", "Musc_Constrict_M"),
        ("submandibular_gland_left", "Glnd_Submand_L"),  # TotalSegmentator
        ("eye_lens_right", "Lens_R"),
        ("OAR_OpticNrv_L", "OpticNrv_L"),  # CADS
        ("Parotid gland (left)", "Parotid_L"),
        ("GTVp", "GTVp_MR"),
    ],
)
def test_names_of_public_networks_mean_the_pipelines_structures(theirs: str, ours: str) -> None:
    assert meaning(theirs) == meaning(ours)

    check_names("label", ("background", theirs), ("background", ours))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("Eye_AL", "Eye_L"), ("PharynxConst_S", "Musc_Constrict"), ("SpinalCanal", "SpinalCord"), ("EyeL", "Eye_R")],
)
def test_what_is_near_is_not_the_same(theirs: str, ours: str) -> None:
    assert meaning(theirs) != meaning(ours)


def test_a_network_whose_names_are_in_another_order_is_refused_with_the_mapping() -> None:
    with pytest.raises(ImportRefused) as refusal:
        check_names(
            "label", ("background", "Chiasm", "Brain Stem"), ("background", "Brainstem in Brain", "OpticChiasm")
        )

    assert "'Chiasm' is its label 2" in str(refusal.value)
    assert str(refusal.value).endswith("--labels Chiasm=OpticChiasm 'Brain Stem=Brainstem'")


def test_a_structure_that_the_pipeline_does_not_have_is_refused() -> None:
    with pytest.raises(ImportRefused, match=r"the pipeline's is 'Brain'; it has no Heart$"):
        check_names("label", ("background", "heart"), ("background", "Brain"))


def test_a_label_that_the_pipeline_does_not_use_may_be_any_structure() -> None:
    check_names("label", ("background", "heart"), ("background", "label 1"))


def test_a_name_that_nobody_knows_is_let_pass() -> None:
    check_names("label", ("background", "structure 1"), ("background", "Brain"))
