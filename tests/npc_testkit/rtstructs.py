"""Masks on a small CT series, their RTSTRUCT, and what foreign readers make of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from npc_contour.adapters.dicom.read.planning_header import PlanningHeader, read_planning_header
from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.adapters.dicom.rtstruct.writer import encode_rtstruct
from npc_contour.core.contouring import DEFAULT_OPTIONS, ContourOptions, contour_rois
from npc_contour.core.labels import RoiMask, mask_of_array
from npc_contour.core.rasterise import RasterisedRoi
from npc_contour.domain.geometry import Grid
from npc_contour.domain.series import Series
from npc_contour.domain.structures import InterpretedType, NetworkProvenance, RoiSpec, StructureSet
from npc_contour.domain.volumes import Volume
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.peers import require_foreign_python, run_tool

MADE_AT = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 (DICOM DA and TM carry no zone)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Planning:
    """A CT series on disk and as the service reads it."""

    folder: Path
    volume: Volume
    header: PlanningHeader


def planning_series(folder: Path, plan: CtPlan, *, overrides: Mapping[str, object] | None = None) -> Planning:
    """Write a CT series and read it; `overrides` sets attributes of every image by keyword."""
    datasets = ct_datasets(plan)
    for dataset in datasets:
        for keyword, value in (overrides or {}).items():
            setattr(dataset, keyword, value)
    return planning_of(folder, datasets)


def planning_of(folder: Path, datasets: Sequence[Dataset]) -> Planning:
    """Write datasets as one series and read it."""
    paths = write_series(folder, datasets)
    volume = read_volume(Series(read_headers(folder).headers))
    return Planning(folder, volume, read_planning_header(paths[0]))


def spec(name: str, kind: InterpretedType = InterpretedType.ORGAN, *, network: str = "net") -> RoiSpec:
    return RoiSpec(name, kind, network, frozenset({1}), (200, 80, 40))


def crops(masks: Mapping[str, Mask]) -> tuple[RoiMask, ...]:
    """Whole-grid masks by ROI name as cropped masks."""
    return tuple(mask_of_array(spec(name), mask) for name, mask in masks.items())


def structure_set(
    masks: tuple[RoiMask, ...], volume: Volume, *, options: ContourOptions = DEFAULT_OPTIONS, demo: bool = False
) -> StructureSet:
    return StructureSet(
        label="Test set",
        description="Made by a test.",
        uid_seed="case-1/generation-0",
        rois=contour_rois(masks, volume, options),
        networks={"net": NetworkProvenance("net", "1.2.3", "0123456789abcdef" * 4, demo)},
    )


def encoded(planning: Planning, masks: Mapping[str, Mask], *, options: ContourOptions = DEFAULT_OPTIONS) -> bytes:
    """The RTSTRUCT of whole-grid masks."""
    content = structure_set(crops(masks), planning.volume, options=options)
    return encode_rtstruct(content, planning.volume, planning.header, made_at=MADE_AT)


def on_grid(raster: RasterisedRoi, grid: Grid) -> Mask:
    """A rasterised ROI on the whole grid."""
    full = np.zeros(grid.shape_zyx, dtype=np.bool_)
    box = tuple(slice(low, low + size) for low, size in zip(raster.offset_zyx, raster.mask.shape, strict=True))
    full[box] = raster.mask
    return full


def plastimatch_masks(rtstruct: Path, planning: Planning, out: Path, names: Iterable[str]) -> Iterator[Mask]:
    """What plastimatch reads, on the axes of the planning grid, one mask a name."""
    done = run_tool(
        "plastimatch", "convert", "--input", rtstruct, "--referenced-ct", planning.folder,
        "--output-prefix", out, "--prefix-format", "mha", timeout_s=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in names:
        image = SimpleITK.ReadImage(str(out / f"{name}.mha"))
        array = SimpleITK.GetArrayViewFromImage(image)
        corner = planning.volume.grid.to_index_zyx(image.GetOrigin())
        yield np.flip(array, tuple(axis for axis in range(3) if corner[axis] > 0.5)) > 0


_DCMRTSTRUCT2NII = """
import sys
from dcmrtstruct2nii import dcmrtstruct2nii
rtstruct, ct, out = sys.argv[1:]
dcmrtstruct2nii(rtstruct, ct, out, gzip=False, mask_foreground_value=1, convert_original_dicom=False)
"""


def dcmrtstruct2nii_masks(rtstruct: Path, planning: Planning, out: Path, names: Iterable[str]) -> Iterator[Mask]:
    """What dcmrtstruct2nii reads, on the axes of the planning grid, one mask a name."""
    arguments = [str(path) for path in (rtstruct, planning.folder, out)]
    command = [str(require_foreign_python()), "-W", "ignore", "-c", _DCMRTSTRUCT2NII, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name in names:
        image = SimpleITK.ReadImage(str(out / f"mask_{name}.nii"))
        array = SimpleITK.GetArrayViewFromImage(image)
        corner = planning.volume.grid.to_index_zyx(image.GetOrigin())
        yield np.flip(array, tuple(axis for axis in range(3) if corner[axis] > 0.5)) > 0


def plain_series(folder: Path, plan: CtPlan) -> Planning:
    """Write a series whose pixels are all 0 HU: quick for large ones."""
    datasets = ct_datasets(replace(plan, rows=2, columns=2))
    for dataset in datasets:
        dataset.Rows, dataset.Columns = plan.rows, plan.columns
        dataset.PixelData = np.full(plan.rows * plan.columns, 1024, dtype=np.int16).tobytes()
    return planning_of(folder, datasets)


def dice(first: Mask, second: Mask) -> float:
    """2 |A and B| / (|A| + |B|); 1 for two empty masks."""
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else 1.0


def segmentation_of(planning: Planning, masks: Mapping[str, Mask], kind: str, path: Path) -> Path:
    """Write masks as a DICOM SEG of the images, "BINARY" or, where none overlap, "LABELMAP", without empty slices."""
    images = {
        str(image.SOPInstanceUID): image
        for image in map(dcmread, sorted(path for path in planning.folder.rglob("*") if path.is_file()))
    }
    described = [
        SegmentDescription(number, name, codes.cid7150.Tissue, codes.cid7166.Tissue, "MANUAL")
        for number, name in enumerate(masks, start=1)
    ]
    if kind == "LABELMAP":
        numbered = [number * mask for number, mask in enumerate(masks.values(), start=1)]
        pixels = np.asarray(np.sum(numbered, axis=0, dtype=np.uint8))
    else:
        pixels = np.stack(list(masks.values()), axis=-1).astype(np.uint8)
    made = Segmentation(
        source_images=[images[uid] for uid in planning.volume.sop_instance_uids],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid="1.2.3.8",
        series_number=8,
        sop_instance_uid="1.2.3.8.1",
        instance_number=1,
        manufacturer="phantom",
        manufacturer_model_name="phantom",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(path)
    return path
