"""Parity says "the same answer" only where original, ONNX and a real Triton agree; what it lacks is named.

The interpreter given to `--python` here stands in for nnU-Net and answers by the closed form of a network that
thresholds. `test_real_nnunet.py` and `benchmarks/networks.py` run the real one.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from npc_contour.adapters.checks import parity_proved
from npc_contour.catalog import read_contract
from npc_contour.errors import CatalogError
from npc_networks.cli import main
from npc_networks.imports.origin import Origin, write_origin
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network

STAND_IN = """#!{python}
import json, sys
from pathlib import Path
import numpy as np
import SimpleITK
job = json.loads(Path(sys.argv[3]).read_text())
for case in job["cases"]:
    image = SimpleITK.ReadImage(case["images"][0])
    hu = SimpleITK.GetArrayFromImage(image)
    labels = (hu > {threshold}).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), case["labels"])
    logits = (np.clip(hu, -1000, 1000) - 100.0) / 100.0
    np.save(case["maps"], np.stack([np.zeros_like(logits), logits]).astype(np.float32))
times = {{"preprocess_s": 1.0, "network_s": 2.0, "export_s": 3.0, "windows_shape": [1]}}
sums = "single" if job["single_sums"] else "half"
versions = {{"nnunetv2": "2.8.1", "sums": sums}}
answer = {{"versions": versions, "cases": [times for _ in job["cases"]], "peak_rss_mb": 1.0}}
Path(sys.argv[4]).write_text(json.dumps(answer))
"""


def _stand_in(folder: Path, threshold: int) -> Path:
    path = folder / "python"
    path.write_text(STAND_IN.format(python=sys.executable, threshold=threshold))
    path.chmod(0o755)
    return path


def _case(folder: Path, hu: npt.NDArray[np.generic]) -> Path:
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing((1.0, 1.0, 3.0))
    path = folder / "case_0000.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    return path


def _hu() -> npt.NDArray[np.int16]:
    return np.where(np.random.default_rng(0).random((20, 40, 40)) < 0.5, -500, 500).astype(np.int16)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_tiny_network(tmp_path / "repo", TinyNetwork())
    write_origin(tmp_path / "repo" / "tiny", Origin("nnunet-v2", tmp_path))
    return tmp_path / "repo"


def test_three_ways_to_the_same_answer(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["parity", "tiny", str(_case(tmp_path, _hu())), "--repo", str(repository)]

    status = main([*arguments, "--python", str(_stand_in(tmp_path, 100)), "--json", str(tmp_path / "p.json")])

    assert status == 0
    assert "the same answer" in capsys.readouterr().out
    rows = json.loads((tmp_path / "p.json").read_text())["rows"]
    assert [(row["case"], row["engine"].split()[0]) for row in rows] == [("case", "ONNX"), ("case", "Triton")]
    for row in rows:
        assert (row["agreement"]["voxels"], row["agreement"]["disagreeing"]) == (1.0, 0)
        assert row["agreement"]["dice"] == {"label 1": 1.0}
    assert rows[0]["agreement"]["largest_difference"] < 0.05  # bfloat16 where the processor is fast in it
    contract = read_contract(repository / "tiny" / "contract.json")
    assert re.match(
        r"tiny answers as .+: 100\.0000% of voxels, lowest Dice 1\.0000, 1 cases", parity_proved(repository, contract)
    )
    with pytest.raises(CatalogError, match="tiny was not compared since its contract changed"):
        parity_proved(repository, replace(contract, contract_sha256="0" * 64))


def test_another_answer_is_told(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hu = _hu()
    hu[3, :, :5] = 700
    arguments = ["parity", "tiny", str(_case(tmp_path, hu)), "--repo", str(repository)]

    python = ["--python", str(_stand_in(tmp_path, 600))]
    assert main([*arguments, *python]) == 1

    told = capsys.readouterr().out
    assert "NOT the same answer" in told
    with pytest.raises(CatalogError, match=r"tiny does NOT answer as .+ of voxels, lowest Dice 0\."):
        parity_proved(repository, read_contract(repository / "tiny" / "contract.json"))
    assert "--single-sums compares without that rounding" in told
    assert main([*arguments, *python, "--single-sums", "--json", str(tmp_path / "p.json")]) == 1
    assert "--single-sums" not in capsys.readouterr().out
    document = json.loads((tmp_path / "p.json").read_text())
    assert (document["single_sums"], document["versions"]["sums"]) == (True, "single")


def test_what_is_missing_is_named(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(case: Path, *more: str) -> str:
        assert main(["parity", "tiny", str(case), "--repo", str(repository), *more]) == 2
        return capsys.readouterr().out

    case = _case(tmp_path, _hu())
    assert "install nnU-Net beside this product with `make nnunet-peers`" in refusal(case, "--python", "/nowhere")
    assert "cannot be read as an image" in refusal(tmp_path / "python")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no module named nnunetv2 >&2\nexit 3\n")
    broken.chmod(0o755)
    assert "ended with status 3:\nno module named nnunetv2" in refusal(case, "--python", str(broken))
    assert "whole numbers" in refusal(_case(tmp_path, np.full((4, 4, 4), 0.5, dtype=np.float32)))
    write_origin(repository / "tiny", Origin("state-dict", tmp_path))
    assert "from state-dict has no framework to compare with" in refusal(_case(tmp_path, _hu()))
    (repository / "tiny" / "origin.json").unlink()
    assert "only networks that `npc-networks import` wrote" in refusal(case)
    assert main(["parity", "other", str(case), "--repo", str(repository)]) == 2
