"""The catalogue says what the published label sets say, in names that planning systems keep; its files agree."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import tg263
from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2

from npc_contour.catalog import PIPELINES_DIR, Catalog, read_catalog, read_contract, read_pipeline
from npc_contour.domain.structures import InterpretedType, RoiSpec
from npc_contour.errors import CatalogError
from npc_contour.settings import Routing, default_model_repository

SEGRAP_ORGANS = """
Brain              Brain             ORGAN  1 2 3 4 5 6 7 8 9
BrainStem          Brainstem         ORGAN  2
Chiasm             OpticChiasm       ORGAN  3
TemporalLobe_L     Lobe_Temporal_L   ORGAN  4 6
TemporalLobe_R     Lobe_Temporal_R   ORGAN  5 7
Hippocampus_L      Hippocampus_L     ORGAN  6 8
Hippocampus_R      Hippocampus_R     ORGAN  7 9
Eye_L              Eye_L             ORGAN  10 12
Eye_R              Eye_R             ORGAN  11 13
Lens_L             Lens_L            ORGAN  12
Lens_R             Lens_R            ORGAN  13
OpticNerve_L       OpticNrv_L        ORGAN  14
OpticNerve_R       OpticNrv_R        ORGAN  15
MiddleEar_L        Ear_Middle_L      ORGAN  16 18 20 24 28 30
MiddleEar_R        Ear_Middle_R      ORGAN  17 19 21 25 29 31
IAC_L              IAC_L             ORGAN  18
IAC_R              IAC_R             ORGAN  19
TympanicCavity_L   Tympanic_L        ORGAN  20 22
TympanicCavity_R   Tympanic_R        ORGAN  21 23
VestibulSemi_L     VestibulSemi_L    ORGAN  24 26
VestibulSemi_R     VestibulSemi_R    ORGAN  25 27
Cochlea_L          Cochlea_L         ORGAN  28
Cochlea_R          Cochlea_R         ORGAN  29
ETbone_L           ETbone_L          ORGAN  30 32
ETbone_R           ETbone_R          ORGAN  31 33
Pituitary          Pituitary         ORGAN  34
OralCavity         Cavity_Oral       ORGAN  35
Mandible_L         Bone_Mandible_L   ORGAN  36
Mandible_R         Bone_Mandible_R   ORGAN  37
Submandibular_L    Glnd_Submand_L    ORGAN  38
Submandibular_R    Glnd_Submand_R    ORGAN  39
Parotid_L          Parotid_L         ORGAN  40
Parotid_R          Parotid_R         ORGAN  41
Mastoid_L          Bone_Mastoid_L    ORGAN  42
Mastoid_R          Bone_Mastoid_R    ORGAN  43
TMjoint_L          Joint_TM_L        ORGAN  44
TMjoint_R          Joint_TM_R        ORGAN  45
SpinalCord         SpinalCord        ORGAN  46
Esophagus          Esophagus         ORGAN  47
Larynx             Larynx            ORGAN  48 49 50 51
Larynx_Glottic     Glottis           ORGAN  49
Larynx_Supraglot   Larynx_SG         ORGAN  50
PharynxConst       Musc_Constrict    ORGAN  51 52
Thyroid            Glnd_Thyroid      ORGAN  53
Trachea            Trachea           ORGAN  54
"""
SEGRAP_TARGETS = """
GTVp               GTVp              GTV    1
GTVnd              GTVn              GTV    2
"""
LNCTVSEG_LEVELS = """
R_II+III+Va        CTVn_II_III_Va_R  CTV    1
L_II+III+Va        CTVn_II_III_Va_L  CTV    2
R_IV+Vb            CTVn_IV_Vb_R      CTV    3
L_IV+Vb            CTVn_IV_Vb_L      CTV    4
R_Ib               CTVn_Ib_R         CTV    5
L_Ib               CTVn_Ib_L         CTV    6
"""
"""Name in the challenge, our name, RT ROI Interpreted Type, exclusive labels that are united."""

TABLES = {
    "npc_oar": ("npc_oar_gtv", SEGRAP_ORGANS),
    "npc_gtv": ("npc_oar_gtv", SEGRAP_TARGETS),
    "ln_ctv": ("ln_ctv", LNCTVSEG_LEVELS),
}

NOT_IN_TG263 = {
    "Bone_Mandible_L", "Bone_Mandible_R", "ETbone_L", "ETbone_R", "IAC_L", "IAC_R",
    "Tympanic_L", "Tympanic_R", "VestibulSemi_L", "VestibulSemi_R",
}  # fmt: skip
"""The list has no entry for these; the names follow its grammar."""

TARGET_NAME = re.compile(r"(GTV|CTV)[pn]?(_(I|II|III|IV|Va|Vb|Ib))*(_[LR])?")
"""TG-263's grammar of targets, as far as it is used here: type, p or n, levels, side."""


