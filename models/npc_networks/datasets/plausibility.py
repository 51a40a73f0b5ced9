"""What a training case may not be: undrawn, swapped left and right, or with its phases in each other's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from npc_networks.datasets.cases import CaseRefused

SOFT_TISSUE_HU: Final = (0.0, 400.0)
ENHANCED_HU: Final = 60.0
FEWEST_ENHANCED: Final = 500
CLEARLY: Final = 2.0
"""A phase has so many times as many voxels brighter than in the other as the other has brighter than in it."""


def check_drawn(labels: npt.NDArray[np.uint8], names: Sequence[str]) -> None:
    """Return when something is drawn, and what is called left lies left of what is called right.

    Args:
        labels: (z, y, x) in LPS: the index along x rises to the patient's left.
        names: of labels 1, 2, ....

    Raises:
        CaseRefused: with the structures' names.
    """
    if not labels.any():
        raise CaseRefused("no label is drawn")
    # Structures that are parts of others come first in their label's name.
    own = {name.split(" in ")[0]: label for label, name in enumerate(names, start=1)}
    sides = {name.removesuffix("_L"): f"{name.removesuffix('_L')}_R" for name in own if name.endswith("_L")}
    pairs = {name: (own[f"{name}_L"], own[right]) for name, right in sides.items() if right in own}
    places: dict[int, float] = {}
    for label in {label for pair in pairs.values() for label in pair}:
        columns = np.count_nonzero(labels == label, axis=(0, 1))
        if columns.any():
            places[label] = float(np.average(np.arange(len(columns)), weights=columns))
    drawn = {name: (left, right) for name, (left, right) in pairs.items() if left in places and right in places}
    swapped = [name for name, (left, right) in drawn.items() if places[left] < places[right]]
    if swapped and 2 * len(swapped) > len(drawn):
        raise CaseRefused(
            f"what is called left lies right of what is called right, of {len(swapped)} pairs of {len(drawn)}"
            f" (first {swapped[0]}_L, {swapped[0]}_R)"
        )


def check_phases(plain: npt.NDArray[Any], contrast: npt.NDArray[Any]) -> None:
    """Return unless soft tissue is clearly brighter in the series without contrast than in that with it.

    Raises:
        CaseRefused: with the numbers of voxels.
    """
    low, high = SOFT_TISSUE_HU
    soft = (plain > low) & (plain < high) & (contrast > low) & (contrast < high)
    more = contrast[soft].astype(np.float32) - plain[soft].astype(np.float32)
    enhanced, faded = int(np.count_nonzero(more > ENHANCED_HU)), int(np.count_nonzero(more < -ENHANCED_HU))
    if faded > FEWEST_ENHANCED and faded > CLEARLY * enhanced:
        raise CaseRefused(
            f"{faded} voxels of soft tissue are brighter without contrast than with it, {enhanced} the other way round:"
            " the two series have each other's place"
        )
