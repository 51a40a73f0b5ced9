"""From files to a `Volume` in Hounsfield units, or in the values of an MR scanner.

Choices, each tested: slices are placed by their own position; the rescale is applied slice by slice in floating
point, rounded and saturated to int16; pixels that the header marks as padding become -1024 HU (air) in CT and 0 in
MR; other values below -1024 HU stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from npc_contour.adapters.dicom.read import headers, pixels
from npc_contour.adapters.dicom.read.elements import CANNOT_PARSE, Elements
from npc_contour.adapters.dicom.read.incoming import REGISTRATION, STORAGE_CLASSES
from npc_contour.adapters.dicom.read.mr_scale import mr_scale
from npc_contour.core.grouping import unit_fault
from npc_contour.core.mr_values import to_int16
from npc_contour.core.slice_steps import value_step
from npc_contour.core.stacking import stack
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.domain.uids import is_uid
from npc_contour.domain.volumes import Volume
from npc_contour.errors import CaseRefused, InstanceRefused, PixelDataError

ReadImage = Callable[[InstanceHeader], bytes]
"""The file of an image, as it was kept; raises DamagedFileError where it is not, or OSError."""


def read_at_key(header: InstanceHeader) -> bytes:
    """The file of an image whose key is its path."""
    return Path(header.key).read_bytes()


Progress = Callable[[int, int], None]
"""Told (done, total) after each slice or file."""

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
CT_PADDING_HU = -1024
MAX_SLOPE = 1e4
MAX_VOXELS = 2**30
"""1024 x 1024 x 1024: two gibibytes of HU."""
_DECODERS = 2


@dataclass(frozen=True, slots=True)
class FolderContent:
    """What lies in a folder.

    Attributes:
        headers: of every DICOM object but DICOMDIR; `key` is the file's path.
        skipped: file → why it is left out.
        copies: files that hold an image another file holds, too; it counts once.
    """

    headers: tuple[InstanceHeader, ...]
    skipped: tuple[tuple[Path, str], ...]
    copies: tuple[Path, ...] = ()


def read_headers(
    source: Path | Iterable[Path], *, progress: Progress | None = None, pixels_asked: bool = False
) -> FolderContent:
    """Read the headers of all files of a folder (with its subfolders) or of a list.

    Files that are not DICOM, DICOMDIR, and with `pixels_asked` images without Pixel Data, are skipped and listed with
    the reason; of an image's copies one is taken.

    Raises:
        CaseRefused: two files have one SOP Instance UID and other content: only a person knows which is right.
        OSError: the folder cannot be listed.
    """
    if isinstance(source, Path):
        paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    else:
        paths = list(source)
    found: dict[str, InstanceHeader] = {}
    skipped: list[tuple[Path, str]] = []
    copies: list[Path] = []
    for done, path in enumerate(paths, start=1):
        try:
            header = _usable_header(path, pixels_asked=pixels_asked)
            first = found.setdefault(header.sop_instance_uid, header)
            if first is not header:
                _refuse_other(Path(first.key), path)
                copies.append(path)
        except (InstanceRefused, OSError) as error:
            skipped.append((path, str(error)))
        if progress is not None:
            progress(done, len(paths))
    return FolderContent(tuple(found.values()), tuple(skipped), tuple(copies))


def read_volume(
    series: Series,
    read_image: ReadImage = read_at_key,
    *,
    progress: Progress | None = None,
    before_slice: Callable[[], None] | None = None,
) -> Volume:
    """Read a series as one volume.

    Args:
        series: CT or MR images of one stack.
        read_image: gives the file of an image; the default takes its key as a path.
        progress: told after each slice.
        before_slice: called in the reading thread before each slice; while it does not return, others have the CPU.

    Returns:
        int16 HU on the series' grid; of MR the rescaled values, see `core.mr_values.to_int16`.

    Raises:
        SeriesGeometryError: the slices are not one regular stack.
        PixelDataError: a slice's pixels cannot be decoded or are not what its header says; it is named.
    """
    ordered = stack(series)
    _, rows, columns = ordered.grid.shape_zyx
    if max(rows, columns) > pixels.MAX_EDGE or math.prod(ordered.grid.shape_zyx) > MAX_VOXELS:
        raise PixelDataError(
            f"a volume of {len(ordered.instances)} slices of {rows} x {columns}: at most {pixels.MAX_EDGE} along"
            f" an edge and {MAX_VOXELS} voxels in all are taken"
        )
    modality = series.first.modality
    values = np.empty(ordered.grid.shape_zyx, dtype=np.float32 if modality == "MR" else np.int16)
    read_values = _read_mr if modality == "MR" else _read_hu

    def read_slice(index: int) -> None:
        header = ordered.instances[index]
        if before_slice is not None:
            before_slice()
        try:
            _check_class(header, modality)
            values[index] = read_values(read_image(header), header)
        except (PixelDataError, InstanceRefused, OSError) as error:
            raise PixelDataError(
                f"slice {index + 1} of {len(ordered.instances)} (SOP instance {header.sop_instance_uid}): {error}"
            ) from error

    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
        for done, _ in enumerate(pool.map(read_slice, range(len(values))), start=1):
            if progress is not None:
                progress(done, len(values))
    uids = tuple(header.sop_instance_uid for header in ordered.instances)
    hu = to_int16(values) if values.dtype == np.float32 else values
    if modality == "CT" and (found := value_step(hu)) is not None:
        index, step_hu = found
        raise PixelDataError(
            f"slice {index + 1} of {len(uids)} (SOP instance {uids[index]}): all its values lie {step_hu:+.0f} HU from"
            " those of the slice before: Rescale Slope and Intercept are not right in all slices; send the series"
            " again as the scanner wrote it"
        )
    return Volume(hu, ordered.grid, uids, ordered.positions_lps_mm, modality)


def read_plane(header: InstanceHeader, read_image: ReadImage = read_at_key) -> npt.NDArray[np.int16]:
    """Read one image of a series: (rows, columns) int16 HU, just as `read_volume` places it in its volume.

    Raises:
        PixelDataError: its pixels cannot be decoded or are not what its header says.
    """
    try:
        return _read_hu(read_image(header), header)
    except (InstanceRefused, OSError) as error:
        raise PixelDataError(f"SOP instance {header.sop_instance_uid}: {error}") from error


def _check_class(header: InstanceHeader, modality: str) -> None:
    """Refuse what only looks like an image of this series: a secondary capture, or one of another modality."""
    expected = STORAGE_CLASSES.get(header.sop_class_uid)
    if expected is None:
        raise PixelDataError(f"class {header.sop_class_uid[:64] or '(none)'} is neither CT nor MR Image Storage")
    if header.modality != modality or modality != expected:
        raise PixelDataError(f"Modality is {header.modality!r} in an object of {expected} Image Storage")


def _usable_header(path: Path, *, pixels_asked: bool) -> InstanceHeader:
    header, parsed = headers.read_file(path)
    is_image = STORAGE_CLASSES.get(header.sop_class_uid, REGISTRATION) != REGISTRATION
    if pixels_asked and is_image and parsed.pixel_data_offset is None:
        raise InstanceRefused("the image has no Pixel Data", status=CANNOT_PARSE)
    if header.sop_class_uid == MEDIA_STORAGE_DIRECTORY or path.name.upper() == "DICOMDIR":
        raise InstanceRefused("a DICOMDIR is an index, not an image", status=CANNOT_PARSE)
    for name, uid in (
        ("SOP Instance UID", header.sop_instance_uid),
        ("Series Instance UID", header.series_instance_uid),
        ("Study Instance UID", header.study_instance_uid),
    ):
        if not is_uid(uid):
            raise InstanceRefused(f"{name} is absent or not a UID: {uid!r}", status=CANNOT_PARSE)
    return header


def _refuse_other(first: Path, path: Path) -> None:
    """Refuse two files of one UID that hold other data sets; preamble and file meta information may differ."""
    one, other = (headers.split_file(file.read_bytes()) for file in (first, path))
    syntaxes = {meta.uid("TransferSyntaxUID") for meta, _ in (one, other)}
    if len(syntaxes) != 1 or one[1] != other[1]:
        raise CaseRefused(
            f"{first} and {path} have one SOP Instance UID and are not the same: remove the one that is wrong"
        )


def _read_hu(content: bytes, expected: InstanceHeader) -> npt.NDArray[np.int16]:
    """One slice: (rows, columns) int16 HU."""
    stored, parsed, padded = _read_stored(content, expected)
    fault = unit_fault(headers.header_of(parsed, key=expected.key))
    if fault is not None:
        raise PixelDataError(fault)
    slope, intercept = _rescale(parsed.elements)
    if slope == 1.0 and intercept == round(intercept):
        values = stored + np.int32(intercept)
    else:
        values = np.rint(stored * slope + intercept)
    limits = np.iinfo(np.int16)
    hu: npt.NDArray[np.int16] = np.clip(values, limits.min, limits.max).astype(np.int16)
    hu[padded] = CT_PADDING_HU
    return hu


def _read_mr(content: bytes, expected: InstanceHeader) -> npt.NDArray[np.float32]:
    """One slice: (rows, columns) float32 in the scanner's own scale."""
    stored, parsed, padded = _read_stored(content, expected)
    slope, intercept = mr_scale(parsed.elements, content)
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    values[padded] = 0.0
    return values


