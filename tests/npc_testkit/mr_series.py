"""A tiny MR series with closed-form stored values 10 + 40 z + 3 y + x, in the scale of one vendor or another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import MRImageStorage

from npc_testkit.ct_series import CtPlan, ct_datasets


def stored_values(plan: CtPlan) -> npt.NDArray[np.int16]:
    """(z, y, x) as the scanner stores them."""
    z, y, x = np.indices((plan.slices, plan.rows, plan.columns))
    values: npt.NDArray[np.int16] = (10 + 40 * z + 3 * y + x).astype(np.int16)
    return values


def mr_datasets(plan: CtPlan, **attributes: object) -> list[FileDataset]:
    """The series without any scale, one dataset per slice, ascending along the normal; attributes replace elements."""
    datasets = ct_datasets(plan)
    for dataset, values in zip(datasets, stored_values(plan), strict=True):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
        dataset.Modality = "MR"
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = ["SE"], ["SK"], []
        dataset.MRAcquisitionType, dataset.EchoTrainLength = "2D", 9
        dataset.EchoTime, dataset.RepetitionTime = "12.0", "600.0"
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType, dataset.KVP
        dataset.PixelData = values.tobytes()
        for name, value in attributes.items():
            setattr(dataset, name, value)
    return datasets


def add_philips_scale(dataset: Dataset, rescale_slope: float, scale_slope: float) -> None:
    """What Philips writes: a display slope of its own for each slice, and the scanner's scale in private elements."""
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = f"{rescale_slope:.6g}", "0", "normalized"
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0D, "FL", 0.0)
    block.add_new(0x0E, "FL", scale_slope)


def add_real_world_mapping(dataset: Dataset, slope: float, intercept: float) -> None:
    """A linear Real World Value Mapping (PS3.3 C.7.6.16.2.11)."""
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    dataset.RealWorldValueMappingSequence = Sequence([item])
