"""Readers of the RTSTRUCT benchmark: each scores every ROI against the mask that was written."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK
from rtstruct import SLICE_MM, SPACING_MM, Mask, Work

from npc_contour.adapters.dicom.read.reader import read_headers
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.core.agreement import border_distances
from npc_contour.core.rasterise import rasterise_roi
from npc_contour.core.stacking import stack
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import Volume
from npc_testkit.peers import require_tool


@dataclass(frozen=True, slots=True)
class Score:
    """What a reader made of one ROI.

    Attributes:
        volume_ratio: of what was read to what was written.
        hd95_mm: 95th percentile of the distances between both borders; infinite where nothing was read.
    """

    dice: float
    volume_ratio: float
    hd95_mm: float


Scores = dict[str, Score]
Reader = Callable[[Work, Path], Scores]

_DCMRTSTRUCT2NII = """
import sys
from dcmrtstruct2nii import dcmrtstruct2nii
rtstruct, ct, out = sys.argv[1:]
dcmrtstruct2nii(rtstruct, ct, out, gzip=False, mask_foreground_value=1, convert_original_dicom=False)
"""


def readers(foreign_python: Path | None) -> dict[str, Reader]:
    """Return every reader that is here, by name."""
    found: dict[str, Reader] = {
        "exact": read_exact,
        "plastimatch": partial(read_plastimatch, options=()),
        "plastimatch xor": partial(read_plastimatch, options=("--xor-contours",)),
        "rt-utils": read_rt_utils,
    }
    if foreign_python is not None:
        found["dcmrtstruct2nii"] = partial(read_dcmrtstruct2nii, python=foreign_python)
    return found


def score(read: Mask, written: Mask) -> Score:
    """Compare two whole-grid masks."""
    both, ours, theirs = (int(np.count_nonzero(mask)) for mask in (read & written, written, read))
    if both == ours == theirs:
        return Score(1.0, 1.0, 0.0)
    if theirs == 0:
        return Score(0.0, 0.0, math.inf)
    spacing = (SLICE_MM, SPACING_MM, SPACING_MM)
    return Score(2 * both / (ours + theirs), theirs / ours, border_distances(read, written, spacing).hd95_mm)


def read_exact(work: Work, rtstruct: Path) -> Scores:
    """Even-odd, at voxel centres: our own rasteriser."""
    ordered = stack(Series(read_headers(work.ct).headers))
    uids = tuple(header.sop_instance_uid for header in ordered.instances)
    volume = Volume(np.broadcast_to(np.int16(0), work.shape_zyx), ordered.grid, uids, ordered.positions_lps_mm)
    results = {}
    for roi in read_rtstruct(rtstruct).rois:
        raster = rasterise_roi(roi.closed_lps_mm, volume)
        whole = np.zeros(work.shape_zyx, dtype=np.bool_)
        z, y, x = raster.offset_zyx
        depth, rows, columns = raster.mask.shape
        whole[z : z + depth, y : y + rows, x : x + columns] = raster.mask
        results[roi.name] = score(whole, work.mask(roi.name))
    return results


def read_plastimatch(work: Work, rtstruct: Path, *, options: tuple[str, ...]) -> Scores:
    """Run plastimatch convert; by default it unites the contours of a slice."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [require_tool("plastimatch"), "convert", "--input", rtstruct, "--referenced-ct", work.ct]
        subprocess.run(
            [*command, "--output-prefix", scratch, "--prefix-format", "mha", *options], check=True, capture_output=True
        )
        return _of_files(work, {name: Path(scratch) / f"{name}.mha" for name in work.names})


def read_dcmrtstruct2nii(work: Work, rtstruct: Path, *, python: Path) -> Scores:
    """Run dcmrtstruct2nii in its own Python: it needs pydicom before 3."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [python, "-W", "ignore", "-c", _DCMRTSTRUCT2NII, rtstruct, work.ct, scratch],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
        )
        return _of_files(work, {name: Path(scratch) / f"mask_{name}.nii" for name in work.names})


def read_rt_utils(work: Work, rtstruct: Path) -> Scores:
    """Read with rt-utils, which rounds vertices to pixels and fills with OpenCV."""
    from rt_utils import RTStructBuilder  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        builder = RTStructBuilder.create_from(dicom_series_path=str(work.ct), rt_struct_path=str(rtstruct))
        return {
            name: score(np.moveaxis(builder.get_roi_mask_by_name(name), 2, 0), work.mask(name)) for name in work.names
        }


def _of_files(work: Work, files: dict[str, Path]) -> Scores:
    results = {}
    for name, file in files.items():
        if not file.is_file():
            results[name] = Score(0.0, 0.0, math.inf)
            continue
        image = SimpleITK.ReadImage(str(file))
        results[name] = score(_on_grid(image, work), work.mask(name))
    return results


def _on_grid(image: SimpleITK.Image, work: Work) -> Mask:
    """The voxels of an image on the axes of the work's grid: head first supine, so only flips can differ."""
    array = SimpleITK.GetArrayFromImage(image) > 0
    direction = np.reshape(image.GetDirection(), (3, 3))
    flips = tuple(axis for axis in range(3) if direction[2 - axis, 2 - axis] < 0)
    if array.shape != work.shape_zyx:
        raise ValueError(f"a reader gave {array.shape} voxels, the series has {work.shape_zyx}")
    flipped: Mask = np.flip(array, flips)
    return flipped
