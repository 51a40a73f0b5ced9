"""Class priors put right after training: how much of a patient each class is.

Patches are drawn around small structures, and small classes weigh more in the loss, so that they are learned at all.
The price is a network that expects them to be larger than they are. The remedy is a constant per class, added to the
bias of the last layer: it is shifted until, over phantoms that the network was not trained on, each class takes as many
voxels as it truly has (prior correction, as for any classifier trained on balanced samples).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, from_numpy

from npc_contour.catalog import read_contract
from npc_contour.core.tiling import axis_tiles
from npc_networks.export import export_network
from npc_networks.networks import EITHER_PHASE, NetworkSpec
from npc_networks.phantom_data import TRAINING_SEED, TrainingCase, cropped, on_network_grid, training_scan
from npc_networks.serving.engines import OpenVinoEngine

CALIBRATION_SEED = TRAINING_SEED + 1000
"""Calibration phantoms are seeds 2000, 2001, ...: neither for training nor for evaluation."""

ROUNDS = 25
DAMPING = 0.5
LARGEST_SHIFT = 4.0

Logits = npt.NDArray[np.float16]
Labels = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float64]


def calibrated(spec: NetworkSpec, weights: Mapping[str, Tensor], cases: int) -> tuple[dict[str, Tensor], Float]:
    """Return the weights with the bias of the last layer shifted, and the shift of each class.

    Args:
        spec: what the network is.
        weights: its state dict.
        cases: number of calibration phantoms.
    """
    phantoms = [on_network_grid(cropped(training_scan(CALIBRATION_SEED + n)), spec) for n in range(cases)]
    with tempfile.TemporaryDirectory(prefix="npc-calibrate-") as folder:
        exported = export_network(spec, weights, Path(folder), trained_on="calibration")
        engine = OpenVinoEngine(read_contract(exported.contract_path), exported.onnx_path)
        answers = [answer for number, case in enumerate(phantoms) for answer in _answers(spec, engine, case, number)]
    shift = prior_shift(
        np.concatenate([logits for logits, _ in answers]), np.concatenate([true for _, true in answers])
    )
    key = f"decoder.seg_layers.{len(spec.features) - 2}.bias"
    shifted = weights[key] + from_numpy(shift).to(weights[key].dtype)
    return {**weights, key: shifted}, shift


def prior_shift(logits: Logits, labels: Labels) -> Float:
    """Return what to add to each class's logit so that every class takes as many voxels as it has.

    Args:
        logits: (n, classes).
        labels: (n,), the truth.

    Returns:
        (classes,), 0 for the background and for classes that the truth does not hold.
    """
    classes = logits.shape[1]
    true = np.bincount(labels, minlength=classes).astype(np.float64)
    # A voxel that no allowed shift can take from the background stays there in every round.
    open_to_others = logits[:, 1:].max(axis=1) + 2 * LARGEST_SHIFT > logits[:, 0]
    contested = logits[open_to_others].astype(np.float32)
    settled = float(len(logits) - len(contested))
    shift = np.zeros(classes)
    for _ in range(ROUNDS):
        found = np.bincount((contested + shift.astype(np.float32)).argmax(axis=1), minlength=classes).astype(np.float64)
        found[0] += settled
        step = DAMPING * np.log((true + 1.0) / (found + 1.0))
        shift = np.clip(shift + step - step[0], -LARGEST_SHIFT, LARGEST_SHIFT)
    return np.where(true > 0, shift, 0.0)


def _answers(
    spec: NetworkSpec, engine: OpenVinoEngine, case: TrainingCase, number: int
) -> Iterator[tuple[Logits, Labels]]:
    """Run windows half a patch apart and keep the middle of each, where the network sees all around."""
    phases = case.hu[number % 2 : number % 2 + 1] if spec.channels == (EITHER_PHASE,) else case.hu
    image = np.stack(
        [
            (np.clip(phase, *how.clip_hu).astype(np.float32) - how.mean_hu) / how.std_hu
            for phase, how in zip(phases, spec.normalisation, strict=True)
        ]
    )
    short = [(0, max(0, patch - size)) for patch, size in zip(spec.patch_zyx, case.labels.shape, strict=True)]
    image = np.pad(image, [(0, 0), *short])
    truth = np.pad(case.labels, short)
    starts = [axis_tiles(size, patch, 0.5).starts for size, patch in zip(truth.shape, spec.patch_zyx, strict=True)]
    windows = [
        tuple(slice(start, start + patch) for start, patch in zip(corner, spec.patch_zyx, strict=True))
        for corner in itertools.product(*starts)
    ]
    middle = tuple(slice(patch // 4, patch - patch // 4) for patch in spec.patch_zyx)
    for window, logits in zip(windows, engine.predict(image[(slice(None), *w)] for w in windows), strict=True):
        kept = logits[middle]
        yield kept.reshape(-1, kept.shape[-1]).astype(np.float16), truth[window][middle].ravel()
