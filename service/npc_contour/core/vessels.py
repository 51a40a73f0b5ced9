"""Do the great vessels of a CT shine? The last resort where headers do not tell a contrast phase.

Blood is 40 to 60 HU without contrast, muscle and glands not much more; with contrast the carotids and jugular veins run
at 130 to 350 HU through soft tissue, well away from bone. So: average noise away, take what lies in that range, drop
what touches bone (its edges are as dense), and measure what is left. Thyroid cartilage and dental streaks leave a
little of it in any scan, hence two limits with "unknown" between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.core.evidence import STRONG, ContrastEvidence
from npc_contour.domain.pipelines import Contrast
from npc_contour.domain.volumes import Volume

VESSEL_HU = (130.0, 350.0)
BONE_HU = 350.0
BODY_HU = -200.0
BONE_MARGIN_MM = 6.0
SKIN_MARGIN_MM = 10.0
PLAIN_BELOW_CC = 6.0
CONTRAST_ABOVE_CC = 15.0
_PIXEL_MM, _SLICE_MM = 2.5, 4.0


@dataclass(frozen=True, slots=True)
class VesselFinding:
    """How much of a CT is as dense as blood with contrast, apart from bone."""

    dense_cc: float

    @property
    def says(self) -> Contrast | None:
        """What that means; None between the limits."""
        if self.dense_cc >= CONTRAST_ABOVE_CC:
            return Contrast.PRESENT
        return Contrast.ABSENT if self.dense_cc <= PLAIN_BELOW_CC else None

    @property
    def text(self) -> str:
        """In words, with the limits."""
        return (
            f"{self.dense_cc:.1f} cc of soft tissue is at {VESSEL_HU[0]:.0f} to {VESSEL_HU[1]:.0f} HU, as vessels with"
            f" contrast are ({CONTRAST_ABOVE_CC:.0f} cc or more is contrast, {PLAIN_BELOW_CC:.0f} cc or less is none)"
        )

    @property
    def evidence(self) -> ContrastEvidence | None:
        """What it says, as strong as a description; None between the limits."""
        return None if self.says is None else ContrastEvidence(self.says, STRONG, self.text)


def look_at_vessels(volume: Volume) -> VesselFinding:
    """Measure; takes about a second.

    Args:
        volume: HU of a CT.
    """
    spacing_mm = volume.grid.spacing_zyx_mm
    steps = [
        max(1, round(wanted / own)) for wanted, own in zip((_SLICE_MM, _PIXEL_MM, _PIXEL_MM), spacing_mm, strict=True)
    ]
    hu = _averaged(volume.hu[:: steps[0]], steps[1], steps[2])
    grid_mm = [own * step for own, step in zip(spacing_mm, steps, strict=True)]
    body = np.stack([ndimage.binary_fill_holes(section) for section in hu > BODY_HU])
    inside = ~_grown(~body, SKIN_MARGIN_MM, grid_mm)
    away = ~_grown(hu >= BONE_HU, BONE_MARGIN_MM, grid_mm)
    dense = (hu >= VESSEL_HU[0]) & (hu < VESSEL_HU[1]) & inside & away
    opened = ndimage.binary_opening(dense, structure=np.ones((1, 2, 2), dtype=np.bool_))
    return VesselFinding(float(opened.sum() * np.prod(grid_mm)) / 1000.0)


def _averaged(hu: npt.NDArray[np.int16], rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Mean of blocks of so many rows and columns, within each slice."""
    z, height, width = hu.shape[0], hu.shape[1] // rows, hu.shape[2] // columns
    blocks = hu[:, : height * rows, : width * columns].reshape(z, height, rows, width, columns)
    means: npt.NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)
    return means


def _grown(mask: npt.NDArray[np.bool_], margin_mm: float, grid_mm: list[float]) -> npt.NDArray[np.bool_]:
    """Grown by a margin along each axis: a box is as good here as a ball, and faster."""
    size = [2 * round(margin_mm / own) + 1 for own in grid_mm]
    grown: npt.NDArray[np.bool_] = ndimage.maximum_filter(mask, size=size)
    return grown
