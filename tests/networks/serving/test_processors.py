"""A processor without AVX-512 computes a network as this one does, in float32."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from npc_contour.catalog import read_contract

REPOSITORY = Path(__file__).parents[3] / "triton_repo"
EMULATOR = "qemu-x86_64"
PROCESSOR = "Haswell"
"""AVX2 and FMA; neither AVX-512 nor AMX."""
WINDOW = """
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov

from npc_networks.serving.engines import OpenVinoEngine

weights, asked, answer = map(Path, sys.argv[1:])
contract = pickle.loads(asked.read_bytes())
window = np.random.default_rng(1).normal(size=(len(contract.channels), *contract.patch_zyx)).astype(np.float32)
np.save(answer, next(OpenVinoEngine(contract, weights).predict([window])))
print(*ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which(EMULATOR), reason=f"{EMULATOR} is missing: apt-get install qemu-user")
def test_a_window_without_avx_512(tmp_path: Path) -> None:
    folder, script, asked = REPOSITORY / "ln_ctv", tmp_path / "window.py", tmp_path / "contract"
    here, there = tmp_path / "here.npy", tmp_path / "there.npy"
    script.write_text(WINDOW)
    contract = read_contract(folder / "contract.json")
    # "fastest" reads /proc/cpuinfo, in which the emulator shows the machine around it. A small window, for time.
    asked.write_bytes(pickle.dumps(replace(contract, precision="f32", patch_zyx=(32, 32, 32))))
    python, path = Path(sys.executable).resolve(), os.pathsep.join(filter(None, sys.path))

    def capabilities(before: Sequence[str], answer: Path) -> str:
        done = subprocess.run(
            [*before, python, script, folder / contract.weights_file, asked, answer],
            env={**os.environ, "PYTHONPATH": path},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    capabilities([], here)
    assert "BF16" not in capabilities([EMULATOR, "-cpu", PROCESSOR], there)
    np.testing.assert_allclose(np.load(there), np.load(here), rtol=1e-3, atol=1e-3)
