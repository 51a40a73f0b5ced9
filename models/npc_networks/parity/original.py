"""The original framework, run in an environment of its own by a script that knows nothing of this product."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from npc_networks import nnunet
from npc_networks.imports.origin import Origin
from npc_networks.serving.engines import physical_cores

PEERS = {"nnunet-v1": "peer_v1.py", "nnunet-v2": "peer_v2.py"}
INSTALL = "make nnunet-peers"
DEFAULT_PYTHON = Path(".venv-nnunet/bin/python")
TRAINERS = Path(nnunet.__path__[0])
"""Folder with this product's own trainer, which networks that it trained name."""
LAST_LINES = 8

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


class ParityRefused(ValueError):
    """There is nothing to compare, or nothing to compare with; the message says what is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the original made of one case.

    Attributes:
        labels: (z, y, x) on the case's own grid.
        maps: (output, ...) on the network's grid, as blended; None when they were not asked for.
        seconds: of preprocessing, network and export.
    """

    labels: UInt8Array
    maps: Float32Array | None
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """Everything one run of the original left.

    Attributes:
        versions: of the framework and what it computes with.
        peak_rss_mb: of its process, in 10^6 bytes.
    """

    versions: Mapping[str, str]
    predictions: tuple[Prediction, ...]
    peak_rss_mb: float


def predict(
    origin: Origin, cases: Sequence[Sequence[Path]], python: Path, *, maps: bool, single_sums: bool = False
) -> Original:
    """Predict cases with the framework that trained a network.

    Args:
        origin: of the network.
        cases: files of each case's channels.
        python: interpreter of an environment with the framework.
        maps: also return blended class maps.
        single_sums: add windows up in single precision, as version 1 does anyway; version 2 does it in half.

    Raises:
        ParityRefused: the framework has no peer, is not installed, or failed; its last words are quoted.
    """
    if origin.framework not in PEERS:
        raise ParityRefused(
            f"a network imported from {origin.framework} has no framework to compare with; {', '.join(PEERS)} have"
        )
    if not python.is_file():
        raise ParityRefused(f"{python} is missing: install nnU-Net beside this product with `{INSTALL}`")
    with tempfile.TemporaryDirectory(prefix="npc-parity-") as name:
        folder = Path(name)
        asked = [
            {
                "images": [str(image.resolve()) for image in case],
                "labels": str(folder / f"labels_{index}.nii.gz"),
                "maps": str(folder / f"maps_{index}.npy") if maps else None,
            }
            for index, case in enumerate(cases)
        ]
        job = {
            "folder": str(origin.path),
            "folds": list(origin.folds),
            "mirroring": origin.mirroring,
            "checkpoint": origin.checkpoint,
            "postprocessing": None if origin.postprocessing is None else str(origin.postprocessing),
            "trainers": str(TRAINERS),
            "threads": physical_cores(),
            "single_sums": single_sums,
            "cases": asked,
        }
        result = _run(python, PEERS[origin.framework], job, folder)
        return Original(
            versions=result["versions"],
            predictions=tuple(_prediction(one, times) for one, times in zip(asked, result["cases"], strict=True)),
            peak_rss_mb=result["peak_rss_mb"],
        )


def _run(python: Path, peer: str, job: Mapping[str, object], folder: Path) -> dict[str, Any]:
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = Path(__file__).with_name(peer)
    # Isolated: nothing of this product's environment reaches the other one.
    command = [str(python), "-I", str(script), str(folder / "job.json"), str(folder / "result.json")]
    # nnU-Net wants folders for training, which predicting does not use.
    paths = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(folder))
    environment = {**os.environ, **paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode != 0:
        words = "\n".join(done.stderr.strip().splitlines()[-LAST_LINES:])
        raise ParityRefused(f"the original ended with status {done.returncode}:\n{words}")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def _prediction(asked: Mapping[str, Any], times: Mapping[str, Any]) -> Prediction:
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(asked["labels"])).astype(np.uint8)
    maps = np.load(asked["maps"]) if asked["maps"] else None
    seconds = {key: float(value) for key, value in times.items() if key.endswith("_s")}
    return Prediction(labels, maps, seconds)
