"""The receiver's memory, threads and files stay where they are under mixed traffic; the long form is run by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.system
@pytest.mark.slow
def test_mixed_traffic_leaves_nothing_behind(tmp_path: Path) -> None:
    plot = tmp_path / "soak.png"
    command = [sys.executable, str(SCRIPT), "--minutes", "0.4", "--out", str(plot)]

    result = subprocess.run(command, capture_output=True, check=False, text=True, timeout=240)

    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout.splitlines()[-1])
    assert line["images"] == line["images_kept"] > 0
    assert (line["sendings_failed"], line["files_left"]) == (0, 0)
    assert line["rss_growth_mb"] < 50
    assert line["threads_most"] < 40
    assert plot.stat().st_size > 1000
