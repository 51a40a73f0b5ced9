"""A folder with one planning series: where its slices lie and whose they are, without its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npc_contour.adapters.dicom.planning_header import PlanningHeader, read_planning_header
from npc_contour.adapters.dicom.reader import read_headers
from npc_contour.core.stacking import stack
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import Volume
from npc_contour.errors import SeriesGeometryError


@dataclass(frozen=True, slots=True, eq=False)
class PlanningFolder:
    """What masks need of the planning series.

    Attributes:
        volume: its slices; every voxel is 0 HU and takes no memory.
        header: patient, study and series.
    """

    volume: Volume
    header: PlanningHeader


def read_planning_folder(folder: Path, *, series_instance_uid: str = "") -> PlanningFolder:
    """Read the headers of a folder's series.

    Args:
        folder: searched with its subfolders.
        series_instance_uid: which series; "" where the folder holds images of only one.

    Raises:
        SeriesGeometryError: there are no images, images of several series, or no regular stack.
    """
    headers = [header for header in read_headers(folder).headers if header.position_lps_mm is not None]
    found = sorted({header.series_instance_uid for header in headers})
    wanted = series_instance_uid or (found[0] if len(found) == 1 else "")
    if wanted not in found:
        listed = ", ".join(found) or "none"
        raise SeriesGeometryError(
            f"{folder}: expected images of {series_instance_uid or 'one series'}, found the series {listed}"
        )
    series = Series(tuple(header for header in headers if header.series_instance_uid == wanted))
    ordered = stack(series)
    volume = Volume(
        np.broadcast_to(np.int16(0), ordered.grid.shape_zyx),
        ordered.grid,
        tuple(header.sop_instance_uid for header in ordered.instances),
        ordered.positions_lps_mm,
    )
    return PlanningFolder(volume, read_planning_header(Path(series.first.key)))
