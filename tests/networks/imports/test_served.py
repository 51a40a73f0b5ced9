"""An imported nnU-Net v1 network runs in a real Triton and gives version 1's labels on the planning grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.catalog import read_contract
from npc_networks.cli import main
from npc_testkit.nnunet_v1 import plans, write_folder
from npc_testkit.tiny_server import volume_of


def test_imported_network_is_served(tmp_path: Path) -> None:
    (theirs,) = write_folder(tmp_path / "trained", plans(), folds=("all",))
    repository = tmp_path / "repository"
    arguments = ["--pipeline", "npc_oar_gtv", "--network", "npc_gtv", "--name", "segrap_gtv", "--repo", str(repository)]
    assert main(["import", "nnunet-v1", str(tmp_path / "trained"), *arguments]) == 0
    contract = read_contract(repository / "segrap_gtv" / "contract.json")
    pair = np.random.default_rng(0).integers(-500, 500, (2, 8, 16, 16)).astype(np.int16)

    with EmbeddedTriton(repository, tmp_path / "work") as server:
        urls = server.urls
        with TritonEngine(urls.grpc, metrics_url=urls.metrics, timeout_s=60.0) as client:
            answer = client.segment(contract, [volume_of(hu) for hu in pair])

    scores = [(hu - hu.mean()) / (hu.std() + 1e-8) for hu in pair.astype(np.float64)]
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(np.stack(scores)[np.newaxis].astype(np.float32)))[0].argmax(0).numpy()
    assert np.mean(answer.labels == expected) > 0.9995
    assert len(np.unique(expected)) == 3
