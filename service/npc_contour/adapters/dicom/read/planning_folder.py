"""A folder with one planning series: where its slices lie and whose they are, without its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npc_contour.adapters.dicom.read.incoming import STORAGE_CLASSES
from npc_contour.adapters.dicom.read.planning_header import PlanningHeader, read_planning_header
from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.core.grouping import object_name
from npc_contour.core.stacking import stack
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.domain.volumes import Volume
from npc_contour.errors import SeriesGeometryError


@dataclass(frozen=True, slots=True, eq=False)
class PlanningFolder:
    """What masks need of the planning series.

    Attributes:
        volume: its slices; every voxel is 0 HU and takes no memory.
        header: patient, study and series.
        notes: what a user should know of the folder, in words.
    """

    volume: Volume
    header: PlanningHeader
    notes: tuple[str, ...] = ()


def read_planning_folder(
    folder: Path, *, series_instance_uid: str = "", referenced: Sequence[str] = ()
) -> PlanningFolder:
    """Read the headers of a folder's series.

    Args:
        folder: searched with its subfolders; dose, plans and structure sets in it are no images of a series.
        series_instance_uid: which series; "" where there is only one, or where `referenced` says it.
        referenced: the series that a structure set names; of several in the folder, the one among them is taken.

    Raises:
        SeriesGeometryError: there are no images, images of several series, or no regular stack.
    """
    content = read_headers(folder)
    placed = [header for header in content.headers if header.position_lps_mm is not None]
    headers = [header for header in placed if header.sop_class_uid in STORAGE_CLASSES] or placed
    found = Counter(header.series_instance_uid for header in headers)
    named = [uid for uid in found if uid in referenced]
    wanted = series_instance_uid or next((some[0] for some in (named, list(found)) if len(some) == 1), "")
    if wanted not in found:
        if not headers:
            others = dict.fromkeys(object_name(header.sop_class_uid) for header in content.headers)
            raise SeriesGeometryError(f"{folder}: no CT or MR images, found {'; '.join(others) or 'no DICOM file'}")
        raise SeriesGeometryError(
            f"{folder}: expected images of {series_instance_uid or 'one series'}, found the series"
            f" {_described(headers)}; name one with --series"
        )
    series = Series(tuple(header for header in headers if header.series_instance_uid == wanted))
    ordered = stack(series)
    volume = Volume(
        np.broadcast_to(np.int16(0), ordered.grid.shape_zyx),
        ordered.grid,
        tuple(header.sop_instance_uid for header in ordered.instances),
        ordered.positions_lps_mm,
    )
    copies = len(content.copies)
    notes = (f"{copies} files in {folder} are copies of others: each image counts once",) if copies else ()
    return PlanningFolder(volume, read_planning_header(Path(series.first.key)), notes)


def with_pixels(folder: Path, planning: PlanningFolder) -> Volume:
    """Return the planning volume with its pixels.

    Raises:
        SeriesGeometryError, CaseRefused: as `read_volume` does.
    """
    wanted = planning.header.series_instance_uid
    headers = read_headers(folder).headers
    return read_volume(Series(tuple(header for header in headers if header.series_instance_uid == wanted)))


def _described(headers: Sequence[InstanceHeader]) -> str:
    """Return every series with what tells it from the others."""
    images = Counter(header.series_instance_uid for header in headers)
    first = {header.series_instance_uid: header for header in reversed(headers)}
    return ", ".join(
        f"{uid} ({first[uid].modality}, {count} images, {first[uid].series_description!r})"
        for uid, count in sorted(images.items())
    )
