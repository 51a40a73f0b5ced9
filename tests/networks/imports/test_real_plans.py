"""Both of SegRap2023's real plans, random weights of their shapes, give version 1's labels through a real Triton.

The plans are not part of this repository: they are looked for in `shared/data` beside it. Everything is theirs but the
patch, which is cut in plane unless NPC_WHOLE_PATCH is set: a whole window of 55 classes takes version 1's network half
a minute on a processor.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from npc_contour.catalog import read_contract
from npc_networks.cli import main
from npc_networks.imports.plans_v1 import read_plans
from npc_networks.imports.safe_files import read_pickle
from npc_networks.parity.served import ask, embedded
from npc_testkit.nnunet_v1 import random_network, write_checkpoint

PLANS = Path(__file__).parents[4] / "shared" / "data"
CUT_PATCH = (28, 64, 64)


def real_plans(kind: str) -> dict[str, Any]:
    """Return the plans, with a smaller patch; skip where they are not at hand."""
    path = PLANS / f"segrap_{kind}_nnunetv1_plans.pkl"
    if not path.is_file():
        pytest.skip(f"{path} is not there: SegRap2023's plans are data, no part of this repository")
    plans: dict[str, Any] = read_pickle(path)
    if "NPC_WHOLE_PATCH" not in os.environ:
        for stage in plans["plans_per_stage"].values():
            stage["patch_size"] = np.minimum(stage["patch_size"], CUT_PATCH)
    return plans


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "network", "classes"), [("oar", "npc_oar", 55), ("gtv", "npc_gtv", 3)])
def test_real_plans_are_served(tmp_path: Path, kind: str, network: str, classes: int) -> None:
    plans = real_plans(kind)
    theirs = random_network(plans)
    trained, repository = tmp_path / "trained", tmp_path / "repository"
    trained.mkdir()
    (trained / "plans.pkl").write_bytes(pickle.dumps(plans))
    write_checkpoint(trained / "all", theirs.state_dict())
    bring = ["import", "nnunet-v1", str(trained), "--pipeline", "npc_oar_gtv", "--network", network]
    assert main([*bring, "--name", f"segrap_{kind}", "--repo", str(repository)]) == 0
    folder = repository / f"segrap_{kind}"
    contract = read_contract(folder / "contract.json")
    assert contract.outputs == classes
    assert contract.spacing_zyx_mm == read_plans(trained / "plans.pkl").spacing_mm
    pair = np.random.default_rng(0).integers(-900, 900, (2, *contract.patch_zyx)).astype(np.int16)

    with embedded(folder) as url:
        labels = ask(url, contract, pair, contract.spacing_zyx_mm)

    scores = [(hu - hu.mean()) / (hu.std() + 1e-8) for hu in pair.astype(np.float64)]
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(np.stack(scores)[np.newaxis].astype(np.float32)))[0].argmax(0).numpy()
    assert len(np.unique(expected)) > classes // 3
    assert np.mean(labels == expected) > 0.9995
