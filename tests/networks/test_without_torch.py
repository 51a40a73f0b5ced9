"""`npc-networks` without the packages of its extra says which extra to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import npc_contour
import npc_networks

SOURCES = [str(Path(package.__file__ or "").parents[1]) for package in (npc_networks, npc_contour)]


def test_the_extra_is_named() -> None:
    code = f"""
import sys
sys.path[:0] = {SOURCES!r}
sys.modules["torch"] = None  # as if it were not installed
from npc_networks.__main__ import main
sys.exit(main(["--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("npc-networks needs torch, which comes with the extra: pip install")
    assert "npc-autocontour[networks]" in done.stderr
    assert done.stderr.count("\n") == 1
