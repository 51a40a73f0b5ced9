"""Does a CT show a head at all? Headers cannot tell: body part and description are typed by people.

A skull is the one bony wall that closes around soft tissue over tens of square centimetres in an axial slice. Ribs
leave gaps, a pelvis is open in front, a vertebra encloses a few square centimetres. So: find bone, fill what it
encloses slice by slice, and look for large enclosures of soft tissue on several slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.volumes import Volume

BONE_HU = 300
SOFT_TISSUE_HU = (-50, 150)
MIN_ENCLOSED_CM2 = 25.0
MIN_HEIGHT_MM = 15.0
_PIXEL_MM, _SLICE_MM = 3.0, 5.0


@dataclass(frozen=True, slots=True)
class HeadFinding:
    """What was found of a skull.

    Attributes:
        largest_cm2: the largest area of soft tissue that bone encloses in one slice.
        at_mm: where that slice is, along the normal.
        height_mm: over which height such areas are large enough, slices counted by their distance.
    """

    largest_cm2: float
    at_mm: float
    height_mm: float

    @property
    def fault(self) -> str | None:
        """Why this is no head-and-neck CT, in words; None when it may be one."""
        if self.largest_cm2 >= MIN_ENCLOSED_CM2 and self.height_mm >= MIN_HEIGHT_MM:
            return None
        return (
            f"no skull is seen: the largest area that bone encloses is {self.largest_cm2:.1f} cm² (at"
            f" {self.at_mm:+.1f} mm); a head has {MIN_ENCLOSED_CM2:.0f} cm² or more over a height of"
            f" {MIN_HEIGHT_MM:.0f} mm, here it is {self.height_mm:.0f} mm"
        )


def find_head(volume: Volume) -> HeadFinding:
    """Look for a skull in an axial CT; takes a fraction of a second.

    Args:
        volume: HU; slices within 20 degrees of axial.
    """
    gap_mm, row_mm, column_mm = volume.grid.spacing_zyx_mm
    every = max(1, round(_SLICE_MM / gap_mm))
    rows, columns = max(1, round(_PIXEL_MM / row_mm)), max(1, round(_PIXEL_MM / column_mm))
    pixel_cm2 = rows * row_mm * columns * column_mm / 100.0
    chosen = range(0, volume.hu.shape[0], every)
    areas_cm2 = np.array([_enclosed_pixels(volume.hu[index], rows, columns) for index in chosen]) * pixel_cm2
    best = int(np.argmax(areas_cm2))
    normal = np.asarray(volume.grid.direction_lps[0])
    at_mm = float(volume.slice_positions_lps_mm[chosen[best]] @ normal)
    height_mm = float((areas_cm2 >= MIN_ENCLOSED_CM2).sum()) * every * gap_mm
    return HeadFinding(float(areas_cm2[best]), at_mm, height_mm)


def _enclosed_pixels(hu: npt.NDArray[np.int16], rows: int, columns: int) -> int:
    """Coarse pixels of the largest area of soft tissue that bone encloses in one slice.

    Bone is taken by the largest value of each block, or thin bone would get holes; soft tissue by the middle pixel.
    """
    height, width = hu.shape[0] // rows * rows, hu.shape[1] // columns * columns
    if not height or not width:
        return 0
    whole = hu[:height, :width]
    across = np.maximum.reduce([whole[:, start::columns] for start in range(columns)])
    bone = np.maximum.reduce([across[start::rows] for start in range(rows)]) > BONE_HU
    middle = whole[rows // 2 :: rows, columns // 2 :: columns]
    return enclosed(bone, (middle > SOFT_TISSUE_HU[0]) & (middle < SOFT_TISSUE_HU[1]))


def enclosed(bone: npt.NDArray[np.bool_], soft: npt.NDArray[np.bool_]) -> int:
    """Return how many pixels the largest area of soft tissue has that bone encloses in one slice; both (y, x)."""
    if not bone.any():
        return 0
    wall = ndimage.binary_closing(np.pad(bone, 2), np.ones((3, 3), bool))[2:-2, 2:-2]
    holes, count = ndimage.label(ndimage.binary_fill_holes(wall) & ~wall)
    if not count:
        return 0
    sizes = np.bincount(holes[soft], minlength=count + 1)
    sizes[0] = 0
    return int(sizes.max())
