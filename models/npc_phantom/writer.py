"""The synthetic patient as files: two CT series of one study, and the ground truth as label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from npc_contour.domain.geometry import Grid
from npc_phantom import Phantom

RESCALE_INTERCEPT_HU = -1024
TWELVE_BIT_MAX_HU = 4095 + RESCALE_INTERCEPT_HU
STUDY_DATE = "20240115"
PHASES = {False: "noncontrast", True: "contrast"}
"""Folder of each series."""

_DESCRIPTIONS = {False: "HEAD NECK NON CONTRAST", True: "HEAD NECK CONTRAST"}
_TIMES = {False: "101500", True: "101940"}
_POSITIONS = {(1.0, 1.0): "HFS", (-1.0, -1.0): "HFP", (-1.0, 1.0): "FFS", (1.0, -1.0): "FFP"}


@dataclass(frozen=True, slots=True)
class WrittenPatient:
    """Where a synthetic patient lies on disk.

    Attributes:
        noncontrast: folder of the first series, one file a slice.
        contrast: folder of the second series.
        oar: label map of the organs, NIfTI, on the grid of both series.
        gtv: label map of the tumour and its nodes.
        ln_ctv: label map of the nodal levels.
        han: label map of the fifty structures of HaN5K's list.
        study_instance_uid: of both series.
        series_instance_uids: non-contrast, contrast.
    """

    noncontrast: Path
    contrast: Path
    oar: Path
    gtv: Path
    ln_ctv: Path
    han: Path
    study_instance_uid: str
    series_instance_uids: tuple[str, str]


def write_patient(
    phantom: Phantom,
    out_dir: Path,
    *,
    patient_index: int = 0,
    progress: Callable[[float], None] | None = None,
) -> WrittenPatient:
    """Write two CT series and four label maps.

    Args:
        phantom: what to write.
        out_dir: made where it is missing; gets the folders `noncontrast` and `contrast` and the files
            `oar.nii.gz`, `gtv.nii.gz`, `ln_ctv.nii.gz`, `han.nii.gz`.
        patient_index: tells copies of one phantom apart: another index is another patient, with other UIDs.
        progress: told the fraction done, 0 to 1.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    slices = phantom.grid.shape_zyx[0]
    steps, done = 2 * slices + 4, 0
    series_uids = []
    for contrast, folder in PHASES.items():
        (out_dir / folder).mkdir(exist_ok=True)
        series_uid = ""
        for dataset in series_datasets(phantom, contrast=contrast, patient_index=patient_index):
            dcmwrite(out_dir / folder / f"CT{dataset.InstanceNumber:04d}.dcm", dataset, enforce_file_format=True)
            series_uid = str(dataset.SeriesInstanceUID)
            done += 1
            if progress is not None:
                progress(done / steps)
        series_uids.append(series_uid)
    truth = {
        "oar": phantom.oar_labels,
        "gtv": phantom.gtv_labels,
        "ln_ctv": phantom.ln_labels,
        "han": phantom.han_labels,
    }
    paths = {name: out_dir / f"{name}.nii.gz" for name in truth}
    for name, labels in truth.items():
        SimpleITK.WriteImage(
            label_image(labels, phantom.grid), str(paths[name]), useCompression=True, compressionLevel=1
        )
        done += 1
        if progress is not None:
            progress(done / steps)
    return WrittenPatient(
        noncontrast=out_dir / PHASES[False],
        contrast=out_dir / PHASES[True],
        oar=paths["oar"],
        gtv=paths["gtv"],
        ln_ctv=paths["ln_ctv"],
        han=paths["han"],
        study_instance_uid=identity_uid(_identity(phantom, patient_index), "study"),
        series_instance_uids=(series_uids[0], series_uids[1]),
    )


def series_datasets(phantom: Phantom, *, contrast: bool, patient_index: int = 0) -> Iterator[FileDataset]:
    """Yield one series, a dataset per slice, against the slice normal: instance 1 is the last slice of the array.

    The same voxels on the same grid have the same UIDs; other voxels have others.

    Args:
        phantom: what to write.
        contrast: which phase.
        patient_index: as in `write_patient`.

    Raises:
        ValueError: the grid is not axial in one of the positions HFS, HFP, FFS, FFP.
    """
    hu = phantom.contrast_hu if contrast else phantom.noncontrast_hu
    identity = _identity(phantom, patient_index)
    wide = int(hu.max()) > TWELVE_BIT_MAX_HU
    template = _template(phantom, contrast, identity, patient_index, wide)
    count = phantom.grid.shape_zyx[0]
    positions = phantom.grid.to_patient_mm(np.stack([np.arange(count), np.zeros(count), np.zeros(count)], axis=1))
    for number, index in enumerate(range(count - 1, -1, -1), start=1):
        dataset = copy(template)
        sop_uid = UID(identity_uid(identity, f"instance {contrast} {index}"))
        dataset.SOPInstanceUID = sop_uid
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = [decimal(v) for v in positions[index]]
        dataset.SliceLocation = decimal(positions[index][2])
        stored = (hu[index].astype(np.int32) - RESCALE_INTERCEPT_HU).astype("<u2")
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = sop_uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield FileDataset("", dataset, preamble=b"\0" * 128, file_meta=meta)


