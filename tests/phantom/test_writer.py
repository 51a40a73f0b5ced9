"""The synthetic patient is a valid CT study that reads back as it was rendered."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread, dcmwrite

from npc_phantom import Phantom, PhantomOptions, draw, render
from npc_phantom.writer import WrittenPatient, series_datasets, write_patient
from npc_testkit.peers import run_tool


def small(seed: int, *, metal: bool, position: str = "HFS") -> Phantom:
    patient = draw(seed, PhantomOptions(matrix=64, slice_spacing_mm=8.0, metal=metal, patient_position=position))
    return render(patient, patient.grid())


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return small(1, metal=True)


@pytest.fixture(scope="module")
def written(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> WrittenPatient:
    return write_patient(phantom, tmp_path_factory.mktemp("phantom"))


def test_dciodvfy_finds_no_error(written: WrittenPatient) -> None:
    for folder in (written.noncontrast, written.contrast):
        for path in (folder / "CT0001.dcm", folder / "CT0025.dcm"):
            done = run_tool("dciodvfy", path)

            assert [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_voxels_and_places_read_back(position: str) -> None:
    phantom = small(2, metal=True, position=position)
    count = phantom.grid.shape_zyx[0]

    for number, dataset in enumerate(series_datasets(phantom, contrast=True), start=1):
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        buffer.seek(0)
        image = dcmread(buffer)
        index = count - number
        hu = image.pixel_array.astype(int) * int(image.RescaleSlope) + int(image.RescaleIntercept)

        assert image.PatientPosition == position
        assert np.array_equal(hu, phantom.contrast_hu[index])
        assert np.allclose(image.ImagePositionPatient, phantom.grid.to_patient_mm((index, 0, 0)), atol=1e-6)
        assert np.allclose(image.ImageOrientationPatient[:3], phantom.grid.direction_lps[2])


def test_only_series_with_metal_take_sixteen_bits(phantom: Phantom) -> None:
    bits = [next(series_datasets(p, contrast=False)).BitsStored for p in (phantom, small(1, metal=False))]

    assert phantom.noncontrast_hu.max() > 3071
    assert bits == [16, 12]


def test_a_pair_is_one_study_in_one_frame_and_one_phase_names_its_agent(phantom: Phantom) -> None:
    plain, bright = (next(series_datasets(phantom, contrast=contrast)) for contrast in (False, True))

    assert plain.StudyInstanceUID == bright.StudyInstanceUID
    assert plain.FrameOfReferenceUID == bright.FrameOfReferenceUID == phantom.grid.frame_of_reference_uid
    assert plain.SeriesInstanceUID != bright.SeriesInstanceUID
    assert "ContrastBolusAgent" not in plain
    assert bright.ContrastBolusAgent
    assert plain.AcquisitionTime < bright.AcquisitionTime
    assert str(plain.PatientName) == "PHANTOM^NPC1"
    assert plain.PatientID == "PHANTOM-1"


def test_uids_follow_the_voxels(phantom: Phantom) -> None:
    def uids(of: Phantom, index: int = 0) -> set[str]:
        return {str(ds.SOPInstanceUID) for ds in series_datasets(of, contrast=False, patient_index=index)}

    assert uids(phantom) == uids(small(1, metal=True))
    assert not uids(phantom) & uids(small(1, metal=False))
    assert not uids(phantom) & uids(phantom, index=1)
    assert len(uids(phantom)) == phantom.grid.shape_zyx[0]


def test_ground_truth_lies_on_the_grid(phantom: Phantom, written: WrittenPatient) -> None:
    for path, labels in ((written.oar, phantom.oar_labels), (written.gtv, phantom.gtv_labels)):
        image = SimpleITK.ReadImage(str(path))

        assert np.array_equal(SimpleITK.GetArrayFromImage(image), labels)
        assert np.allclose(image.GetSpacing(), phantom.grid.spacing_zyx_mm[::-1])
        assert np.allclose(
            image.TransformContinuousIndexToPhysicalPoint((5.0, 6.0, 7.0)), phantom.grid.to_patient_mm((7, 6, 5))
        )


def test_progress_runs_to_one(phantom: Phantom, tmp_path: Path) -> None:
    seen: list[float] = []

    write_patient(phantom, tmp_path / "new" / "folder", progress=seen.append)

    assert seen[-1] == pytest.approx(1.0)
    assert seen == sorted(seen)
