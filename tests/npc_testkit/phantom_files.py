"""Synthetic patients as DICOM folders: written once by the command line, and kept by options and code."""

from __future__ import annotations

import fcntl
import shutil
from functools import cache
from hashlib import sha256
from pathlib import Path

from npc_testkit.service_process import npc_contour

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".pytest_cache" / "phantoms"
CODE = ("models/npc_phantom/*.py", "service/npc_contour/cli/phantom.py", "service/npc_contour/core/compiled.py",
        "service/npc_contour/domain/geometry.py", "constraints.txt")  # fmt: skip
"""What decides which bytes a patient has."""


def phantom_folder(*options: str) -> Path:
    """Return the folder that `npc-contour phantom FOLDER OPTIONS` wrote. Other tests read it, too: do not change it."""
    place = KEPT / _code_hash()
    place.mkdir(parents=True, exist_ok=True)
    folder = place / sha256("\0".join(options).encode()).hexdigest()[:16]
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            done = npc_contour("phantom", unfinished, *options)
            assert done.returncode == 0, done.stderr
            unfinished.rename(folder)
    return folder


@cache
def _code_hash() -> str:
    """Return a hash of the code; what older code wrote is removed."""
    code = sha256()
    for path in sorted(path for pattern in CODE for path in ROOT.glob(pattern)):
        code.update(path.read_bytes())
    name = code.hexdigest()[:16]
    for old in KEPT.glob("*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)
    return name
