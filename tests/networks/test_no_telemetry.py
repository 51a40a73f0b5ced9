"""Running networks tells nobody: importing openvino through our packages leaves no trace of its telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import sys
attempts = []
calls = ("socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda event, args: attempts.append(args) if event in calls else None)
import npc_networks.serving.engines
import openvino
import time
time.sleep(0.5)
print(sys.modules["openvino_telemetry"], len(attempts), openvino.__name__)
"""


def test_importing_openvino_calls_nobody_and_leaves_no_client_id(tmp_path: Path) -> None:
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": paths}
    environment.pop("CI", None)  # in which the telemetry would stay off by itself

    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout.split() == ["None", "0", "openvino"], done.stderr
    assert not (tmp_path / "intel").exists()
