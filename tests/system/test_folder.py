"""`npc-contour segment` on a folder: however the patient lies, contours are on the right organs of the right side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npc_contour.cli.demo_report import read_received
from npc_testkit.service_process import npc_contour

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP"])
def test_nodal_levels_are_found_whichever_way_the_patient_lies(position: str, tmp_path: Path) -> None:
    patient, out = tmp_path / "patient", tmp_path / "rt.dcm"
    scan = ("--seed", "5", "--slice-spacing", "5", "--matrix", "512", "--position", position)
    done = npc_contour("phantom", patient, *scan)
    assert done.returncode == 0, done.stderr

    done = npc_contour("segment", patient, "--out", out, "--pipeline", "ln_ctv")

    assert done.returncode == 0, done.stderr
    dice = {roi.name: roi.dice for roi in read_received(out, patient).rois}
    assert len(dice) == 6
    assert np.mean([value for value in dice.values() if value is not None]) > 0.7, dice


def test_one_phase_alone_is_refused_for_organs_and_says_what_is_missing(tmp_path: Path) -> None:
    patient = tmp_path / "patient"
    done = npc_contour("phantom", patient, "--slice-spacing", "5", "--slices", "60", "--matrix", "512")
    assert done.returncode == 0, done.stderr

    done = npc_contour("segment", patient / "contrast", "--out", tmp_path / "rt.dcm", "--pipeline", "npc_oar_gtv")

    assert done.returncode == 1
    assert "planning_ct" in done.stderr
    assert not (tmp_path / "rt.dcm").exists()
