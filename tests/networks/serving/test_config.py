"""What is committed for Triton is what the contract says, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.catalog import read_contract
from npc_networks.serving.config import config_pbtxt, model_py
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

REPOSITORY = Path(__file__).parents[3] / "triton_repo"
NETWORKS = sorted(path.parent for path in REPOSITORY.glob("*/contract.json"))


@pytest.mark.parametrize("folder", NETWORKS, ids=lambda folder: folder.name)
def test_committed_files_agree_with_the_contract(folder: Path) -> None:
    contract = read_contract(folder / "contract.json")

    assert (folder / "config.pbtxt").read_text() == config_pbtxt(contract)
    assert (folder / "1" / "model.py").read_text() == model_py()
    assert contract.name == folder.name


def test_config_carries_name_channels_and_hash(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path, TinyNetwork(channels=2))

    text = config_pbtxt(contract)

    assert 'name: "tiny"' in text
    assert "dims: [ 2, -1, -1, -1 ]" in text
    assert contract.contract_sha256 in text