def _read_stored(
    content: bytes, expected: InstanceHeader
) -> tuple[npt.NDArray[np.int32], headers.ParsedInstance, npt.NDArray[np.bool_]]:
    """Stored values of one slice, its elements, and where its header says that there is no pixel."""
    header, parsed = headers.read_bytes(content, key=expected.key)
    if not header.is_same_image(expected):
        raise PixelDataError("the file is not the one whose header was read")
    stored = pixels.decode(parsed)
    padding = _padding_range(parsed.elements, signed=pixels.layout_of(parsed).signed)
    if padding is None:
        return stored, parsed, np.zeros_like(stored, dtype=np.bool_)
    return stored, parsed, (stored >= padding[0]) & (stored <= padding[1])


def _rescale(elements: Elements) -> tuple[float, float]:
    """Slope and intercept of a CT, which has no Hounsfield units without them."""
    slope, intercept = elements.number("RescaleSlope"), elements.number("RescaleIntercept")
    if slope is None or intercept is None:
        raise PixelDataError("Rescale Slope or Intercept is absent or not a number: no Hounsfield units")
    if not 0 < slope <= MAX_SLOPE or abs(intercept) > 1e6:
        raise PixelDataError(f"Rescale Slope {slope:g}, Intercept {intercept:g}: not a scale of Hounsfield units")
    return slope, intercept


def _padding_range(elements: Elements, *, signed: bool) -> tuple[int, int] | None:
    """Stored values that mean "no pixel here" (PS3.3 C.7.5.1.1.2), both ends included."""
    value = elements.short("PixelPaddingValue", signed=signed)
    if value is None:
        return None
    limit = elements.short("PixelPaddingRangeLimit", signed=signed)
    other = value if limit is None else limit
    return min(value, other), max(value, other)
