"""MR series of every vendor's scale become values that are comparable from slice to slice, where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import ImplicitVRLittleEndian

from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import Volume
from npc_contour.errors import PixelDataError
from npc_testkit.ct_series import CtPlan, write_series
from npc_testkit.mr_series import add_philips_scale, add_real_world_mapping, mr_datasets, stored_values

PLAN = CtPlan(slices=20, rows=30, columns=40, description="t1_tse_tra")


def read(folder: Path, datasets: list[FileDataset]) -> Volume:
    write_series(folder, datasets)
    return read_volume(Series(read_headers(folder).headers))


def test_without_any_scale_values_are_taken_as_stored(tmp_path: Path) -> None:
    volume = read(tmp_path, mr_datasets(PLAN))

    assert volume.modality == "MR"
    np.testing.assert_array_equal(volume.hu, stored_values(PLAN))


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    volume = read(tmp_path, mr_datasets(PLAN, RescaleSlope="2.5", RescaleIntercept="-20"))

    np.testing.assert_array_equal(volume.hu, np.rint(stored_values(PLAN) * np.float32(2.5) - 20).astype(np.int16))


@pytest.mark.parametrize("implicit", [False, True])
def test_slices_that_philips_brightened_one_by_one_are_comparable_again(tmp_path: Path, implicit: bool) -> None:  # noqa: FBT001
    datasets = mr_datasets(PLAN)
    for index, dataset in enumerate(datasets):
        slope = 1.0 + 0.1 * index
        # The scanner's value is stored / scale slope: brighter slices are stored smaller.
        dataset.PixelData = np.rint(stored_values(PLAN)[index] / slope * 8).astype(np.int16).tobytes()
        add_philips_scale(dataset, rescale_slope=slope * 0.7, scale_slope=8.0 / slope)
        if implicit:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    volume = read(tmp_path, datasets)

    assert np.abs(volume.hu.astype(float) - stored_values(PLAN)).max() <= 1


def test_a_real_world_mapping_is_used_where_nothing_else_is_written(tmp_path: Path) -> None:
    datasets = mr_datasets(PLAN)
    for dataset in datasets:
        add_real_world_mapping(dataset, 3.0, 5.0)

    np.testing.assert_array_equal(read(tmp_path, datasets).hu, stored_values(PLAN) * 3 + 5)


def test_a_scale_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PixelDataError, match="not a scale of MR values"):
        read(tmp_path, mr_datasets(PLAN, RescaleSlope="0", RescaleIntercept="0"))


def test_small_values_keep_their_steps(tmp_path: Path) -> None:
    volume = read(tmp_path, mr_datasets(PLAN, RescaleSlope="0.001", RescaleIntercept="0"))

    assert len(np.unique(volume.hu)) > 0.9 * len(np.unique(stored_values(PLAN)))


def test_padding_is_no_signal(tmp_path: Path) -> None:
    datasets = mr_datasets(PLAN, PixelPaddingValue=0)
    for dataset in datasets:
        values = np.frombuffer(dataset.PixelData, np.int16).reshape(30, 40).copy()
        values[:, :3] = 0
        dataset.PixelData = values.tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "700"

    volume = read(tmp_path, datasets)

    assert not volume.hu[:, :, :3].any()


@pytest.mark.parametrize("degrees", [0.0, 17.0, 35.0])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_oblique_stacks_of_every_plane_keep_their_place(tmp_path: Path, plane: str, degrees: float) -> None:
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    orientation = {
        "axial": (1.0, 0.0, 0.0, 0.0, c, s),
        "sagittal": (s, c, 0.0, 0.0, 0.0, -1.0),
        "coronal": (c, s, 0.0, 0.0, 0.0, -1.0),
    }[plane]
    datasets = mr_datasets(CtPlan(slices=8, orientation=orientation))

    volume = read(tmp_path, datasets)

    for index, dataset in enumerate(datasets):
        found = volume.sop_instance_uids.index(str(dataset.SOPInstanceUID))
        expected = np.asarray(dataset.ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(volume.grid.to_patient_mm((found, 0, 0)), expected, atol=1e-3)
        assert index == found


def test_what_the_sequence_is_stands_in_the_header(tmp_path: Path) -> None:
    datasets = mr_datasets(
        PLAN, ScanOptions=["FS", "FAST_GEMS"], InversionTime="220", ContrastBolusStartTime="101530.5"
    )
    write_series(tmp_path, datasets)

    first = read_headers(tmp_path).headers[0]

    assert (first.echo_time_ms, first.repetition_time_ms, first.inversion_time_ms) == (12.0, 600.0, 220.0)
    assert first.scanning_sequence == ("SE",)
    assert first.scan_options == ("FS", "FAST_GEMS")
    assert first.injected_at is not None
    assert first.injected_at.isoformat() == "10:15:30"
