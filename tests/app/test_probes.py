"""What `check` calls ok works: the embedded Triton is started, loads a network and answers to one window."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.app.probes import probes_of
from npc_contour.catalog import Catalog
from npc_contour.errors import NetworkMismatchError
from npc_contour.settings import Settings
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network


def site(repository: Path, root: Path) -> Settings:
    return Settings.model_validate({"storage": {"root": str(root)}, "triton": {"model_repository": str(repository)}})


def test_the_embedded_triton_is_started_and_runs_a_window(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    contract = write_tiny_network(repository, TinyNetwork(crop_nonzero=True))
    other = write_tiny_network(repository, TinyNetwork(name="tiny_pair", channels=2, channel_of_label=1))
    weights = repository / "tiny_pair" / other.weights_file
    weights.write_bytes(weights.read_bytes() + b"\0" * 4096)  # the larger one, which must not be started

    probes = probes_of(site(repository, tmp_path), Catalog({}, {contract.name: contract, other.name: other}))

    assert probes.embedded_triton() == f"started, and {contract.name} answered to one window"


def test_a_network_that_does_not_load_is_not_ok(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    contract = write_tiny_network(repository, TinyNetwork())
    (repository / contract.name / "1" / "model.py").write_text("import no_such_module\n")

    probes = probes_of(site(repository, tmp_path), Catalog({}, {contract.name: contract}))

    with pytest.raises(NetworkMismatchError, match="no_such_module"):
        probes.embedded_triton()
