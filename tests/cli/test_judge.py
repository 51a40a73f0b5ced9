"""`judge` says what is unusual of anybody's structure set, by name, and draws the slices concerned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from npc_contour.cli import main
from npc_testkit.ct_series import CtPlan
from npc_testkit.rtstructs import Planning, encoded, planning_series


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return planning_series(Path(tmp_path_factory.mktemp("ct")), CtPlan(slices=12, rows=40, columns=40))


@pytest.fixture
def rtstruct(planning: Planning, tmp_path: Path) -> Path:
    z, y, x = np.indices(planning.volume.grid.shape_zyx)
    cord = (abs(z - 5) < 3) & (abs(y - 20) < 8) & (abs(x - 10) < 4)
    path = tmp_path / "rt.dcm"
    path.write_bytes(encoded(planning, {"BRAINSTEM": cord, "Ring": (abs(z - 5) < 2) & (abs(y - 8) < 3)}))
    return path


def test_doubts_are_told_by_name_and_drawn(
    planning: Planning, rtstruct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(rtstruct), str(planning.folder), "--out", str(tmp_path / "doubts.pdf")]) == 0

    said = capsys.readouterr().out
    assert "STOP: BRAINSTEM: " in said
    assert "cc are usual" in said
    assert "1 ROIs of 'Test set' were judged: " in said
    assert "without a rule, not judged: 'Ring'" in said
    page = (tmp_path / "doubts.pdf").read_bytes()
    assert page.startswith(b"%PDF")
    assert page.count(b"/Type /Page ") == 1


def test_findings_as_json(planning: Planning, rtstruct: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", str(rtstruct), str(planning.folder), "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["without_a_rule"] == ["Ring"]
    assert {"code": "volume", "severity": "stop", "structure": "BRAINSTEM"}.items() <= document["findings"][0].items()
