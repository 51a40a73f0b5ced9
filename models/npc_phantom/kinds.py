"""The other synthetic patients as files: a chest CT with contrast agent, and three MR sequences of the nasopharynx."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from npc_contour.domain.geometry import Grid
from npc_phantom.chest_patient import ChestPhantom
from npc_phantom.mr import SEQUENCES, MrPhantom
from npc_phantom.writer import STUDY_DATE, decimal, identity_uid, label_image

Progress = Callable[[float], None]
RESCALE_INTERCEPT_HU = -1024
TIMES = {"t1": ("TSE", 600.0, 11.0), "t2": ("TSE", 4200.0, 95.0), "t1c": ("TSE", 620.0, 11.0)}
"""Name of the sequence, repetition and echo time in ms."""


@dataclass(frozen=True, slots=True)
class WrittenSeries:
    """Where a synthetic patient of one kind lies on disk.

    Attributes:
        series: folder of each series, by role.
        truth: label map on the grid of all of them, NIfTI.
    """

    series: dict[str, Path]
    truth: Path
    study_instance_uid: str


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """One series to be written: voxels as shown, and how its header differs."""

    role: str
    number: int
    voxels: npt.NDArray[np.int16]
    own: dict[str, object]


def write_chest(phantom: ChestPhantom, out_dir: Path, *, progress: Progress | None = None) -> WrittenSeries:
    """Write a chest: the folder `contrast` and `nodes.nii.gz`, each node with its own label."""
    own: dict[str, object] = {
        "Modality": "CT",
        "SOPClassUID": CTImageStorage,
        "SeriesDescription": "CHEST CONTRAST",
        "BodyPartExamined": "CHEST",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "KVP": "120",
        "ConvolutionKernel": "SYNTHETIC",
        "RescaleIntercept": str(RESCALE_INTERCEPT_HU),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "ContrastBolusAgent": "IOHEXOL",
        "ContrastBolusRoute": "IV",
        "AcquisitionNumber": 1,
    }
    series = [_Series("contrast", 2, phantom.contrast_hu, own)]
    return _write(series, phantom.grid, f"CHEST-{phantom.seed}", ("nodes", phantom.node_labels), out_dir, progress)


def write_mr(phantom: MrPhantom, out_dir: Path, *, progress: Progress | None = None) -> WrittenSeries:
    """Write an examination: the folders `t1`, `t2` and `t1c`, and `gtv.nii.gz`."""
    series = [
        _Series(name, number, phantom.images[name], _mr_header(name, phantom))
        for number, name in enumerate(SEQUENCES, start=2)
    ]
    return _write(series, phantom.grid, f"MR-{phantom.seed}", ("gtv", phantom.gtv_labels), out_dir, progress)


def _mr_header(name: str, phantom: MrPhantom) -> dict[str, object]:
    spoken = "".join(
        (" fs" if phantom.scan.fat_saturated[SEQUENCES.index(name)] else "", " C+" if name == "t1c" else "")
    )
    saturated = phantom.scan.fat_saturated[SEQUENCES.index(name)]
    sequence, repetition_ms, echo_ms = TIMES[name]
    weighting = "T2" if name == "t2" else "T1"
    own: dict[str, object] = {
        "Modality": "MR",
        "SOPClassUID": MRImageStorage,
        "SeriesDescription": f"{weighting} {sequence.lower()} tra{spoken}",
        "BodyPartExamined": "HEADNECK",
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "ScanOptions": "FS" if saturated else "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": decimal(repetition_ms),
        "EchoTime": decimal(echo_ms),
        "EchoTrainLength": 15 if name == "t2" else 3,
        "MagneticFieldStrength": "3",
        "AcquisitionNumber": SEQUENCES.index(name) + 1,
    }
    if name == "t1c":
        own |= {"ContrastBolusAgent": "GADOBUTROL", "ContrastBolusRoute": "IV"}
    return own


def _write(
    series: list[_Series],
    grid: Grid,
    name: str,
    truth: tuple[str, npt.NDArray[np.uint8]],
    out_dir: Path,
    progress: Progress | None,
) -> WrittenSeries:
    out_dir.mkdir(parents=True, exist_ok=True)
    identity = _identity(series, grid, name)
    slices = grid.shape_zyx[0]
    done = 0
    for one in series:
        folder = out_dir / one.role
        folder.mkdir(exist_ok=True)
        for dataset in _datasets(one, grid, identity, name):
            prefix = str(dataset.Modality)
            dcmwrite(folder / f"{prefix}{dataset.InstanceNumber:04d}.dcm", dataset, enforce_file_format=True)
            done += 1
            if progress is not None:
                progress(done / (slices * len(series)))
    path = out_dir / f"{truth[0]}.nii.gz"
    SimpleITK.WriteImage(label_image(truth[1], grid), str(path), useCompression=True, compressionLevel=1)
    return WrittenSeries({one.role: out_dir / one.role for one in series}, path, identity_uid(identity, "study"))


def _datasets(series: _Series, grid: Grid, identity: str, name: str) -> Iterator[FileDataset]:
    template = _template(series, grid, identity, name)
    count = grid.shape_zyx[0]
    positions = grid.to_patient_mm(np.stack([np.arange(count), np.zeros(count), np.zeros(count)], axis=1))
    offset = RESCALE_INTERCEPT_HU if template.Modality == "CT" else 0
    for number, index in enumerate(range(count - 1, -1, -1), start=1):
        dataset = copy(template)
        dataset.SOPInstanceUID = sop_uid = UID(identity_uid(identity, f"instance {series.role} {index}"))
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = [decimal(value) for value in positions[index]]
        dataset.PixelData = (series.voxels[index].astype(np.int32) - offset).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = sop_uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield FileDataset("", dataset, preamble=b"\0" * 128, file_meta=meta)


def _template(series: _Series, grid: Grid, identity: str, name: str) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName = f"PHANTOM^{name}"
    ds.PatientID = f"PHANTOM-{name}"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.PatientIdentityRemoved = "NO"
    ds.QualityControlSubject = "YES"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = identity_uid(identity, "study")
    ds.StudyID = name[:16]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = STUDY_DATE
    ds.StudyTime = "101000"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"1015{series.number:02d}"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ""
    ds.StudyDescription = "SYNTHETIC PATIENT"
    ds.SeriesInstanceUID = identity_uid(identity, f"series {series.role}")
    ds.SeriesNumber = series.number
    ds.FrameOfReferenceUID = grid.frame_of_reference_uid
    ds.Manufacturer = "npc-contour"
    ds.ManufacturerModelName = "synthetic patient"
    ds.StationName = "PHANTOM"
    ds.BurnedInAnnotation = "NO"
    ds.ImageOrientationPatient = [decimal(v) for v in (*grid.direction_lps[2], *grid.direction_lps[1])]
    ds.SliceThickness = ds.SpacingBetweenSlices = decimal(grid.spacing_zyx_mm[0])
    ds.PixelSpacing = [decimal(grid.spacing_zyx_mm[1]), decimal(grid.spacing_zyx_mm[2])]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = grid.shape_zyx[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in series.own.items():
        setattr(ds, keyword, value)
    return ds


def _identity(series: list[_Series], grid: Grid, name: str) -> str:
    """Return words that are the same for the same voxels on the same grid."""
    digest = blake2b(digest_size=16)
    for one in series:
        digest.update(np.ascontiguousarray(one.voxels).data)
    digest.update(repr((grid.spacing_zyx_mm, grid.origin_lps_mm, grid.direction_lps)).encode())
    return f"{name} {digest.hexdigest()}"
