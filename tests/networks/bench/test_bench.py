"""The command measures each engine in a process of its own, and a running Triton, and prints what it found as JSON."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_networks.bench.measure import ENGINES, available
from npc_networks.cli import main
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

SMALL = ["--shape", "16", "48", "48", "--spacing", "3", "1", "1", "--repeats", "1"]


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_every_engine_of_this_machine_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_network(tmp_path, TinyNetwork())
    own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6

    assert main(["bench", "tiny", "--repo", str(tmp_path), *SMALL, "--json", str(tmp_path / "line.json")]) == 0

    found = last_line(capsys)
    assert found == json.loads((tmp_path / "line.json").read_text())
    assert [row["engine"] for row in found["engines"]] == [name for name in ENGINES if name not in available()]
    for row in found["engines"]:
        assert row["windows"] == 4
        assert row["latency_s"] > 0
        assert row["windows_per_s"] > 0
        # This process has PyTorch loaded; theirs must not count it.
        assert row["peak_rss_mb"] < own_mb
        assert row["peak_rss_mb"] > found["volume_memory_bound_mb"] > 0


def test_running_triton_is_measured_and_another_contract_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_network(tmp_path / "repo", TinyNetwork())
    write_tiny_network(tmp_path / "other", TinyNetwork(version="2.0.0"))
    bench = ["bench", "tiny", *SMALL, "--engine", "openvino-f32"]
    with EmbeddedTriton(tmp_path / "repo", tmp_path / "work") as server:
        asked = ["--triton", server.urls.grpc]
        assert main([*bench, "--repo", str(tmp_path / "repo"), *asked]) == 0
        local, served = last_line(capsys)["engines"]
        assert main([*bench, "--repo", str(tmp_path / "other"), *asked]) == 2
        assert "with another contract than the repository's" in capsys.readouterr().out

    assert local["engine"] == "openvino-f32"
    assert served["engine"].startswith("triton ")
    assert served["latency_s"] > 0


def test_unknown_network_is_refused(tmp_path: Path) -> None:
    assert main(["bench", "none", "--repo", str(tmp_path), *SMALL]) == 2
