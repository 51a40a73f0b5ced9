"""`make clean` removes all that make and the tools that it runs leave in a checkout, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("service/a.py", "triton_repo/net_engine/1/model.plan", "crash-0123", "notes.txt")
NOT_MADE_BY_MAKE = {"triton_repo/*_engine/", "*.pyc"}


def test_what_git_ignores_is_removed_and_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    ignored = [
        line for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split() if line not in NOT_MADE_BY_MAKE
    ]
    made = [
        tmp_path / ("service/" if line.startswith("__") else "") / line.strip("/").replace("*", "one")
        for line in ignored
    ]
    for path in made:
        path.mkdir(parents=True)
        (path / "file").write_text("made")
    for name in KEPT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("kept")

    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)

    assert [path for path in made if path.exists()] == []
    assert [name for name in KEPT if not (tmp_path / name).exists()] == []
