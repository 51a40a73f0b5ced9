"""Readers of the RTSTRUCT benchmark: each gives Dice by ROI against the masks that were written."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK
from rtstruct import Mask, Work

from npc_contour.adapters.dicom.reader import read_headers
from npc_contour.adapters.dicom.rtstruct_reader import read_rtstruct
from npc_contour.core.rasterise import rasterise_roi
from npc_contour.core.stacking import stack
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import Volume
from npc_testkit.peers import require_tool

Reader = Callable[[Work, Path], dict[str, float]]

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


def dice(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic]) -> float:
    """Dice of two masks."""
    both, total = np.count_nonzero(first & second), np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * int(both) / int(total) if total else 1.0


def read_exact(work: Work, rtstruct: Path) -> dict[str, float]:
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
        results[roi.name] = dice(whole, work.mask(roi.name))
    return results


def read_plastimatch(work: Work, rtstruct: Path, *, options: tuple[str, ...]) -> dict[str, float]:
    """Run plastimatch convert; by default it unites the contours of a slice."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [require_tool("plastimatch"), "convert", "--input", rtstruct, "--referenced-ct", work.ct]
        subprocess.run(
            [*command, "--output-prefix", scratch, "--prefix-format", "mha", *options], check=True, capture_output=True
        )
        return _of_files(work, {name: Path(scratch) / f"{name}.mha" for name in work.names})


def read_dcmrtstruct2nii(work: Work, rtstruct: Path, *, python: Path) -> dict[str, float]:
    """Run dcmrtstruct2nii in its own Python: it needs pydicom before 3."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [python, "-W", "ignore", "-c", _DCMRTSTRUCT2NII, rtstruct, work.ct, scratch],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
        )
        return _of_files(work, {name: Path(scratch) / f"mask_{name}.nii" for name in work.names})


def read_rt_utils(work: Work, rtstruct: Path) -> dict[str, float]:
    """Read with rt-utils, which rounds vertices to pixels and fills with OpenCV."""
    from rt_utils import RTStructBuilder  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        builder = RTStructBuilder.create_from(dicom_series_path=str(work.ct), rt_struct_path=str(rtstruct))
        return {
            name: dice(np.moveaxis(builder.get_roi_mask_by_name(name), 2, 0), work.mask(name)) for name in work.names
        }


def _of_files(work: Work, files: dict[str, Path]) -> dict[str, float]:
    results = {}
    for name, file in files.items():
        if not file.is_file():
            results[name] = 0.0
            continue
        image = SimpleITK.ReadImage(str(file))
        results[name] = dice(_on_grid(image, work), work.mask(name))
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
