"""Which voxels of an incompletely drawn case are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from npc_contour.domain.geometry import Vec3
from npc_networks.datasets.recipe import UnknownPart


def mask_unknown(
    labels: npt.NDArray[np.uint8],
    hu: npt.NDArray[np.float32],
    spacing_zyx_mm: Vec3,
    how: UnknownPart,
    *,
    ignore: int,
    certain: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return the labels with the ignore label wherever nothing is known.

    Known are drawn nodes; a coat around each, since whoever drew it looked at its border; voxels whose density no node
    has; and voxels that something else is known to fill. After S. M. Fischer et al., "Mask the Unknown", Machine
    Learning for Biomedical Imaging 2024:008, who also let TotalSegmentator say what else fills a voxel.

    Args:
        labels: (z, y, x), 0 where nothing was drawn.
        hu: (z, y, x) Hounsfield units.
        spacing_zyx_mm: of both.
        how: width of the coat and densities of tissue.
        ignore: nnU-Net's ignore label.
        certain: (z, y, x), voxels that are background for sure.

    Returns:
        A new array.
    """
    drawn = labels != 0
    known = drawn | (hu < how.tissue_hu[0]) | (hu > how.tissue_hu[1])
    if drawn.any():
        distance_mm = ndimage.distance_transform_edt(~drawn, sampling=spacing_zyx_mm)
        known |= distance_mm <= how.coat_mm
    if certain is not None:
        known |= certain & ~drawn
    masked = labels.copy()
    masked[~known] = ignore
    return masked
