"""DICOM SEG as masks, binary and label map (PS3.3 A.51, A.100), read by highdicom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, segread
from pydicom.errors import InvalidDicomError

from npc_contour.domain.geometry import Grid, Vec3
from npc_contour.errors import CaseRefused, VoxelFileError

_PREAMBLE, _PREFIX = 128, b"DICM"


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One segment.

    Attributes:
        mask: (z, y, x), on the segmentation's own grid.
        colour_rgb: None where the file recommends none.
    """

    name: str
    mask: npt.NDArray[np.bool_]
    colour_rgb: tuple[int, int, int] | None


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (PS3.10 7.1)."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE + len(_PREFIX))[_PREAMBLE:] == _PREFIX


def read_segmentation(path: Path, frame_of_reference_uid: str) -> tuple[Grid, list[Segment]]:
    """Read every segment; slices that have no frame are empty.

    Args:
        path: of the file.
        frame_of_reference_uid: of the planning images.

    Returns:
        The segmentation's grid, and the segments in the order of their numbers.

    Raises:
        VoxelFileError: it is no segmentation, is cut short, or its frames are no regular stack.
        CaseRefused: it is fractional, or lies in another frame of reference.
    """
    try:
        content = segread(path)
        if content.segmentation_type is SegmentationTypeValues.FRACTIONAL:
            raise CaseRefused(f"{path} is a fractional segmentation, expected a binary one or a label map")
        found = str(content.FrameOfReferenceUID)
        if found != frame_of_reference_uid:
            raise CaseRefused(
                f"{path} lies in frame of reference {found}, the images in {frame_of_reference_uid}: it was drawn on"
                " other images"
            )
        volumes = [(number, content.get_volume(segment_numbers=[number])) for number in content.segment_numbers]
        segments = [_segment(content, number, volume) for number, volume in volumes]
    except (InvalidDicomError, AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise VoxelFileError(f"{path} cannot be read as a segmentation, or is cut short: {error}") from error
    if not segments:
        raise VoxelFileError(f"{path} holds no segment")
    return _grid(volumes[0][1], path), segments


def _segment(content: Segmentation, number: int, volume: highdicom.Volume) -> Segment:
    described = content.get_segment_description(number)
    value = described.get("RecommendedDisplayCIELabValue")
    rgb = None
    if value is not None:
        red, green, blue = (int(part) for part in CIELabColor.from_dicom_value(value).to_rgb(clip=True))
        rgb = (red, green, blue)
    return Segment(str(described.segment_label), volume.array[..., 0] != 0, rgb)


def _grid(volume: highdicom.Volume, path: Path) -> Grid:
    depth, rows, columns = (int(size) for size in volume.spatial_shape)
    axes = np.asarray(volume.affine)[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    try:
        return Grid(
            (depth, rows, columns),
            _vec3(spacing),
            _vec3(np.asarray(volume.affine)[:3, 3]),
            (_vec3(axes[:, 0] / spacing[0]), _vec3(axes[:, 1] / spacing[1]), _vec3(axes[:, 2] / spacing[2])),
            "",
        )
    except ValueError as error:
        raise VoxelFileError(f"{path} has axes that do not stand at right angles: {error}") from error


def _vec3(vector: npt.NDArray[np.float64]) -> Vec3:
    return float(vector[0]), float(vector[1]), float(vector[2])
