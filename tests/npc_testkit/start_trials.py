"""Cases of the start that need a machine of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from npc_testkit.cases import Seen

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "start.py"


def debian13(_case: Path, _work: Path) -> Seen:
    """Run `make demo` and `check` on a bare Debian 13, by root and by a user; needs root and debootstrap."""
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--part", "debian", "--only", "debian13"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    if figures["left_out"]:
        return Seen((done.stdout.splitlines()[0],), covered=False)
    faults = () if done.returncode == 0 else (done.stdout,)
    return Seen(faults, tracebacks=figures["tracebacks"])
