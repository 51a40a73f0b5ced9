"""The demo networks in the repository are what their contracts say, and they contour a phantom they never saw."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openvino
import pytest

from npc_contour.catalog import read_catalog, read_contract
from npc_networks.cards import CARD_FILE
from npc_networks.evaluation import Judge, means, summarise
from npc_networks.export import contract
from npc_networks.networks import NETWORKS
from npc_networks.phantom_data import TRAINING_SEED, Scan, chest_scan, mr_scan, scan_of
from npc_networks.serving.config import config_pbtxt, model_py
from npc_phantom import PhantomOptions
from npc_phantom.chest_patient import ChestOptions
from npc_phantom.mr import MrOptions

REPOSITORY = Path(__file__).parents[2] / "triton_repo"
HELD_OUT_SEED = 7
COARSE = PhantomOptions(matrix=288, slice_spacing_mm=3.0)

FLOORS = {
    ("npc_oar", "both"): 0.70,
    ("npc_gtv", "both"): 0.60,
    ("ln_ctv", "non-contrast"): 0.75,
    ("ln_ctv", "contrast"): 0.75,
    ("han_oar", "non-contrast"): 0.40,
    ("han_oar", "contrast"): 0.40,
    ("mediastinal_ln", "all"): 0.40,
    ("npc_mr_gtv", "all"): 0.60,
}
"""Mean Dice over structures: below the tables of the model cards by what one coarse phantom may cost."""

SCANS: dict[str, Callable[[], Scan]] = {
    "npc": lambda: scan_of(HELD_OUT_SEED, COARSE),
    "han": lambda: scan_of(HELD_OUT_SEED, replace(COARSE, bottom_z_mm=-318.0), kind="han"),
    "chest": lambda: chest_scan(HELD_OUT_SEED, ChestOptions(matrix=224, slice_spacing_mm=3.0)),
    "mr": lambda: mr_scan(HELD_OUT_SEED, MrOptions(matrix=160)),
}
"""By kind."""


@pytest.mark.parametrize("name", NETWORKS)
def test_contract_is_the_one_this_code_would_write(name: str) -> None:
    written = json.loads((REPOSITORY / name / "contract.json").read_text())

    known = written["weights"]["sha256"], written["trained_on"], written.get("uncertainty")
    assert written == contract(NETWORKS[name], *known)
    assert "phantom" in written["trained_on"]


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_those_of_the_contract(name: str) -> None:
    known = read_contract(REPOSITORY / name / "contract.json")
    weights = REPOSITORY / name / known.weights_file

    assert hashlib.sha256(weights.read_bytes()).hexdigest() == known.weights_sha256
    network = openvino.Core().read_model(weights)
    assert next(iter(network.input(0).partial_shape)).is_dynamic
    network.reshape([1, len(known.channels), *known.patch_zyx])
    assert list(network.output(0).shape) == [1, len(known.labels), *known.patch_zyx]


@pytest.mark.parametrize("name", NETWORKS)
def test_triton_files_and_card_follow_the_contract(name: str) -> None:
    known = read_contract(REPOSITORY / name / "contract.json")

    assert (REPOSITORY / name / "config.pbtxt").read_text() == config_pbtxt(known)
    assert (REPOSITORY / name / "1" / "model.py").read_text() == model_py()
    card = (REPOSITORY / name / CARD_FILE).read_text()
    assert known.weights_sha256 in card
    assert "Not for clinical use" in card


def test_pipelines_and_contracts_agree() -> None:
    catalog = read_catalog(REPOSITORY)

    assert set(catalog.contracts) >= set(NETWORKS)
    assert all(catalog.contracts[name].demo for name in NETWORKS)


def test_weights_in_all_stay_small() -> None:
    total = sum(path.stat().st_size for path in REPOSITORY.glob("*/1/network.onnx"))

    assert total < 25_000_000


@pytest.mark.parametrize("kind", SCANS)
def test_unseen_phantom_is_contoured(kind: str) -> None:
    assert HELD_OUT_SEED < TRAINING_SEED
    names = [name for name, spec in NETWORKS.items() if spec.kind == kind]

    reached = means(summarise(Judge(REPOSITORY, names).judge(SCANS[kind]())))

    assert {network for network, _ in reached} == set(names)
    assert {key: value for key, value in reached.items() if value < FLOORS[key]} == {}
