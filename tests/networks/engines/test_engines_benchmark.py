"""The networks that a clinic would bring are parsed and built by TensorRT for RTX, as `benchmarks/engines.py` shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_large_networks_are_built_for_every_kind_of_gpu() -> None:
    pytest.importorskip("tensorrt_rtx_libs", reason="pip install 'npc-autocontour[rtx]' (x86_64 only)")
    command = [sys.executable, str(ROOT / "benchmarks" / "engines.py"), "--only", "segrap_oar", "swinunetr", "repuxnet"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr[-4000:]
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert figures["tensors_as_contract"] == figures["networks_built"] >= 2
