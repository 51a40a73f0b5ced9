"""The commands do what their help says, from a cache of phantoms to a network in a model repository."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from npc_contour.catalog import read_contract
from npc_networks.cli import main, seeds_of
from npc_networks.phantom_data import TRAINING_SEED, Scan, ScanCache
from npc_networks.training import read_checkpoint


@pytest.mark.parametrize(
    ("text", "seeds"), [("1-3", (1, 2, 3)), ("4", (4,)), ("1,4,7-9", (1, 4, 7, 8, 9))]
)  # fmt: skip
def test_seeds_are_read_as_written(text: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "5-2", "1;2"])
def test_what_is_no_list_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seeds_of(text)


@pytest.mark.parametrize("command", ["train-demo", "export", "evaluate-demo"])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])

    assert end.value.code == 0
    assert f"npc-networks {command} " in capsys.readouterr().out


def test_network_is_trained_resumed_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ScanCache(tmp_path / "cache", "npc", _two_balls).scan(TRAINING_SEED)
    train = ["train-demo", "npc_gtv", "--out", str(tmp_path), "--cache", str(tmp_path / "cache"), "--cases", "1"]
    checkpoint = tmp_path / "npc_gtv.pt"

    assert main([*train, "--steps", "1"]) == 0
    assert main([*train, "--steps", "2", "--resume"]) == 0
    export = ["export", "npc_gtv", "--checkpoint", str(checkpoint), "--repo", str(tmp_path / "repo")]
    assert main([*export, "--note", "Stopped early."]) == 0

    assert read_checkpoint(checkpoint, "npc_gtv")["step"] == 2
    assert "continuing from step 1" in capsys.readouterr().out
    assert read_contract(tmp_path / "repo" / "npc_gtv" / "contract.json").demo
    card = (tmp_path / "repo" / "npc_gtv" / "MODEL_CARD.md").read_text()
    assert "2 steps of one patch" in card
    assert "Stopped early." in card
    assert "Not judged yet" in card


def _two_balls(_kind: str, seed: int) -> Scan:
    zyx = np.indices((24, 40, 40))
    labels = np.zeros((24, 40, 40), np.uint8)
    labels[((zyx - 12) ** 2).sum(0) < 30] = 1
    labels[((zyx - 20) ** 2).sum(0) < 9] = 2
    hu = np.stack([np.where(labels > 0, 60 * labels, 0)] * 2).astype(np.int16)
    return Scan(seed, hu, {"oar": labels, "gtv": labels, "ln": labels}, (5.0, 5.0, 5.0))
