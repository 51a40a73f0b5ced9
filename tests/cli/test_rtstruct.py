"""Masks to RTSTRUCT and back by command: every voxel returns, and what does not fit is named."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from npc_contour.cli import masks, picture, rtstruct
from npc_contour.errors import CaseRefused, SeriesGeometryError, SettingsError, VoxelFileError
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.peers import run_tool
from npc_testkit.rtstructs import Planning, planning_series, segmentation_of


@pytest.fixture(scope="module", params=["HFS", "FFP"])
def planning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planning:
    plan = CtPlan(slices=7, rows=30, columns=34, patient_position=request.param)
    return planning_series(tmp_path_factory.mktemp("ct"), plan)


def call(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    verbs: Any = parser.add_subparsers()
    rtstruct.add_verbs(verbs)
    masks.add_verbs(verbs)
    picture.add_verbs(verbs)
    args = parser.parse_args([str(word) for word in words])
    code: int = args.run(args)
    return code


def image_of(array: np.ndarray, planning: Planning) -> SimpleITK.Image:
    grid = planning.volume.grid
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_zyx_mm[::-1])
    image.SetOrigin(grid.origin_lps_mm)
    image.SetDirection(np.asarray(grid.direction_lps)[::-1].T.ravel().tolist())
    return image


def label_map(planning: Planning) -> np.ndarray:
    z, y, x = np.indices(planning.volume.grid.shape_zyx)
    labels = np.zeros(planning.volume.grid.shape_zyx, dtype=np.uint8)
    labels[(np.hypot(y - 14, x - 12) < 9) & (z > 0)] = 1
    labels[(np.hypot(y - 14, x - 12) < 4) & (z > 2)] = 2
    labels[3:5, 20:26, 22:30] = 5
    return labels


def test_a_label_map_comes_back_voxel_by_voxel(
    planning: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = label_map(planning)
    SimpleITK.WriteImage(image_of(labels, planning), str(tmp_path / "labels.nii.gz"))
    (tmp_path / "names.txt").write_text("# united\n1,2 Ball\n2 Core GTV\n5 Box\n9 Nothing\n", encoding="utf-8")

    rt, back = tmp_path / "rt.dcm", tmp_path / "back.nii.gz"
    code = call("rtstruct", planning.folder, tmp_path / "labels.nii.gz", "--names", tmp_path / "names.txt", "--out", rt)
    said = capsys.readouterr().out
    call("masks", rt, planning.folder, "--out", back)

    assert code == 0
    assert "3 ROIs" in said
    assert "empty, left out: 'Nothing'" in said
    assert (tmp_path / "back.names.txt").read_text() == "1\tBall\n2\tCore\n3\tBox\n"
    stack = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(back)))
    np.testing.assert_array_equal(stack[0] > 0, (labels == 1) | (labels == 2))
    np.testing.assert_array_equal(stack[1] > 0, labels == 2)
    np.testing.assert_array_equal(stack[2] > 0, labels == 5)
    types = [item.RTROIInterpretedType for item in dcmread(rt).RTROIObservationsSequence]
    assert types == ["ORGAN", "GTV", "ORGAN"]


def test_what_masks_writes_rtstruct_reads(planning: Planning, tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.mha"))
    call("rtstruct", planning.folder, tmp_path / "labels.mha", "--out", tmp_path / "rt.dcm")
    call("masks", tmp_path / "rt.dcm", planning.folder, "--out", tmp_path / "a.nii.gz")

    again = tmp_path / "again.dcm"
    names = tmp_path / "a.names.txt"
    call("rtstruct", planning.folder, tmp_path / "a.nii.gz", "--names", names, "--out", again)
    call("masks", again, planning.folder, "--out", tmp_path / "b.nii")

    first, second = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / f))) for f in ("a.nii.gz", "b.nii"))
    assert names.read_text() == "1\tROI_1\n2\tROI_2\n3\tROI_5\n"
    np.testing.assert_array_equal(first, second)


def test_rois_of_one_name_are_told(planning: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.mha"))
    call("rtstruct", planning.folder, tmp_path / "labels.mha", "--out", tmp_path / "rt.dcm")
    theirs = dcmread(tmp_path / "rt.dcm")
    theirs.StructureSetROISequence[2].ROIName = theirs.StructureSetROISequence[0].ROIName
    theirs.save_as(tmp_path / "theirs.dcm")

    assert call("masks", tmp_path / "theirs.dcm", planning.folder, "--out", tmp_path / "a.nii.gz") == 0
    assert "2 ROIs are called 'ROI_1'" in capsys.readouterr().out


def test_flipped_axes_are_turned(planning: Planning, tmp_path: Path) -> None:
    labels = label_map(planning)
    flipped = SimpleITK.Flip(image_of(labels, planning), [True, False, True])
    SimpleITK.WriteImage(flipped, str(tmp_path / "flipped.nii.gz"))

    call("rtstruct", planning.folder, tmp_path / "flipped.nii.gz", "--out", tmp_path / "rt.dcm")
    call("masks", tmp_path / "rt.dcm", planning.folder, "--out", tmp_path / "back.nii")

    stack = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "back.nii")))
    np.testing.assert_array_equal(stack[0] > 0, labels == 1)


def test_masks_on_another_grid_are_refused(planning: Planning, tmp_path: Path) -> None:
    image = image_of(label_map(planning), planning)
    image.SetOrigin(np.add(image.GetOrigin(), (3.0, 0.0, 0.0)))
    SimpleITK.WriteImage(image, str(tmp_path / "moved.nii.gz"))

    with pytest.raises(CaseRefused, match=r"the grids differ: .* voxels of .* mm from"):
        call("rtstruct", planning.folder, tmp_path / "moved.nii.gz", "--out", tmp_path / "rt.dcm")
    assert not (tmp_path / "rt.dcm").exists()


def test_masks_of_another_shape_are_refused(planning: Planning, tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning)[:-1], planning), str(tmp_path / "short.nii.gz"))

    with pytest.raises(CaseRefused, match=r"the grids differ: 34 x 30 x 6 voxels .*; the CT has 34 x 30 x 7"):
        call("rtstruct", planning.folder, tmp_path / "short.nii.gz", "--out", tmp_path / "rt.dcm")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 Brain TUMOUR", "type 'TUMOUR', expected one of"),
        ("1 Brain ORGAN extra", r"expected \[LABELS\] NAME \[TYPE\]"),
        ("0 Brain", "labels are counted from 1"),
        ("1\tSpinal Cord\tTUMOUR", "type 'TUMOUR', expected one of"),
        ("Brain\nbrain", "two ROIs have one name"),
    ],
)
def test_a_wrong_names_file_is_refused(planning: Planning, tmp_path: Path, line: str, reason: str) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.nii.gz"))
    names = tmp_path / "names.txt"
    names.write_text(line, encoding="utf-8")

    with pytest.raises(CaseRefused, match=reason):
        call("rtstruct", planning.folder, tmp_path / "labels.nii.gz", "--names", names, "--out", tmp_path / "rt.dcm")


def test_every_mask_of_a_stack_needs_a_name(planning: Planning, tmp_path: Path) -> None:
    stack = np.stack([label_map(planning) == label for label in (1, 2, 5)]).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.JoinSeries([image_of(mask, planning) for mask in stack]), str(tmp_path / "s.nii"))
    files = ("rtstruct", planning.folder, tmp_path / "s.nii", "--names", tmp_path / "names.txt")

    for names in ("1\tA\n2\tB\n", "A\nB\n", "1\tA\n2\tB\n3\tC\n4\tD\n"):
        (tmp_path / "names.txt").write_text(names)
        with pytest.raises(CaseRefused, match=r"holds 3 masks, the names are those of 1, 2.*: every mask needs a name"):
            call(*files, "--out", tmp_path / "rt.dcm")


def test_labels_without_a_name_are_told_or_refused(
    planning: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.nii.gz"))
    files = ("rtstruct", planning.folder, tmp_path / "labels.nii.gz", "--names", tmp_path / "names.txt")

    (tmp_path / "names.txt").write_text("A\nB\n")
    with pytest.raises(CaseRefused, match="holds the labels 1, 2, 5, the list names 2 by their place only"):
        call(*files, "--out", tmp_path / "rt.dcm")
    (tmp_path / "names.txt").write_text("2 B\n")
    assert call(*files, "--out", tmp_path / "rt.dcm") == 0
    assert "does not name, left out: 1, 5" in capsys.readouterr().out


def test_clinical_names_survive_both_ways(planning: Planning, tmp_path: Path) -> None:
    names = ["PTV 70 Gy", "#ring", "", "脑干", "1,2 Boost"]
    mask = (label_map(planning) == 1).astype(np.uint8)
    stack = SimpleITK.JoinSeries([image_of(mask, planning) for _ in names])
    SimpleITK.WriteImage(stack, str(tmp_path / "s.nii"))
    (tmp_path / "s.names.txt").write_text("".join(f"{n}\t{name}\n" for n, name in enumerate(names, 1)), "utf-8")

    files = ("rtstruct", planning.folder, tmp_path / "s.nii", "--names", tmp_path / "s.names.txt")
    call(*files, "--out", tmp_path / "rt.dcm")
    call("masks", tmp_path / "rt.dcm", planning.folder, "--out", tmp_path / "b.nii")

    assert (tmp_path / "b.names.txt").read_text("utf-8") == (tmp_path / "s.names.txt").read_text("utf-8")
    assert [str(roi.ROIName) for roi in dcmread(tmp_path / "rt.dcm").StructureSetROISequence] == names


def test_a_slicer_segmentation_of_a_part_is_placed_and_named(planning: Planning, tmp_path: Path) -> None:
    labels = label_map(planning)
    part = image_of(labels, planning)[4:32, 2:28, 1:6]
    for number, (name, label) in enumerate((("Ball shell", 1), ("Core", 2), ("Box", 5))):
        for key, value in (("ID", f"S{number}"), ("Name", name), ("LabelValue", str(label)), ("Color", "1 0.5 0")):
            part.SetMetaData(f"Segment{number}_{key}", value)
    SimpleITK.WriteImage(part, str(tmp_path / "a.seg.nrrd"), useCompression=True)

    call("rtstruct", planning.folder, tmp_path / "a.seg.nrrd", "--out", tmp_path / "rt.dcm")
    call("masks", tmp_path / "rt.dcm", planning.folder, "--out", tmp_path / "b.nii")

    expected = np.zeros_like(labels)
    expected[1:6, 2:28, 4:32] = labels[1:6, 2:28, 4:32]
    stack = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "b.nii")))
    np.testing.assert_array_equal(stack > 0, [expected == label for label in (1, 2, 5)])
    assert (tmp_path / "b.names.txt").read_text() == "1\tBall shell\n2\tCore\n3\tBox\n"
    assert [list(item.ROIDisplayColor) for item in dcmread(tmp_path / "rt.dcm").ROIContourSequence] == [
        [255, 128, 0]
    ] * 3


def test_a_file_that_is_no_image_is_refused(planning: Planning, tmp_path: Path) -> None:
    (tmp_path / "labels.nii.gz").write_bytes(b"nothing")

    with pytest.raises(CaseRefused, match="cannot be read as an image"):
        call("rtstruct", planning.folder, tmp_path / "labels.nii.gz", "--out", tmp_path / "rt.dcm")


def test_of_several_series_one_must_be_named(tmp_path: Path) -> None:
    first, second = CtPlan(seed="a"), CtPlan(seed="b")
    write_series(tmp_path / "ct" / "a", ct_datasets(first))
    write_series(tmp_path / "ct" / "b", ct_datasets(second))
    planning = planning_series(tmp_path / "other", first)
    labels = np.ones(planning.volume.grid.shape_zyx, dtype=np.uint8)
    SimpleITK.WriteImage(image_of(labels, planning), str(tmp_path / "labels.nii.gz"))
    words = ("rtstruct", tmp_path / "ct", tmp_path / "labels.nii.gz", "--out", tmp_path / "rt.dcm")

    with pytest.raises(SeriesGeometryError, match="expected images of one series, found the series"):
        call(*words)
    assert call(*words, "--series", planning.header.series_instance_uid) == 0


def test_a_profile_renames_derives_and_keeps_empty_rois(planning: Planning, tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.nii.gz"))
    (tmp_path / "names.txt").write_text("1,2 Ball\n5 Box\n9 Nothing\n", encoding="utf-8")
    (tmp_path / "site.toml").write_text(
        """
