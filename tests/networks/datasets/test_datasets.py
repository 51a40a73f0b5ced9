"""Every public layout becomes a data set that nnU-Net reads: its names, its grid, its labels, and who was drawn how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from npc_networks.cli import main
from npc_networks.datasets.recipe import RECIPES_DIR, RecipeRefused, read_recipe, shipped
from npc_testkit.ct_series import CtPlan, write_series
from npc_testkit.mr_series import mr_datasets, stored_values
from npc_testkit.public_data import (
    BALLS,
    MR_PLAN,
    WRITERS,
    balls,
    image,
    write,
    write_han5k,
    write_lnctvseg,
    write_lnq,
    write_npc_mri,
    write_radcure_dicom,
    write_segrap,
)


def convert(recipe: str, source: Path, raw: Path, *options: str) -> tuple[int, Path]:
    status = main(["dataset", recipe, str(source), str(raw), *options])
    return status, raw / read_recipe(recipe).folder


def voxels(path: Path) -> npt.NDArray[np.generic]:
    found: npt.NDArray[np.generic] = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    return found


def notes(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "npc.json").read_text())
    return found


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_writes_what_nnunet_asks_for(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / "source")

    status, folder = convert(name, tmp_path / "source", tmp_path / "raw")

    assert status == 0
    described = json.loads((folder / "dataset.json").read_text())
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").iterdir())
    assert described["numTraining"] == len(cases) >= 3
    assert list(described["labels"].values()) == list(range(len(described["labels"])))
    channels = range(len(described["channel_names"]))
    images = {f"{case}_{channel:04d}.nii.gz" for case in cases for channel in channels}
    assert {path.name for path in (folder / "imagesTr").iterdir()} == images
    for case in cases:
        labels = SimpleITK.ReadImage(folder / "labelsTr" / f"{case}.nii.gz")
        for channel in channels:
            shown = SimpleITK.ReadImage(folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
            assert shown.GetSize() == labels.GetSize()
            np.testing.assert_allclose(shown.GetOrigin(), labels.GetOrigin())
        assert set(np.unique(SimpleITK.GetArrayViewFromImage(labels))) <= set(described["labels"].values())
    assert sorted(notes(folder)["patients"]) == cases


def test_segrap_keeps_both_series_and_the_labels_of_its_task(tmp_path: Path) -> None:
    write_segrap(tmp_path / "source", [7])

    _, organs = convert("segrap2023_oar", tmp_path / "source", tmp_path / "raw")
    _, targets = convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")

    hu, labels = balls(7)
    np.testing.assert_array_equal(voxels(targets / "imagesTr" / "segrap_0007_0000.nii.gz"), hu)
    np.testing.assert_array_equal(voxels(targets / "labelsTr" / "segrap_0007.nii.gz"), labels)
    np.testing.assert_array_equal(voxels(organs / "labelsTr" / "segrap_0007.nii.gz"), labels * 27)
    named = json.loads((organs / "dataset.json").read_text())["labels"]
    assert (len(named), named["Brain"], named["Trachea"]) == (55, 1, 54)


def test_both_phases_of_a_patient_are_cases_of_one_patient(tmp_path: Path) -> None:
    write_lnctvseg(tmp_path / "source", [1])

    _, folder = convert("lnctvseg", tmp_path / "source", tmp_path / "raw")

    assert notes(folder)["patients"] == {"lnctvseg0001_contrast": "lnctvseg0001", "lnctvseg0001_plain": "lnctvseg0001"}


def test_structures_are_known_where_they_were_drawn(tmp_path: Path) -> None:
    write_han5k(tmp_path / "source", {1: BALLS[:1], 2: BALLS})

    _, folder = convert("han5k", tmp_path / "source", tmp_path / "raw")

    assert notes(folder)["drawn"] == {"RADCURE-0001": [36], "RADCURE-0002": [36, 37]}
    named = json.loads((folder / "dataset.json").read_text())["labels"]
    assert (len(named), named["Parotid_L"], named["Hippocampus_L in Lobe_Temporal_L in Brain"]) == (51, 36, 9)
    labels = balls(1)[1]
    np.testing.assert_array_equal(voxels(folder / "labelsTr" / "RADCURE-0001.nii.gz"), 36 * (labels == 1))


def test_masks_of_other_names_are_told_apart_by_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_han5k(tmp_path / "source", {1: ["left"], 2: ["left", "right"]}, ("left", "right"))

    status, _ = convert("han5k", tmp_path / "source", tmp_path / "raw")

    assert status == 2
    assert "masks are called left, right, none is a structure of the recipe (A_Aorta, " in capsys.readouterr().out
    own = tmp_path / "own.toml"
    shipped_text = (RECIPES_DIR / "han5k.toml").read_text()
    own.write_text(f'names = {{ left = "Parotid_L", right = "Parotid_R" }}\n{shipped_text}')
    assert convert(str(own), tmp_path / "source", tmp_path / "raw")[0] == 0
    assert notes(tmp_path / "raw" / "Dataset304_HaN5K")["drawn"] == {"RADCURE-0001": [36], "RADCURE-0002": [36, 37]}


def test_without_a_pipeline_labels_are_the_masks_that_are_found(tmp_path: Path) -> None:
    write_han5k(tmp_path / "source", {1: ["left"], 2: ["left", "right"]}, ("left", "right"))
    own = tmp_path / "own.toml"
    lines = (RECIPES_DIR / "han5k.toml").read_text().splitlines()
    own.write_text("\n".join(line for line in lines if not line.startswith(("pipeline", "network"))))

    assert convert(str(own), tmp_path / "source", tmp_path / "raw")[0] == 0

    described = json.loads((tmp_path / "raw" / "Dataset304_HaN5K" / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "left": 1, "right": 2}


def test_smaller_structures_lie_on_top(tmp_path: Path) -> None:
    hu, labels = balls(1)
    write(tmp_path / "source" / "RADCURE-0001" / "image.nii.gz", hu)
    write(tmp_path / "source" / "RADCURE-0001" / "Brain.nii.gz", (labels != 0).astype(np.uint8))
    write(tmp_path / "source" / "RADCURE-0001" / "Hippocampus_L.nii.gz", (labels == 1).astype(np.uint8))

    _, folder = convert("han5k", tmp_path / "source", tmp_path / "raw")

    np.testing.assert_array_equal(
        voxels(folder / "labelsTr" / "RADCURE-0001.nii.gz"), np.choose(labels, (0, 9, 50)).astype(np.uint8)
    )


def test_radcure_is_read_from_dicom(tmp_path: Path) -> None:
    write_radcure_dicom(tmp_path / "source", 5)
    slices = np.zeros((12, 20, 18), dtype=np.uint8)
    slices[4:8, 5:9, 5:9] = 1
    drawn = SimpleITK.GetImageFromArray(slices)
    plan = CtPlan()
    drawn.SetSpacing((plan.pixel_spacing_mm[1], plan.pixel_spacing_mm[0], plan.slice_spacing_mm))
    drawn.SetOrigin(plan.origin_lps_mm)
    (tmp_path / "source" / "masks" / "RADCURE-0005").mkdir(parents=True)
    SimpleITK.WriteImage(drawn, tmp_path / "source" / "masks" / "RADCURE-0005" / "Parotid_L.nii.gz")

    status, folder = convert("han5k", tmp_path / "source", tmp_path / "raw")

    assert status == 0
    np.testing.assert_array_equal(voxels(folder / "labelsTr" / "RADCURE-0005.nii.gz"), slices * 36)


def test_undrawn_nodes_are_unknown_in_training_cases_only(tmp_path: Path) -> None:
    write_lnq(tmp_path / "source", [1], [2])

    _, folder = convert("lnq2023", tmp_path / "source", tmp_path / "raw")

    described = json.loads((folder / "dataset.json").read_text())["labels"]
    assert described == {"background": 0, "GTVn_Mediastinum": 1, "ignore": 2}
    found, both = voxels(folder / "labelsTr" / "lnq2023-train-0001.nii.gz"), balls(1)[1]
    assert (found[both == 1] == 1).all()
    assert (found[both == 2] == 2).all()
    assert (found[:, :3] == 0).all()
    assert set(np.unique(voxels(folder / "labelsTr" / "lnq2023-val-0002.nii.gz"))) == {0, 1}


def test_what_is_background_for_sure_is_known(tmp_path: Path) -> None:
    write_lnq(tmp_path / "source", [1])
    sure = np.zeros_like(balls(1)[1])
    sure[:, 28:] = 1
    write(tmp_path / "sure" / "lnq2023-train-0001.nii.gz", sure)

    _, folder = convert("lnq2023", tmp_path / "source", tmp_path / "raw", "--certain", str(tmp_path / "sure"))

    found = voxels(folder / "labelsTr" / "lnq2023-train-0001.nii.gz")
    assert (found[:, 28:] == 0).all()
    assert (found == 2).any()


def test_labels_on_another_grid_are_brought_onto_the_image(tmp_path: Path) -> None:
    write_lnq(tmp_path / "source", [1])
    path = tmp_path / "source" / "train" / "lnq2023-train-0001-seg.nrrd"
    nodes = voxels(path)
    SimpleITK.WriteImage(image(nodes[:, 3:, :], (0.0, 3.0, 0.0)), path)

    _, folder = convert("lnq2023", tmp_path / "source", tmp_path / "raw")

    np.testing.assert_array_equal(voxels(folder / "labelsTr" / "lnq2023-train-0001.nii.gz") == 1, nodes == 1)


def test_mr_series_share_the_grid_that_was_drawn_on(tmp_path: Path) -> None:
    write_npc_mri(tmp_path / "source", [12])

    _, folder = convert("npc_mri", tmp_path / "source", tmp_path / "raw")

    contrast = voxels(folder / "imagesTr" / "npc_012_0002.nii.gz")
    np.testing.assert_array_equal(contrast, stored_values(MR_PLAN))
    coarse = voxels(folder / "imagesTr" / "npc_012_0000.nii.gz")
    assert coarse.shape == contrast.shape
    # The coarse series holds 10 + 40 z + 3 y + x of its own pixels, half as many along y and x.
    z, y, x = 5, 8, 6
    assert abs(float(coarse[z, y, x]) - (10 + 40 * z + 3 * y / 2 + x / 2)) <= 1
    assert set(np.unique(voxels(folder / "labelsTr" / "npc_012.nii.gz"))) == {0, 1}


def test_case_that_cannot_be_read_is_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_npc_mri(tmp_path / "source", [1, 2])
    (missing, *_) = sorted((tmp_path / "source" / "MRI-Segments" / "002" / "CE-T1WI").iterdir())[5:6]
    second = tmp_path / "source" / "MRI-Segments" / "002" / "T1WI"
    write_series(second, mr_datasets(CtPlan(seed="other", slices=3)))

    status, folder = convert("npc_mri", tmp_path / "source", tmp_path / "raw")

    assert missing.is_file()
    assert status == 1
    assert "left out npc_002: " in capsys.readouterr().out
    assert list(notes(folder)["patients"]) == ["npc_001"]


def test_series_with_a_missing_slice_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_npc_mri(tmp_path / "source", [1, 2])
    folder = tmp_path / "source" / "MRI-Segments" / "002" / "CE-T1WI"
    for path in folder.iterdir():
        path.unlink()
    write_series(folder, [one for index, one in enumerate(mr_datasets(MR_PLAN)) if index != 6])

    status, _ = convert("npc_mri", tmp_path / "source", tmp_path / "raw")

    assert status == 1
    assert "slices are missing, or the gantry was tilted" in capsys.readouterr().out


def test_training_data_lies_in_lps_however_it_is_stored(tmp_path: Path) -> None:
    write_segrap(tmp_path / "source", [7])
    _, straight = convert("segrap2023_gtv", tmp_path / "source", tmp_path / "straight")
    for path in (tmp_path / "source").rglob("*.nii.gz"):
        SimpleITK.WriteImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(path), "RAS"), path)

    status, turned = convert("segrap2023_gtv", tmp_path / "source", tmp_path / "turned")

    assert status == 0
    for name in ("imagesTr/segrap_0007_0000.nii.gz", "imagesTr/segrap_0007_0001.nii.gz", "labelsTr/segrap_0007.nii.gz"):
        np.testing.assert_array_equal(voxels(turned / name), voxels(straight / name))


def _rewrite(path: Path, change: Callable[[SimpleITK.Image], SimpleITK.Image]) -> None:
    SimpleITK.WriteImage(change(SimpleITK.ReadImage(path)), path)


def _shifted(image: SimpleITK.Image) -> SimpleITK.Image:
    image.SetOrigin((10.0, 0.0, 0.0))
    return image


def _mirrored(image: SimpleITK.Image) -> SimpleITK.Image:
    flipped: SimpleITK.Image = SimpleITK.Flip(image, (True, False, False))
    flipped.CopyInformation(image)
    return flipped


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("segrap_0002/image_contrast.nii.gz", lambda image: image[:20, :, :], "covers 62% of the image"),
        ("segrap_0002/image_contrast.nii.gz", _shifted, "covers 69% of the image that was drawn on, expected 90%"),
        ("Task002/segrap_0002.nii.gz", lambda image: image * 0, "no label is drawn"),
        ("segrap_0002/image.nii.gz", lambda image: image + 100 * SimpleITK.Cast(image > -100, image.GetPixelID()),
         "brighter without contrast than with it"),
    ],
)  # fmt: skip
def test_a_case_that_is_not_what_it_seems_is_left_out_by_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    change: Callable[[SimpleITK.Image], SimpleITK.Image],
    reason: str,
) -> None:
    write_segrap(tmp_path / "source", [1, 2])
    (path,) = (tmp_path / "source").rglob(file)
    _rewrite(path, change)

    status, folder = convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")

    assert status == 1
    assert reason in capsys.readouterr().out
    assert notes(folder)["patients"] == {"segrap_0001": "segrap_0001"}


def test_mirrored_labels_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_han5k(tmp_path / "source", {1: BALLS, 2: BALLS})
    for path in (tmp_path / "source").rglob("RADCURE-0002/Parotid_?.nii.gz"):
        _rewrite(path, _mirrored)

    status, _ = convert("han5k", tmp_path / "source", tmp_path / "raw")

    assert status == 1
    assert "left lies right of what is called right, of 1 pairs of 1" in capsys.readouterr().out


def test_a_case_without_labels_and_labels_of_another_release_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segrap(tmp_path / "source", [1, 2])
    (tmp_path / "source" / "SegRap2023_Training_Set_120cases_OneHot_Labels/Task002/segrap_0002.nii.gz").unlink()
    assert convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")[0] == 1
    assert "left out segrap_0002" in capsys.readouterr().out

    (tmp_path / "source" / "SegRap2023_Training_Set_120cases_Update_Labels(Task001)").mkdir()
    assert convert("segrap2023_oar", tmp_path / "source", tmp_path / "raw")[0] == 2
    assert "holds no masks: corrected labels are segrap_NNNN/STRUCTURE.nii.gz" in capsys.readouterr().out


def test_segraps_corrected_organs_are_laid_over_its_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    write_segrap(source, [7])
    (labels_file,) = source.rglob("Task001/segrap_0007.nii.gz")
    image = SimpleITK.ReadImage(str(labels_file))
    labels = np.zeros_like(SimpleITK.GetArrayFromImage(image))
    labels[2:8, 4:12, 4:12] = 1  # brain
    labels[2:8, 5:8, 5:8] = 2  # brainstem, in the brain
    labels[2:8, 14:17, 5:8] = 10  # left eye
    SimpleITK.WriteImage(_as(labels, image), str(labels_file))
    folder = source / "SegRap2023_Training_Set_120cases_Update_Labels(Task001)" / "x" / "segrap_0007"
    folder.mkdir(parents=True)
    stem = np.zeros_like(labels)
    stem[2:8, 5:8, 5:10] = 1
    SimpleITK.WriteImage(_as(stem, image), str(folder / "BrainStem.nii.gz"))
    SimpleITK.WriteImage(_as(labels * 0, image), str(folder / "Eye_L.nii.gz"))

    status, written = convert("segrap2023_oar", source, tmp_path / "raw")

    assert status == 0, capsys.readouterr().out
    expected = labels.copy()
    expected[2:8, 5:8, 5:10] = 2
    expected[labels == 10] = 0
    np.testing.assert_array_equal(voxels(written / "labelsTr" / "segrap_0007.nii.gz"), expected)
    SimpleITK.WriteImage(_as(stem, image), str(folder / "Nonsense.nii.gz"))
    assert convert("segrap2023_oar", source, tmp_path / "again")[0] == 2
    assert "holds masks called Nonsense" in capsys.readouterr().out


def _as(voxels_zyx: npt.NDArray[np.generic], image: SimpleITK.Image) -> SimpleITK.Image:
    made = SimpleITK.GetImageFromArray(voxels_zyx)
    made.CopyInformation(image)
    return made


def test_broken_run_continues(tmp_path: Path) -> None:
    write_segrap(tmp_path / "source", [1, 2])
    _, folder = convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")
    kept = folder / "labelsTr" / "segrap_0001.nii.gz"
    before = kept.stat().st_mtime_ns
    (folder / "labelsTr" / "segrap_0002.nii.gz").unlink()

    status, _ = convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")

    assert status == 0
    assert kept.stat().st_mtime_ns == before
    assert (folder / "labelsTr" / "segrap_0002.nii.gz").is_file()


def test_folder_of_another_data_set_is_refused_with_what_was_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segrap(tmp_path / "source", [1])

    assert convert("lnctvseg", tmp_path / "source", tmp_path / "raw")[0] == 2
    assert "looked for lnctvsegNNNN_0000.nii.gz" in capsys.readouterr().out
    assert convert("lnctvseg", tmp_path / "none", tmp_path / "raw")[0] == 2


def test_two_sets_of_labels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_segrap(tmp_path / "source", [1])
    write(tmp_path / "source" / "Update_Labels" / "Task002" / "segrap_0001.nii.gz", balls(1)[1])

    assert convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")[0] == 2
    assert "segrap_0001 has labels in" in capsys.readouterr().out


def test_label_that_the_recipe_does_not_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_segrap(tmp_path / "source", [1])
    path = next((tmp_path / "source").rglob("Task002/*.nii.gz"))
    write(path, balls(1)[1] * 2)

    assert convert("segrap2023_gtv", tmp_path / "source", tmp_path / "raw")[0] == 2
    assert "has label 4, the recipe names 1 to 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('layout = "segrap2023"', "dataset_id"),
        ("layout = 3", "layout"),
        ("layout = ", "Invalid value"),
    ],
)
def test_wrong_recipe_is_refused_by_key(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)

    with pytest.raises(RecipeRefused, match=reason):
        read_recipe(str(path))


def test_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeRefused, match="there are han5k, lnctvseg"):
        read_recipe("segrap2022")
