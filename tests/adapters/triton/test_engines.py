"""Engines of one device take turns, get several windows at a time, and may answer in half precision."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_testkit.tiny_network import TinyNetwork, write_engine_model, write_tiny_network
from npc_testkit.tiny_server import blocks, volume_of


def test_engines_take_turns_and_get_full_batches(tmp_path: Path) -> None:
    repository, log = tmp_path / "repository", tmp_path / "runs"
    networks = [TinyNetwork(name="first"), TinyNetwork(name="second")]
    contracts = [write_tiny_network(repository, network) for network in networks]
    for network, contract, half in zip(networks, contracts, (False, True), strict=True):
        write_engine_model(repository, network, contract, batch=4, half=half, log=log)
    volume = volume_of(blocks((16, 80, 64)))  # 4 x 3 windows

    with EmbeddedTriton(repository, tmp_path / "work") as server:
        log.unlink(missing_ok=True)
        urls = server.urls
        with (
            TritonEngine(urls.grpc, metrics_url=urls.metrics, timeout_s=60.0) as client,
            ThreadPoolExecutor(2) as pool,
        ):
            answers = list(pool.map(lambda contract: client.segment(contract, [volume]), contracts))

    for answer in answers:
        np.testing.assert_array_equal(answer.labels, volume.hu < 100)
    runs = sorted(tuple(map(float, line.split())) for line in log.read_text().splitlines())
    assert [windows for _, _, windows in runs] == [4.0] * 6
    assert all(end <= begin for (_, end, _), (begin, _, _) in itertools.pairwise(runs))