name = "site"
title = "Our clinic"
holes = "parity"
empty_rois = "placeholder"
transfer_syntax = "explicit"
label = "Auto {label}"
rois = ["Box", "Ball_PRV", "Nothing", "Ball"]
[override.Box]
name = "Kasten"
type = "CTV"
[[derived]]
name = "Ball_PRV"
type = "ORGAN"
colour = [1, 2, 3]
union_of = ["Ball"]
margin_mm = 2.0
""",
        encoding="utf-8",
    )
    files: list[str | Path] = [planning.folder, tmp_path / "labels.nii.gz", "--names", tmp_path / "names.txt"]

    call("rtstruct", *files, "--profile", tmp_path / "site.toml", "--out", tmp_path / "rt.dcm")

    dataset = dcmread(tmp_path / "rt.dcm")
    assert dataset.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
    assert dataset.StructureSetLabel == "Auto Masks"
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Kasten", "Ball_PRV", "Nothing", "Ball"]
    assert dataset.RTROIObservationsSequence[0].RTROIInterpretedType == "CTV"
    assert ["ContourSequence" in item for item in dataset.ROIContourSequence] == [True, True, False, True]
    done = run_tool("dciodvfy", tmp_path / "rt.dcm")
    assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


def test_a_profile_that_does_not_suit_the_rois_is_refused(planning: Planning, tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.nii.gz"))
    (tmp_path / "names.txt").write_text("1 A_name_of_more_than_16\n", encoding="utf-8")
    files: list[str | Path] = [planning.folder, tmp_path / "labels.nii.gz", "--names", tmp_path / "names.txt"]

    with pytest.raises(SettingsError, match="has 22 characters, 16 are allowed"):
        call("rtstruct", *files, "--profile", "eclipse", "--out", tmp_path / "rt.dcm")
    assert call("rtstruct", *files, "--profile", "raystation", "--out", tmp_path / "rt.dcm") == 0


def test_cutting_to_the_body_needs_a_body(planning: Planning, tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.nii.gz"))
    (tmp_path / "site.toml").write_text(
        'name = "site"\ntitle = "X"\n[[derived]]\nname = "Cut"\ntype = "CTV"\ncolour = [1, 2, 3]\n'
        'union_of = ["ROI_1"]\ninside_body_mm = 3.0\n',
        encoding="utf-8",
    )

    with pytest.raises(CaseRefused, match="no body is seen: nothing is above -300,"):
        call(
            *("rtstruct", planning.folder, tmp_path / "labels.nii.gz"),
            *("--profile", tmp_path / "site.toml", "--out", tmp_path / "rt.dcm"),
        )


def test_profile_check_says_what_a_profile_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("profile", "check", "eclipse") == 0

    said = capsys.readouterr().out
    assert "eclipse (Varian Eclipse): ok" in said
    assert "npc_oar_gtv: 47 ROIs: Brain, Brainstem" in said


def test_a_picture_shows_the_rois_and_slices_asked_for(
    planning: Planning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SimpleITK.WriteImage(image_of(label_map(planning), planning), str(tmp_path / "labels.nii.gz"))
    rt, png = tmp_path / "rt.dcm", tmp_path / "p.png"
    assert call("rtstruct", planning.folder, tmp_path / "labels.nii.gz", "--out", rt) == 0

    assert call("picture", rt, planning.folder, "--out", png, "--roi", "ROI_5", "--slices", "4", "5") == 0

    assert png.read_bytes().startswith(b"\x89PNG")
    assert "1 ROIs of 'Masks'" in capsys.readouterr().out
    with pytest.raises(CaseRefused, match="no ROI 'ROI_9'; it has 'ROI_1', 'ROI_2', 'ROI_5'"):
        call("picture", rt, planning.folder, "--out", png, "--roi", "ROI_9")
    with pytest.raises(CaseRefused, match="expected 6 numbers at most, from 1 to 7"):
        call("picture", rt, planning.folder, "--out", png, "--slices", "8")


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_dicom_segmentation_comes_back_voxel_by_voxel(planning: Planning, tmp_path: Path, kind: str) -> None:
    labels = label_map(planning)
    seg = segmentation_of(planning, {"Ball": labels == 1, "Core": labels == 2}, kind, tmp_path / "seg.dcm")
    rt, back = tmp_path / "rt.dcm", tmp_path / "back.nii"

    assert call("rtstruct", planning.folder, seg, "--out", rt) == 0
    assert call("masks", rt, planning.folder, "--out", back) == 0

    found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(back)))
    np.testing.assert_array_equal(found, np.stack([labels == 1, labels == 2]))
    assert [roi.ROIName for roi in dcmread(rt).StructureSetROISequence] == ["Ball", "Core"]


def test_a_dicom_segmentation_of_other_images_or_cut_short_is_refused(planning: Planning, tmp_path: Path) -> None:
    seg = segmentation_of(planning, {"Ball": label_map(planning) == 1}, "BINARY", tmp_path / "seg.dcm")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(seg.read_bytes()[:-100])
    with pytest.raises(VoxelFileError, match="or is cut short"):
        call("rtstruct", planning.folder, cut, "--out", tmp_path / "rt.dcm")

    other = dcmread(seg)
    other.FrameOfReferenceUID = "1.2.3.4"
    other.save_as(seg)
    with pytest.raises(CaseRefused, match="it was drawn on other images"):
        call("rtstruct", planning.folder, seg, "--out", tmp_path / "rt.dcm")
