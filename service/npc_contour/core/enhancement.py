"""Which of two T1 weighted MR series shows the contrast agent? Their voxels side by side, where headers may be wrong.

MR has no scale of values, so a series alone tells nothing. Beside another one of the same sequence and place it does:
most tissue keeps its place in the scale, while mucosa, glands and vessels become brighter with the agent, and nothing
becomes darker. So: both are averaged to a few millimetres, the ratio of their signals is taken where both have one, its
middle is one tissue's own, and what lies far above it is held against what lies far below. Where much differs, or both
ways, the two are not of one kind (fat saturation that no header names), and nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.evidence import STRONG, ContrastEvidence
from npc_contour.domain.pipelines import Contrast
from npc_contour.domain.volumes import Volume

AVERAGED_MM = 3.0
SIGNAL_SHARE = 0.15
"""Of the bright tissue's signal; what is darker is air, bone or noise."""
BRIGHTER = 1.35
"""Times the middle of all ratios: what enhances gains more, what differs by coil or scanner less."""
LEAST_SHARE, MOST_SHARE = 0.01, 0.25
MANY_TIMES = 4.0
"""So much more must be brighter than darker."""
FEWEST = 500
OPPOSITE = {Contrast.PRESENT: Contrast.ABSENT, Contrast.ABSENT: Contrast.PRESENT}


@dataclass(frozen=True, slots=True)
class Brighter:
    """Which share of the tissue is brighter in the first series than in the second, and the other way round."""

    first: float
    second: float

    @property
    def says(self) -> Contrast | None:
        """What that means for the first series; None where it does not tell."""
        more, less = max(self.first, self.second), min(self.first, self.second)
        if not LEAST_SHARE <= more <= MOST_SHARE or more < MANY_TIMES * less:
            return None
        return Contrast.PRESENT if self.first > self.second else Contrast.ABSENT

    def evidence(self, first: str, second: str) -> tuple[ContrastEvidence, ContrastEvidence] | None:
        """What it says of both series, given how people call them; None where it does not tell."""
        if self.says is None:
            return None
        sides = ((Contrast.PRESENT, self.first, self.second), (Contrast.ABSENT, self.second, self.first))
        told = [
            ContrastEvidence(
                says if self.says is Contrast.PRESENT else OPPOSITE[says],
                STRONG,
                f"{brighter:.1%} of the tissue is clearly brighter than in {other}, {darker:.1%} darker",
            )
            for (says, brighter, darker), other in zip(sides, (second, first), strict=True)
        ]
        return told[0], told[1]


def compare_brightness(first: Volume, second: Volume) -> Brighter | None:
    """Compare; None where the two share too little tissue.

    Args:
        first: an MR series.
        second: another in the same frame of reference.
    """
    ours, theirs = _averaged(first), _averaged(second)
    steps = [max(1, round(AVERAGED_MM / mm)) for mm in first.grid.spacing_zyx_mm]
    indices = np.stack(
        np.meshgrid(
            *(np.arange(0, count, step) for count, step in zip(first.hu.shape, steps, strict=True)), indexing="ij"
        ),
        axis=-1,
    ).reshape(-1, 3)
    places = second.grid.to_index_zyx(first.grid.to_patient_mm(indices.astype(np.float64)))
    ours = ours[tuple(indices.T)]
    theirs = ndimage.map_coordinates(theirs, places.T, order=1, mode="constant", cval=0.0)
    tissue = (ours > SIGNAL_SHARE * _bright(ours)) & (theirs > SIGNAL_SHARE * _bright(theirs))
    if tissue.sum() < FEWEST:
        return None
    ratio = np.log(ours[tissue] / theirs[tissue])
    apart = ratio - np.median(ratio)
    limit = np.log(BRIGHTER)
    return Brighter(float((apart > limit).mean()), float((apart < -limit).mean()))


def _averaged(volume: Volume) -> npt.NDArray[np.float32]:
    size = [max(1, round(AVERAGED_MM / mm)) for mm in volume.grid.spacing_zyx_mm]
    averaged: npt.NDArray[np.float32] = ndimage.uniform_filter(volume.hu.astype(np.float32), size)
    return averaged


def _bright(values: npt.NDArray[np.float32]) -> float:
    return float(np.percentile(values, 98.0))