def pipeline_rois(network: str) -> list[RoiSpec]:
    pipeline = read_pipeline(PIPELINES_DIR / f"{TABLES[network][0]}.toml")
    return [roi for roi in pipeline.rois if roi.network == network]


def all_rois() -> list[RoiSpec]:
    return [roi for network in TABLES for roi in pipeline_rois(network)]


ORGANS = [roi for roi in all_rois() if roi.interpreted_type is InterpretedType.ORGAN]
TARGETS = [roi for roi in all_rois() if roi.interpreted_type is not InterpretedType.ORGAN]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(default_model_repository())


@pytest.mark.parametrize("network", TABLES)
def test_rois_are_those_of_the_published_label_set(network: str) -> None:
    expected = []
    for line in TABLES[network][1].strip().splitlines():
        _, name, kind, *labels = line.split()
        expected.append((name, kind, sorted(map(int, labels))))

    found = [(roi.name, roi.interpreted_type.value, sorted(roi.labels)) for roi in pipeline_rois(network)]

    assert found == expected


def test_there_are_45_organs_2_gross_tumours_and_6_nodal_volumes() -> None:
    assert [len(pipeline_rois(network)) for network in TABLES] == [45, 2, 6]


@pytest.mark.parametrize(
    "roi", [r for r in all_rois() if r.interpreted_type is InterpretedType.ORGAN], ids=lambda r: r.name
)
def test_organ_has_its_primary_name_and_code_of_tg263(roi: RoiSpec) -> None:
    if roi.name in NOT_IN_TG263:
        assert not tg263.is_structure_name_allowed(roi.name)
        assert roi.fma_id == ""
        return

    structure = tg263.find_structure(roi.name)

    assert structure.primary_name == roi.name
    assert roi.fma_id == str(structure.fmaid)


@pytest.mark.parametrize(
    "roi", [r for r in all_rois() if r.interpreted_type is not InterpretedType.ORGAN], ids=lambda r: r.name
)
def test_target_follows_the_grammar_of_targets(roi: RoiSpec) -> None:
    assert TARGET_NAME.fullmatch(roi.name)
    assert roi.name.startswith(roi.interpreted_type.value)


def test_names_fit_every_planning_system() -> None:
    names = [roi.name for roi in all_rois()]

    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9_]{1,16}", name)] == []
    assert len({name.casefold() for name in names}) == len(names)


def test_no_two_rois_of_a_pipeline_look_alike() -> None:
    for path in PIPELINES_DIR.glob("*.toml"):
        colours = [roi.colour_rgb for roi in read_pipeline(path).rois]

        assert len(set(colours)) == len(colours), path.name


def test_default_routing_names_pipelines_that_exist(catalog: Catalog) -> None:
    assert set(Routing().pipelines) <= set(catalog.pipelines)


