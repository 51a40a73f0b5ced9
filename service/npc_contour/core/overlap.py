"""How much of one label map lies in another, for every union of labels at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def confusion(truth: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int64]:
    """Return how many voxels have label i in the truth and j in the answer, (classes, classes)."""
    if truth.shape != found.shape:
        raise ValueError(f"truth {truth.shape} and answer {found.shape} lie on different grids")
    pairs = truth.astype(np.int32) * classes + found
    return np.bincount(pairs.ravel(), minlength=classes * classes).reshape(classes, classes)


def roi_overlap(counts: npt.NDArray[np.int64], labels: Iterable[int]) -> tuple[int, int, int]:
    """Return the voxels of a union of labels: in both, in the truth, in the answer."""
    chosen = sorted(labels)
    rows, columns = counts[chosen], counts[:, chosen]
    return int(rows[:, chosen].sum()), int(rows.sum()), int(columns.sum())


def roi_dice(counts: npt.NDArray[np.int64], labels: Iterable[int]) -> float | None:
    """Return the Dice coefficient of a union of labels; None where neither truth nor answer holds any of it."""
    both, in_truth, in_found = roi_overlap(counts, labels)
    return 2 * both / (in_truth + in_found) if in_truth + in_found else None
