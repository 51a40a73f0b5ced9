"""`evaluate` scores files and folders by each protocol's rules and refuses what cannot be compared."""

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from npc_networks.cli import main
from npc_networks.protocols.definitions import protocol

SPACING_XYZ = (1.0, 1.0, 3.0)


def _write(path: Path, voxels: npt.NDArray[np.uint8], spacing_xyz: tuple[float, ...] = SPACING_XYZ) -> Path:
    image = SimpleITK.GetImageFromArray(voxels, isVector=False)
    image.SetSpacing((*spacing_xyz, 1.0)[: voxels.ndim])
    SimpleITK.WriteImage(image, str(path))
    return path


def _labels(*, shift: int = 0, label: int = 1) -> npt.NDArray[np.uint8]:
    voxels = np.zeros((8, 20, 24), dtype=np.uint8)
    voxels[2:6, 4:14, 4 + shift : 14 + shift] = label
    return voxels


def _scores(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return {row["structure"]: row for row in csv.DictReader(file)}


def test_segrap_has_45_organs_with_their_tolerances() -> None:
    organs = {one.name: one.tolerance_mm for one in protocol("segrap2023").structures}

    assert len(organs) == 45
    assert {name: mm for name, mm in organs.items() if mm != 1.0} == {"Larynx": 2.0, "Cavity_Oral": 3.0}
    assert [one.tolerance_mm for one in protocol("segrap2023", task="gtv").structures] == [1.0, 1.0]


def test_segrap_counts_overlapping_organs_and_scores_nothing_by_its_rules(tmp_path: Path) -> None:
    truth = _labels(label=2)
    truth[2:6, 15:18, 4:14] = 46
    answer = _labels(label=2, shift=1)
    answer[7, 1, 1] = 54

    assert (
        main(
            [
                "evaluate",
                str(_write(tmp_path / "a.nii.gz", answer)),
                str(_write(tmp_path / "b.mha", truth)),
                *("--protocol", "segrap2023", "--csv", str(tmp_path / "s.csv")),
            ]
        )
        == 0
    )

    scores = _scores(tmp_path / "s.csv")
    assert len(scores) == 45
    # One of ten columns is new, one gone: 2 * 9 / 20. All surfaces are within a voxel of 1 mm.
    assert (scores["Brainstem"]["DSC"], scores["Brainstem"]["NSD"]) == ("0.9", "1.0")
    assert scores["Brain"]["DSC"] == "0.9"
    assert (scores["SpinalCord"]["DSC"], scores["SpinalCord"]["NSD"]) == ("0.0", "0.0")
    assert (scores["Trachea"]["DSC"], scores["Trachea"]["NSD"]) == ("0.0", "0.0")
    assert (scores["Larynx"]["DSC"], scores["Larynx"]["NSD"]) == ("1.0", "1.0")


def test_a_stack_of_masks_is_read_in_the_protocols_order(tmp_path: Path) -> None:
    stack = np.stack([_labels(), _labels(shift=2)])
    truth = np.stack([_labels(), _labels()])
    arguments = [str(_write(tmp_path / "a.mha", stack)), str(_write(tmp_path / "b.mha", truth))]

    options = ["--protocol", "segrap2023", "--task", "gtv", "--csv", str(tmp_path / "s.csv")]
    assert main(["evaluate", *arguments, *options]) == 0

    scores = _scores(tmp_path / "s.csv")
    assert (scores["GTVp"]["DSC"], scores["GTVn"]["DSC"]) == ("1.0", "0.8")


def test_a_folder_of_masks_a_case_is_read_by_the_names_of_public_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers" / "segrap_0001").mkdir(parents=True)
    (tmp_path / "references").mkdir()
    _write(tmp_path / "references" / "segrap_0001.nii.gz", _labels(label=2))
    for name in ("BrainStem", "Brain"):
        _write(tmp_path / "answers" / "segrap_0001" / f"{name}.nii.gz", _labels(shift=1))
    folders = [str(tmp_path / "answers"), str(tmp_path / "references"), "--protocol", "segrap2023"]

    assert main(["evaluate", *folders, "--csv", str(tmp_path / "s.csv")]) == 0

    scores = _scores(tmp_path / "s.csv")
    assert (scores["Brainstem"]["DSC"], scores["Brain"]["DSC"], scores["Trachea"]["DSC"]) == ("0.9", "0.9", "1.0")
    _write(tmp_path / "answers" / "segrap_0001" / "Tail.nii.gz", _labels())
    assert main(["evaluate", *folders]) == 2
    assert "holds Tail.nii.gz: no structures of the protocol" in " ".join(capsys.readouterr().out.split())


def test_folders_are_paired_by_name_and_reported_in_every_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, shift in (("pred", 2), ("ref", 0)):
        (tmp_path / folder).mkdir()
        _write(tmp_path / folder / "case1.nii.gz", _labels())
        _write(tmp_path / folder / "case2.mha", _labels(shift=shift))
    outputs = {key: tmp_path / f"out.{key}" for key in ("csv", "json", "png")}

    arguments = ["evaluate", str(tmp_path / "pred"), str(tmp_path / "ref"), "--protocol", "lnctvseg"]
    wanted = ["--csv", str(outputs["csv"]), "--json", str(outputs["json"]), "--plot", str(outputs["png"])]
    assert main([*arguments, *wanted]) == 0

    document = json.loads(outputs["json"].read_text(encoding="utf-8"))
    first = {(s["case"], s["structure"]): s for s in document["scores"]}
    assert first["case1", "CTVn_II_III_Va_R"]["HD95_mm"] == 0.0
    assert first["case2", "CTVn_II_III_Va_R"]["DSC"] == pytest.approx(0.8)
    assert first["case2", "CTVn_II_III_Va_R"]["HD95_mm"] == 2.0
    assert first["case1", "CTVn_Ib_L"] == {
        "case": "case1", "structure": "CTVn_Ib_L", "DSC": None, "ASD_mm": None, "HD95_mm": None,
    }  # fmt: skip
    means = {(s["structure"], s["metric"]): s["mean"] for s in document["summary"]}
    assert means["CTVn_II_III_Va_R", "DSC"] == pytest.approx(0.9)
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")
    assert "0.9000 ± 0.1000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "metrics"),
    [("lnq2023", {"DSC", "ASSD_mm"}), ("npc-mri", {"DSC", "Jaccard", "volume_mm3_ref", "regularity_pred"})],
)
def test_one_structure_protocols(tmp_path: Path, name: str, metrics: set[str]) -> None:
    a, b = (_write(tmp_path / f"{key}.nii.gz", _labels(shift=shift)) for key, shift in (("a", 1), ("b", 0)))

    assert main(["evaluate", str(a), str(b), "--protocol", name, "--csv", str(tmp_path / "s.csv")]) == 0

    (row,) = _scores(tmp_path / "s.csv").values()
    assert metrics <= row.keys()
    assert row["DSC"] == "0.9"
    if name == "npc-mri":
        assert float(row["volume_mm3_ref"]) == pytest.approx(4 * 10 * 10 * 3.0, rel=0.03)


