"""`npc-contour segment` on a folder: however the patient lies, contours are on the right organs of the right side."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from npc_contour.cli.demo_report import read_received
from npc_testkit.peers import run_tool
from npc_testkit.phantom_files import phantom_folder
from npc_testkit.service_process import npc_contour

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP"])
def test_nodal_levels_are_found_whichever_way_the_patient_lies(position: str, tmp_path: Path) -> None:
    out = tmp_path / "rt.dcm"
    patient = phantom_folder("--seed", "5", "--slice-spacing", "5", "--matrix", "512", "--position", position)

    done = npc_contour("segment", patient, "--out", out, "--pipeline", "ln_ctv")

    assert done.returncode == 0, done.stderr
    dice = {roi.name: roi.dice for roi in read_received(out, patient).rois}
    assert len(dice) == 6
    assert np.mean([value for value in dice.values() if value is not None]) > 0.7, dice


def test_one_phase_alone_is_refused_for_organs_and_says_what_is_missing(tmp_path: Path) -> None:
    patient = phantom_folder("--seed", "5", "--slice-spacing", "5", "--slices", "60", "--matrix", "512")

    done = npc_contour("segment", patient / "contrast", "--out", tmp_path / "rt.dcm", "--pipeline", "npc_oar_gtv")

    assert done.returncode == 1
    assert "planning_ct" in done.stderr
    assert not (tmp_path / "rt.dcm").exists()


def test_every_pipeline_takes_its_own_study_of_one_folder(tmp_path: Path) -> None:
    patient, config = tmp_path / "patients", tmp_path / "site.toml"
    config.write_text('[routing]\npipelines = ["mediastinal_ln", "npc_mr_gtv", "han_oar"]\n', encoding="utf-8")
    chest = phantom_folder("--kind", "chest", "--seed", "4", "--matrix", "512", "--slice-spacing", "5")
    mr = phantom_folder("--kind", "mr", "--seed", "4", "--slice-spacing", "5")
    head = phantom_folder("--kind", "npc", "--seed", "4", "--matrix", "512", "--slice-spacing", "5", "--slices", "70")
    for name, folder in {"chest": chest, "mr": mr, "head": head}.items():
        shutil.copytree(folder, patient / name, ignore=shutil.ignore_patterns("noncontrast"))

    done = npc_contour("segment", patient, "--out", tmp_path / "rt.dcm", "--config", config)

    assert done.returncode == 0, done.stderr
    written = sorted(path for path in tmp_path.iterdir() if path.name.startswith("rt"))
    kinds = {path.name: str(dcmread(path).Modality) for path in written if path.suffix == ".dcm"}
    assert sorted(kinds.values()) == ["RTSTRUCT"] * 3 + ["SR"] * 2
    tables = {path.name: path.read_text(encoding="utf-8").splitlines() for path in written if path.suffix == ".csv"}
    assert {"short_axis_mm" in table[0] for table in tables.values()} == {True, False}
    assert all(len(table) > 1 for table in tables.values())
    assert done.stdout.count("not for these images") == 6
    for path in written:
        if path.suffix == ".dcm":
            said = run_tool("dciodvfy", path)
            assert [line for line in (said.stderr + said.stdout).splitlines() if line.startswith("Error")] == []
