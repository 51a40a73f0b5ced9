"""Compiles the loops over voxels and points before the first patient needs them; the result is kept on disk.

Run once at start, in a process of its own: on a fresh machine compiling takes tens of seconds, and a worker would wait.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset

from npc_contour.adapters.dicom.read.planning_header import planning_header
from npc_contour.adapters.dicom.rtstruct.gate import check_rtstruct
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.app.runtime import Runtime
from npc_contour.core.alignment import resample_onto
from npc_contour.core.contouring import contour_rois
from npc_contour.core.labels import roi_masks
from npc_contour.domain.geometry import HEAD_FIRST_SUPINE, Grid
from npc_contour.domain.structures import InterpretedType, RoiSpec, StructureSet
from npc_contour.domain.volumes import LabelMap, Volume

SLICES, SIDE = 6, 24
FRAME, STUDY, SERIES = "1.2.3.4", "1.2.3.5", "1.2.3.6"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def run(_runtime: Runtime) -> None:
    """Contour two made-up ROIs, one with a hole, encode and check them."""
    volume = _volume(0.0)
    resample_onto(_volume(0.4), volume.grid)
    labels = np.zeros(volume.grid.shape_zyx, dtype=np.uint8)
    labels[1:5, 4:20, 4:20] = 1
    labels[1:5, 9:13, 9:13] = 0
    labels[2:4, 10:12, 10:12] = 2
    specs = (
        RoiSpec("Ring", InterpretedType.ORGAN, "network", frozenset({1}), (255, 0, 0)),
        RoiSpec("Core", InterpretedType.GTV, "network", frozenset({2}), (0, 255, 0)),
    )
    masks = roi_masks({"network": LabelMap(labels, volume.grid, "network")}, specs)
    rois = contour_rois(masks, volume)
    header = planning_header(_image())
    structure_set = StructureSet("WARM_UP", "", "warm-up", rois, {})
    data = encode_rtstruct(structure_set, volume, header, made_at=datetime.now(UTC))
    check_rtstruct(data, masks, volume, header)


def _image() -> Dataset:
    image = Dataset()
    image.SOPClassUID = CT_IMAGE_STORAGE
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = STUDY, SERIES, FRAME
    return image


def _volume(shift_mm: float) -> Volume:
    grid = Grid((SLICES, SIDE, SIDE), (3.0, 1.0, 1.0), (shift_mm, 0.0, shift_mm), HEAD_FIRST_SUPINE, FRAME)
    positions = np.array([[shift_mm, 0.0, shift_mm + 3.0 * index] for index in range(SLICES)])
    uids = tuple(f"1.2.3.7.{index}" for index in range(SLICES))
    return Volume(np.zeros(grid.shape_zyx, dtype=np.int16), grid, uids, positions)