def test_other_grids_are_refused_with_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = _write(tmp_path / "a.nii.gz", _labels(), (1.0, 1.0, 2.5))
    b = _write(tmp_path / "b.nii.gz", _labels()[:, :-1])

    assert main(["evaluate", str(a), str(b), "--protocol", "lnq2023"]) == 2

    said = capsys.readouterr().out
    assert "size (z, y, x) (8, 20, 24) and (8, 19, 24)" in said
    assert "[1.0, 1.0, 2.5] and [1.0, 1.0, 3.0]" in said


def test_a_case_without_an_answer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("pred", "ref"):
        (tmp_path / folder).mkdir()
        _write(tmp_path / folder / "case1.nii.gz", _labels())
    _write(tmp_path / "ref" / "case2.nii.gz", _labels())

    assert main(["evaluate", str(tmp_path / "pred"), str(tmp_path / "ref"), "--protocol", "lnq2023"]) == 2

    assert "has no file for case2" in capsys.readouterr().out


def test_unknown_labels_and_what_is_no_image_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _write(tmp_path / "b.nii.gz", _labels())
    strange = _write(tmp_path / "a.nii.gz", _labels(label=7))
    broken = tmp_path / "c.nii.gz"
    broken.write_bytes(b"no image")

    assert main(["evaluate", str(strange), str(good), "--protocol", "lnctvseg"]) == 2
    assert "holds the values 7; the protocol has labels 0 to 6" in capsys.readouterr().out
    assert main(["evaluate", str(broken), str(good), "--protocol", "lnctvseg"]) == 2
    assert "cannot be read as an image" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "drawn"), [("lnctvseg", ["CTVn_II_III_Va_R"]), ("npc-mri", ["GTVp_MR"])])
def test_every_structure_with_a_value_gets_a_picture(tmp_path: Path, name: str, drawn: list[str]) -> None:
    for folder, shift in (("answers", 1), ("references", 0)):
        (tmp_path / folder).mkdir()
        for case in range(3):
            _write(tmp_path / folder / f"case{case}.nii.gz", _labels(shift=shift * case))

    folders = [str(tmp_path / "answers"), str(tmp_path / "references")]
    assert main(["evaluate", *folders, "--protocol", name, "--plots", str(tmp_path / "plots")]) == 0

    pictures = sorted((tmp_path / "plots").iterdir())
    assert [path.stem for path in pictures] == drawn
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in pictures)
