"""One real Triton for the tests of a module, with a tiny network and some that must be refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.domain.volumes import Volume
from npc_networks.serving.config import DOUBTS, EXACT_SPACING
from npc_testkit.tiny_network import TinyNetwork, write_engine_model, write_tiny_network
from npc_testkit.tiny_server import Served, blocks, volume_of


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    # A shell's words and a list of folders would come apart here.
    root = tmp_path_factory.mktemp("triton") / "mit Träger, 'x': $1"
    repository = root / "repository"
    networks = [
        TinyNetwork(),
        TinyNetwork(name="tiny_pair", channels=2, channel_of_label=1, crop_above_hu=-400.0),
        TinyNetwork(name="on_gpu"),
        TinyNetwork(name="other_weights"),
        TinyNetwork(name="other_contract"),
        TinyNetwork(name="old_engine"),
        TinyNetwork(name="exact", spacing_zyx_mm=(1.0, 1.0, 1.0), separate_z=True),
        TinyNetwork(name="version_before", spacing_zyx_mm=(1.0, 1.0, 1.0), separate_z=True),
    ]
    contracts = {network.name: write_tiny_network(repository, network) for network in networks}
    write_engine_model(repository, networks[2], contracts["on_gpu"])
    write_engine_model(repository, networks[5], replace(contracts["old_engine"], contract_sha256="0" * 64))
    weights = repository / "other_weights" / "1" / "network.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    config = repository / "other_contract" / "config.pbtxt"
    config.write_text(config.read_text().replace(contracts["other_contract"].contract_sha256, "0" * 64))
    config = repository / "version_before" / "config.pbtxt"
    lines = config.read_text().splitlines(keepends=True)
    before = [line for line in lines if EXACT_SPACING not in line and DOUBTS not in line]
    config.write_text("".join(before).replace("},\n]", "}\n]"))
    with EmbeddedTriton(repository, root / "work") as server:
        yield Served(server, contracts, repository)


@pytest.fixture
def volume() -> Volume:
    return volume_of(blocks((24, 48, 40)))