@pytest.mark.parametrize("network", TABLES)
def test_labels_of_the_contract_say_which_rois_own_them(catalog: Catalog, network: str) -> None:
    labels = catalog.contracts[network].labels

    for roi in pipeline_rois(network):
        by_name = {value for value, label in enumerate(labels) if roi.name in label.split(" in ")}
        if roi.name == "Brain":  # everything inside the skull that has a label of its own is brain, too
            assert by_name < roi.labels == set(range(1, 10))
        else:
            assert by_name == roi.labels


@pytest.mark.parametrize("network", TABLES)
def test_every_label_belongs_to_an_roi(catalog: Catalog, network: str) -> None:
    owned = frozenset[int]().union(*(roi.labels for roi in pipeline_rois(network)))

    assert owned == set(range(1, len(catalog.contracts[network].labels)))


@pytest.mark.parametrize("network", TABLES)
def test_weights_are_those_of_the_contract(catalog: Catalog, network: str) -> None:
    contract = catalog.contracts[network]
    weights = (default_model_repository() / network / contract.weights_file).read_bytes()

    assert hashlib.sha256(weights).hexdigest() == contract.weights_sha256


@pytest.mark.parametrize("network", TABLES)
def test_triton_configuration_carries_the_contract(network: str) -> None:
    folder = default_model_repository() / network
    contract = read_contract(folder / "contract.json")
    config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())

    assert config.name == network == contract.name
    assert config.parameters["contract_sha256"].string_value == contract.contract_sha256
    volume = next(item for item in config.input if item.name == "VOLUME")
    assert list(volume.dims) == [len(contract.channels), -1, -1, -1]
    outputs = {item.name: model_config_pb2.DataType.Name(item.data_type) for item in config.output}
    assert outputs == {"LABELS": "TYPE_UINT8", "CROSSINGS": "TYPE_UINT8", "DOUBTS": "TYPE_FP64"}
    assert len(contract.labels) <= 256


@pytest.mark.parametrize("network", TABLES)
def test_model_card_says_what_the_network_is_for(network: str) -> None:
    contract = read_contract(default_model_repository() / network / "contract.json")
    card = (default_model_repository() / network / "MODEL_CARD.md").read_text(encoding="utf-8")

    assert contract.weights_sha256 in card
    if contract.demo:
        assert "demo" in card.lower()
        assert "not for" in card.lower() or "never" in card.lower()


def broken_copy(tmp_path: Path, old: str, new: str) -> Path:
    text = (PIPELINES_DIR / "ln_ctv.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "ln_ctv.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('planning_role = "planning_ct"', 'planning_role = "ct"', r"planning_role 'ct' is none of the roles"),
        ('network = "ln_ctv", labels = [1]', 'network = "other", labels = [1]', r"CTVn_II_III_Va_R asks for network"),
        ("labels = [1]", "labels = [0]", r"labels must be positive"),
        ("CTVn_Ib_L", "CTVN_IB_R", r"occurs twice"),
        ("CTVn_Ib_L", "CTVn_Ib_LEFT_SIDE", r"17 characters"),
        ('title = "', 'titel = "', r"titel"),
        ("colour = [0, 160, 255]", "colour = [0, 160, 256]", r"less than or equal to 255"),
    ],
)
def test_wrong_pipeline_is_refused_and_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(CatalogError, match=rf"ln_ctv\.toml: (?s:.*){named}"):
        read_pipeline(broken_copy(tmp_path, old, new))


def test_unknown_pipeline_is_named() -> None:
    with pytest.raises(CatalogError, match=r"unknown pipelines \['lung'\]"):
        read_catalog(default_model_repository(), enabled=["lung"])


def test_label_beyond_the_network_is_named(tmp_path: Path) -> None:
    broken_copy(tmp_path, "labels = [6]", "labels = [7]")

    with pytest.raises(CatalogError, match=r"CTVn_Ib_L asks for label 7, network ln_ctv has labels 1 to 6"):
        read_catalog(default_model_repository(), tmp_path)


def test_missing_contract_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"ln_ctv/contract\.json"):
        read_catalog(tmp_path, enabled=["ln_ctv"])
