"""A processor without AVX-512 runs the networks, in float32: an emulated Haswell answers as this processor does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from npc_contour.catalog import read_contract
from npc_networks.serving.engines import OpenVinoEngine
from npc_testkit.peers import require_tool

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "triton_repo" / "ln_ctv"
AGREEMENT = 0.98
"""Share of voxels with the same class; processors that have bfloat16 round."""
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from npc_contour.catalog import read_contract
from npc_networks.serving.engines import OpenVinoEngine
folder, window, answer = map(Path, sys.argv[1:])
contract = read_contract(folder / "contract.json")
engine = OpenVinoEngine(contract, folder / contract.weights_file)
(logits,) = engine.predict([np.load(window)])
np.save(answer, logits)
"""


@pytest.mark.timeout(900)
def test_an_emulated_haswell_answers_like_this_processor(tmp_path: Path) -> None:
    emulator = require_tool("qemu-x86_64")
    contract = read_contract(FOLDER / "contract.json")
    ramp = np.linspace(-2.0, 2.0, int(np.prod(contract.patch_zyx)), dtype=np.float32)
    noise = np.random.default_rng(0).normal(0.0, 0.3, ramp.size).astype(np.float32)
    window = np.broadcast_to((ramp + noise).reshape(contract.patch_zyx), (len(contract.channels), *contract.patch_zyx))
    (here,) = (
        np.argmax(logits, axis=-1)
        for logits in OpenVinoEngine(contract, FOLDER / contract.weights_file).predict([window])
    )
    np.save(tmp_path / "window.npy", window)

    done = subprocess.run(
        [emulator, "-cpu", "Haswell", Path(sys.executable).resolve(), "-c", SCRIPT, FOLDER,
         tmp_path / "window.npy", tmp_path / "answer.npy"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    emulated = np.argmax(np.load(tmp_path / "answer.npy"), axis=-1)
    assert float(np.mean(emulated == here)) > AGREEMENT
    assert len(np.unique(here)) > 1
