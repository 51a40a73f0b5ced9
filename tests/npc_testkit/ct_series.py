"""A tiny CT series with closed-form voxels, written by pydicom alone: HU = -1000 + 40 z + 3 y + x.

Slice z lies at `origin + z · spacing · normal`; the instance numbers run against z, as half the scanners do,
so that whoever sorts by them is found out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Vec3 = tuple[float, float, float]
Vec6 = tuple[float, float, float, float, float, float]

ORIENTATIONS: dict[str, Vec6] = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
}
"""Image Orientation (Patient) that a CT writes for each Patient Position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtPlan:
    """What to write; every field has a harmless default.

    Attributes:
        pixel_spacing_mm: (between rows, between columns).
        slope_step: added to Rescale Slope per slice (0 = one slope for all), stored values follow.
        padding: Pixel Padding Value in the first two columns of each slice; None writes none.
    """

    seed: str = "series"
    study_seed: str = "study"
    frame_seed: str = "frame"
    slices: int = 6
    rows: int = 10
    columns: int = 12
    pixel_spacing_mm: tuple[float, float] = (1.5, 0.75)
    slice_spacing_mm: float = 2.5
    origin_lps_mm: Vec3 = (-20.0, -30.0, 100.0)
    patient_position: str = "HFS"
    orientation: Vec6 | None = None
    description: str = "HEAD NECK 2.5 STD"
    contrast_agent: str = ""
    body_part: str = "HEADNECK"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    acquisition_time: str = "101500"
    accession_number: str = ""
    slope_step: float = 0.0
    padding: int | None = None


def expected_hu(plan: CtPlan) -> npt.NDArray[np.int16]:
    """The voxels as a reader must return them: (z, y, x) int16 HU, z ascending along the normal."""
    z, y, x = np.indices((plan.slices, plan.rows, plan.columns))
    hu: npt.NDArray[np.int16] = (-1000 + 40 * z + 3 * y + x).astype(np.int16)
    if plan.padding is not None:
        hu[:, :, :2] = -1024
    return hu


def ct_datasets(plan: CtPlan) -> list[FileDataset]:
    """The series, one dataset per slice, ascending along the normal."""
    return [_slice(plan, index) for index in range(plan.slices)]


def as_bytes(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file in memory."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_series(folder: Path, datasets: Sequence[Dataset], *, shuffle_seed: int = 7) -> list[Path]:
    """Write datasets as files whose names say nothing of their order; returns the paths, shuffled."""
    folder.mkdir(parents=True, exist_ok=True)
    order = list(range(len(datasets)))
    random.Random(shuffle_seed).shuffle(order)
    paths = []
    for number, index in enumerate(order):
        path = folder / f"IM{number:04d}"
        datasets[index].save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(plan: CtPlan, index: int) -> FileDataset:
    uid = generate_uid(entropy_srcs=[plan.seed, "instance", str(index)])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["npc-testkit"])
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = list(plan.image_type)
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = uid
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[plan.study_seed, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[plan.seed, "series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[plan.frame_seed, "frame"])
    ds.StudyDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = "100000"
    ds.AcquisitionTime = ds.ContentTime = plan.acquisition_time
    ds.AccessionNumber = plan.accession_number
    ds.StudyID = ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ""
    ds.Modality, ds.Manufacturer = "CT", "NPC-TESTKIT"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Testkit^Nobody", "TK0001", "", "O"
    ds.SeriesDescription, ds.BodyPartExamined = plan.description, plan.body_part
    if plan.contrast_agent:
        ds.ContrastBolusAgent = plan.contrast_agent
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 2, 1, plan.slices - index
    ds.PatientPosition, ds.Laterality = plan.patient_position, ""
    _add_plane(ds, plan, index)
    _add_pixels(ds, plan, index)
    return ds


def _add_plane(ds: Dataset, plan: CtPlan, index: int) -> None:
    orientation = plan.orientation or ORIENTATIONS[plan.patient_position]
    normal = np.cross(orientation[:3], orientation[3:])
    position = np.asarray(plan.origin_lps_mm) + index * plan.slice_spacing_mm * normal
    ds.ImageOrientationPatient = [round(float(value), 8) for value in orientation]
    ds.ImagePositionPatient = [round(float(value), 4) for value in position]
    ds.PixelSpacing = list(plan.pixel_spacing_mm)
    ds.SliceThickness, ds.KVP = plan.slice_spacing_mm, 120


def _add_pixels(ds: Dataset, plan: CtPlan, index: int) -> None:
    bare = CtPlan(slices=plan.slices, rows=plan.rows, columns=plan.columns)
    hu = expected_hu(bare)[index].astype(float)
    slope, intercept = 1.0 + plan.slope_step * index, -1024.0
    stored = np.round((hu - intercept) / slope).astype(np.int16)
    if plan.padding is not None:
        stored[:, :2] = plan.padding
        ds.PixelPaddingValue = plan.padding
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = plan.rows, plan.columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = intercept, slope, "HU"
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
