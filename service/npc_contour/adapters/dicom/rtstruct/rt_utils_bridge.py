"""rt-utils, where a site wants it: as the one that draws contours, and as a second reader of what is about to leave.

Its package is an extra and loads OpenCV, so it is imported when first used. What is known to go wrong in rt-utils 1.2.7
is kept out: contours through pixel centres (small organs lose a fifth) are drawn on slices refined threefold, where the
centres of the finer pixels lie a third of a pixel further out; rings of one or two points cannot arise there; slices
are placed by their own position, not by index times mean spacing; numbers, character sets, identifiers and attributes
are those of `rtstruct.py`. Its transposed reading of images that are not square is why `read_back` refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from npc_contour.core.components import BoolArray
from npc_contour.core.contouring import placed
from npc_contour.core.labels import RoiMask
from npc_contour.core.simplify import thin_to
from npc_contour.domain.structures import ReadRoi, Roi
from npc_contour.domain.volumes import Volume
from npc_contour.errors import SettingsError

REFINED = 3
_PARENT = 3
"""Of OpenCV's four numbers a contour: next, previous, first child, parent."""


def rt_utils_rois(masks: Sequence[RoiMask], volume: Volume, max_points: int) -> tuple[Roi, ...]:
    """Contour every ROI with rt-utils' tracing; inner contours stay contours of their own.

    Args:
        masks: the ROIs.
        volume: the planning volume.
        max_points: contours with more vertices are thinned, as little as is needed.

    Returns:
        ROIs as `core.contouring.contour_rois` gives them: outer rings clockwise as the image is displayed.

    Raises:
        SettingsError: rt-utils is not installed.
    """
    helper = _image_helper()
    return tuple(_roi(helper, mask, volume, max_points) for mask in masks)


def read_back(rois: Sequence[ReadRoi], volume: Volume) -> Mapping[str, BoolArray] | None:
    """Return what rt-utils makes of contours, (z, y, x) by ROI name; None for images that it cannot read.

    Raises:
        SettingsError: rt-utils is not installed.
    """
    helper = _image_helper()
    slices, rows, columns = volume.grid.shape_zyx
    if rows != columns:
        return None
    series = [_slice_header(volume, index) for index in range(slices)]
    index_of = {uid: index for index, uid in enumerate(volume.sop_instance_uids)}
    masks = {}
    for roi in rois:
        mask = np.zeros(volume.grid.shape_zyx, dtype=np.bool_)
        on_slice: dict[int, list[list[float]]] = {}
        for contour in roi.contours:
            for uid in contour.sop_instance_uids:
                on_slice.setdefault(index_of[uid], []).append(contour.points_lps_mm.ravel().tolist())
        for index, contours in on_slice.items():
            # Its matrix is that of the first slice and a mean spacing; given one slice, it is that slice's own.
            matrix = helper.get_patient_to_pixel_transformation_matrix([series[index]])
            mask[index] = helper.get_slice_mask_from_slice_contour_data(series[index], contours, matrix) > 0
        masks[roi.name] = mask
    return masks


def _roi(helper: ModuleType, roi_mask: RoiMask, volume: Volume, max_points: int) -> Roi:
    points: list[npt.NDArray[np.float64]] = []
    slices: list[int] = []
    for index in np.flatnonzero(roi_mask.mask.any(axis=(1, 2))):
        for ring in _rings(helper, roi_mask.mask[index]):
            locked = np.zeros(len(ring), dtype=np.uint8)
            points.append(ring if len(ring) <= max_points else ring[thin_to(ring, locked, max_points, 1.0)])
            slices.append(int(index))
    lengths = np.array([len(ring) for ring in points], dtype=np.int64)
    together = np.concatenate(points) if points else np.empty((0, 2))
    return placed(roi_mask, volume, together, lengths, np.array(slices, dtype=np.int64))


def _rings(helper: ModuleType, section: BoolArray) -> list[npt.NDArray[np.float64]]:
    """Return the rings of one slice, (n, 2) row and column in pixels, outer ones clockwise and holes the other way."""
    fine = section.repeat(REFINED, axis=0).repeat(REFINED, axis=1)
    contours, hierarchy = helper.find_mask_contours(fine, approximate_contours=True)
    rings = []
    for index, contour in enumerate(contours):
        depth, parent = 0, hierarchy[index][_PARENT]
        while parent >= 0:
            depth, parent = depth + 1, hierarchy[parent][_PARENT]
        x, y = (np.asarray(contour, dtype=np.float64).T - (REFINED - 1) / 2) / REFINED
        clockwise = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) > 0
        ring = np.stack([y, x], axis=1)
        rings.append(ring if clockwise == (depth % 2 == 0) else ring[::-1])
    return rings


def _slice_header(volume: Volume, index: int) -> Dataset:
    _, rows, columns = volume.grid.shape_zyx
    _, row_mm, column_mm = volume.grid.spacing_zyx_mm
    _, down, right = volume.grid.direction_lps
    header = Dataset()
    header.Rows, header.Columns = rows, columns
    # rt-utils 1.2.7 takes the spacings in the wrong order; alike on the square pixels that it reads at all.
    header.PixelSpacing = [row_mm, column_mm]
    header.ImagePositionPatient = [float(value) for value in volume.slice_positions_lps_mm[index]]
    header.ImageOrientationPatient = [*right, *down]
    return header


def _image_helper() -> ModuleType:
    try:
        from rt_utils import image_helper  # noqa: PLC0415 - an extra, and it loads OpenCV
    except ImportError as error:
        raise SettingsError(f"rt-utils cannot be used: {error}; pip install 'npc-autocontour[rtutils]'") from error
    helper: ModuleType = image_helper
    return helper
