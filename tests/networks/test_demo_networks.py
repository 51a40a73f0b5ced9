"""The demo networks in the repository are what their contracts say, and they contour a phantom they never saw."""

import hashlib
import json
from pathlib import Path

import numpy as np
import openvino
import pytest

from npc_contour.catalog import read_catalog, read_contract
from npc_contour.core.phantom import PhantomOptions
from npc_networks.cards import CARD_FILE
from npc_networks.evaluation import Judge, means, summarise
from npc_networks.export import contract
from npc_networks.networks import NETWORKS
from npc_networks.phantom_data import TRAINING_SEED, scan_of
from npc_networks.serving.config import config_pbtxt, model_py

REPOSITORY = Path(__file__).parents[2] / "triton_repo"
HELD_OUT_SEED = 7
COARSE = PhantomOptions(matrix=288, slice_spacing_mm=3.0)

FLOORS = {
    ("npc_oar", "both"): 0.70,
    ("npc_gtv", "both"): 0.60,
    ("ln_ctv", "non-contrast"): 0.75,
    ("ln_ctv", "contrast"): 0.75,
}
"""Mean Dice over structures: below the tables of the model cards by what one coarse phantom may cost."""


@pytest.mark.parametrize("name", NETWORKS)
def test_contract_is_the_one_this_code_would_write(name: str) -> None:
    written = json.loads((REPOSITORY / name / "contract.json").read_text())

    assert written == contract(NETWORKS[name], written["weights"]["sha256"], written["trained_on"])
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

    assert total < 12_000_000


def test_unseen_phantom_is_contoured() -> None:
    assert HELD_OUT_SEED < TRAINING_SEED
    scan = scan_of(HELD_OUT_SEED, COARSE)

    reached = means(summarise(Judge(REPOSITORY, NETWORKS).judge(scan)))

    assert np.prod(scan.images.shape[1:]) > 5e6
    assert {key: value for key, value in reached.items() if value < FLOORS[key]} == {}
    assert set(reached) == set(FLOORS)