def _template(phantom: Phantom, contrast: bool, identity: str, patient_index: int, wide: bool) -> Dataset:  # noqa: FBT001
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    copy_mark = f"-{patient_index}" if patient_index else ""
    ds.PatientName = f"PHANTOM^NPC{phantom.seed}{copy_mark}"
    ds.PatientID = f"PHANTOM-{phantom.seed}{copy_mark}"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.PatientIdentityRemoved = "NO"
    ds.QualityControlSubject = "YES"
    ds.StudyInstanceUID = identity_uid(identity, "study")
    ds.StudyID = str(phantom.seed)[:16]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = STUDY_DATE
    ds.StudyTime = "101000"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = _TIMES[contrast]
    ds.AccessionNumber = ""
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "SYNTHETIC NPC PLANNING CT"
    ds.SeriesInstanceUID = identity_uid(identity, f"series {contrast}")
    ds.SeriesNumber = 3 if contrast else 2
    ds.SeriesDescription = _DESCRIPTIONS[contrast]
    ds.BodyPartExamined = "HEADNECK"
    ds.FrameOfReferenceUID = phantom.grid.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = "npc-contour"
    ds.ManufacturerModelName = "synthetic patient"
    ds.StationName = "PHANTOM"
    ds.ProtocolName = "HEAD NECK RT"
    ds.KVP = "120"
    ds.AcquisitionNumber = 2 if contrast else 1
    if contrast:
        ds.ContrastBolusAgent = "IOHEXOL"
        ds.ContrastBolusRoute = "IV"
    ds.BurnedInAnnotation = "NO"
    _describe_pixels(ds, phantom.grid, wide=wide)
    return ds


def _describe_pixels(ds: Dataset, grid: Grid, *, wide: bool) -> None:
    row, column = grid.direction_lps[2], grid.direction_lps[1]
    position = _POSITIONS.get((round(row[0], 3), round(column[1], 3)))
    if position is None or not np.allclose(np.cross(row, column), grid.direction_lps[0], atol=1e-3):
        raise ValueError(f"directions {grid.direction_lps} are none of HFS, HFP, FFS, FFP")
    ds.PatientPosition = position
    ds.ImageOrientationPatient = [decimal(v) for v in (*row, *column)]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SliceThickness = ds.SpacingBetweenSlices = decimal(grid.spacing_zyx_mm[0])
    ds.PixelSpacing = [decimal(grid.spacing_zyx_mm[1]), decimal(grid.spacing_zyx_mm[2])]
    ds.ReconstructionDiameter = decimal(grid.spacing_zyx_mm[2] * grid.shape_zyx[2])
    ds.ConvolutionKernel = "SYNTHETIC"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = grid.shape_zyx[1], grid.shape_zyx[2]
    ds.BitsAllocated = 16
    # Metal lies beyond 12 bits: the whole series then takes 16, so that no slice saturates.
    ds.BitsStored = 16 if wide else 12
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = str(RESCALE_INTERCEPT_HU)
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"


def label_image(labels: npt.NDArray[np.uint8], grid: Grid) -> SimpleITK.Image:
    """Return a label map as an image that knows where it lies."""
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing([float(v) for v in grid.spacing_zyx_mm[::-1]])
    image.SetOrigin([float(v) for v in grid.origin_lps_mm])
    columns = np.asarray(grid.direction_lps)[::-1].T
    image.SetDirection([float(v) for v in columns.ravel()])
    return image


def _identity(phantom: Phantom, patient_index: int) -> str:
    """Return words that are the same for the same voxels on the same grid."""
    digest = blake2b(digest_size=16)
    for hu in (phantom.noncontrast_hu, phantom.contrast_hu):
        digest.update(np.ascontiguousarray(hu).data)
    grid = phantom.grid
    digest.update(repr((grid.spacing_zyx_mm, grid.origin_lps_mm, grid.direction_lps)).encode())
    return f"{phantom.seed} {patient_index} {digest.hexdigest()}"


def identity_uid(identity: str, what: str) -> str:
    """Return a UID under 2.25 (PS3.5 B.2)."""
    number = int.from_bytes(sha256(f"npc-contour phantom {identity} {what}".encode()).digest()[:16], "big")
    return f"2.25.{number}"


def decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters (PS3.5 6.2)."""
    return f"{float(value):.10g}"[:16]
