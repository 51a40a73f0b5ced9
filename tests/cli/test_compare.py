"""`compare` says how two structure sets of the same images differ, ROI by ROI, and what only one of them has."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from npc_contour.cli import main
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import Planning, encoded, planning_series


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    plan = CtPlan(slices=8, rows=40, columns=40, pixel_spacing_mm=(1.0, 1.0))
    return planning_series(Path(tmp_path_factory.mktemp("ct")), plan)


@pytest.fixture
def sets(planning: Planning, tmp_path: Path) -> list[str]:
    def box(*spans: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(planning.volume.grid.shape_zyx, dtype=np.bool_)
        mask[tuple(slice(*span) for span in spans)] = True
        return mask

    cord, eye = box((1, 3), (5, 8), (5, 8)), box((1, 2), (30, 34), (5, 9))
    first = {"Brainstem": box((2, 6), (10, 20), (10, 20)), "Cord": cord, "Eye_L": eye}
    second = {"BrainStem": box((2, 6), (10, 20), (12, 22)), "SpinalCord": cord, "PTV": eye}
    for name, masks in (("a", first), ("b", second)):
        (tmp_path / f"{name}.dcm").write_bytes(encoded(planning, masks))
    return [str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm"), str(planning.folder)]


def test_each_pair_is_measured_and_the_rest_is_named(sets: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *sets, "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    moved, same = document["rois"]
    assert (moved["name"], moved["name_b"]) == ("Brainstem", "BrainStem")
    assert moved["dice"] == pytest.approx(0.8)
    assert moved["shift_mm"] == pytest.approx(2.0)
    assert moved["hd95_mm"] == pytest.approx(2.0)
    assert moved["slices_changed"] == 4
    # Of each slice's 36 border pixels of the moved square, 2 * 2 + 8 + 8 are not on the old one's border.
    assert moved["added_path_mm"] == pytest.approx(4 * (4 + 8 + 8))
    assert (same["name"], same["dice"], same["added_path_mm"], same["hd95_mm"]) == ("Cord", 1.0, 0.0, 0.0)
    assert (document["only_in_a"], document["only_in_b"]) == (["Eye_L"], ["PTV"])


def test_the_table_says_the_same(sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *sets, "--csv", str(tmp_path / "c.csv")]) == 0

    said = capsys.readouterr().out
    assert "BrainStem" in said
    assert "only in" in said
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["Brainstem", "Cord"]
    assert float(rows[0]["dice"]) == pytest.approx(0.8)
