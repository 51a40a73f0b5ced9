"""Whether a network's answer can be one: labels, volumes and shapes within the contract's bounds, crossings in place.

Measured in one pass over the label map, a fraction of a second, before anything is kept or contoured: noise would be
contoured for minutes, and a label everywhere would leave as an organ of fifty litres. The bounds are generous, for they
tell a broken network from a patient, not a good contour from a bad one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npc_contour.core.compiled import compiled
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.volumes import LabelMap
from npc_contour.errors import NetworkAnswerError

UInt8Array = npt.NDArray[np.uint8]

_VALUES = 256
ALWAYS_ALLOWED_PIECES = 5000
"""Of a whole label map: specks that a good network may leave."""
ALWAYS_ALLOWED_CC = 100.0
"""A label so small is not measured against the size of its scan."""


def check_answer(label_map: LabelMap, contract: NetworkContract) -> None:
    """Return when the answer of a network is within the bounds of its contract.

    Raises:
        NetworkAnswerError: it is not; the message names network, label, what was found and what is allowed.
    """
    name, bounds = contract.name, contract.bounds
    counts, pieces, misplaced = _survey(label_map.labels, _crossings_of(label_map, contract))
    present = np.flatnonzero(counts)
    present = present[present > 0]
    strange = present[present >= len(contract.labels)]
    if strange.size:
        raise NetworkAnswerError(
            f"network {name} answered with label {strange[0]} ({counts[strange[0]]} voxels), its contract has labels 0"
            f" to {len(contract.labels) - 1}"
        )
    voxel_cc = float(np.prod(label_map.grid.spacing_zyx_mm)) / 1000.0
    for label in present.tolist():
        found_cc, share = counts[label] * voxel_cc, counts[label] / label_map.labels.size
        what = f"network {name} answered with label {label} ({contract.labels[label]})"
        most_cc = bounds.most_cc(contract.labels[label])
        if found_cc > most_cc:
            raise NetworkAnswerError(f"{what} in {found_cc:.0f} cc, at most {most_cc:g} cc are allowed")
        if share > bounds.max_label_share and found_cc > ALWAYS_ALLOWED_CC:
            raise NetworkAnswerError(
                f"{what} in {share:.0%} of the scan, at most {bounds.max_label_share:.0%} are allowed"
            )
    allowed = ALWAYS_ALLOWED_PIECES + bounds.max_pieces_per_slice * present.size * label_map.labels.shape[0]
    if pieces > allowed:
        raise NetworkAnswerError(
            f"network {name} answered with noise: {present.size} labels in {pieces} separate pieces, at most {allowed}"
            f" are allowed on {label_map.labels.shape[0]} slices"
        )
    if misplaced:
        raise NetworkAnswerError(
            f"network {name} answered with crossings at {misplaced} edges between voxels of one label: they are allowed"
            " only where labels differ"
        )


def _crossings_of(label_map: LabelMap, contract: NetworkContract) -> UInt8Array:
    """Crossings to compare with labels: (2, z, y, x), or (2, 0, 0, 0) where the two need not fit.

    Components that are dropped after the network has answered leave their crossings behind.
    """
    if label_map.crossings is None or contract.keep_largest:
        return np.zeros((2, 0, 0, 0), dtype=np.uint8)
    return label_map.crossings


@compiled
def _survey(labels: UInt8Array, crossings: UInt8Array) -> tuple[npt.NDArray[np.int64], int, int]:
    """Voxels by label, pieces in slices, and crossings between voxels of one label.

    A piece is counted where a run of a label along a row touches no voxel of that label in the row above: once for
    every convex piece of a slice, at least once for any.
    """
    slices, rows, columns = labels.shape
    with_crossings = crossings.shape[1] == slices
    counts = np.zeros(_VALUES, dtype=np.int64)
    pieces, misplaced = 0, 0
    for z in range(slices):
        for y in range(rows):
            x = 0
            while x < columns:
                value = labels[z, y, x]
                start = x
                touches = False
                while x < columns and labels[z, y, x] == value:
                    if y > 0 and labels[z, y - 1, x] == value:
                        touches = True
                    if with_crossings:
                        if crossings[1, z, y, x] != 0 and (x + 1 == columns or labels[z, y, x + 1] == value):
                            misplaced += 1
                        if crossings[0, z, y, x] != 0 and (y + 1 == rows or labels[z, y + 1, x] == value):
                            misplaced += 1
                    x += 1
                counts[value] += x - start
                if value != 0 and not touches:
                    pieces += 1
    return counts, pieces, misplaced
