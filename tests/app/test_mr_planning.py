"""Contours made on an oblique MR series lie where its slices lie, in an RTSTRUCT that passes the gate and dciodvfy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from npc_contour.adapters.dicom.read.reader import read_at_key, read_headers
from npc_contour.adapters.dicom.rtstruct.reader import read_rtstruct
from npc_contour.app.tools import FileReader, RtstructWriter
from npc_contour.core.labels import mask_of_array
from npc_contour.domain.pipelines import Contrast, Role, Weighting
from npc_contour.domain.profiles import GENERIC, ContourSource
from npc_contour.domain.series import Series
from npc_contour.domain.structures import InterpretedType, NetworkProvenance, RoiSpec, StructureSet
from npc_contour.settings import Mr
from npc_testkit.ct_series import CtPlan, write_series
from npc_testkit.mr_series import mr_datasets
from npc_testkit.peers import run_tool

T1C = Role(name="t1c", modality="MR", contrast=Contrast.PRESENT, weighting=Weighting.T1)
SPEC = RoiSpec("GTVp", InterpretedType.GTV, "npc_mr_gtv", frozenset({1}), (255, 0, 0))
TURN = np.radians(25)
ORIENTATIONS = {
    "oblique axial": (1.0, 0.0, 0.0, 0.0, float(np.cos(TURN)), float(np.sin(TURN))),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
}


@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_contours_lie_on_the_slices_of_the_mr_series(plane: str, tmp_path: Path) -> None:
    plan = CtPlan(slices=12, rows=48, columns=40, orientation=ORIENTATIONS[plane], description="t1_tse_fs +C")
    write_series(tmp_path / "mr", mr_datasets(plan, AcquisitionContextSequence=None))
    series = Series(read_headers(tmp_path / "mr").headers)
    volume = FileReader(read_at_key, Mr()).read(series, T1C)
    block = np.zeros(volume.grid.shape_zyx, dtype=np.bool_)
    block[3:8, 10:30, 12:28] = True
    masks = [mask_of_array(SPEC, block)]
    writer = RtstructWriter(read_at_key, GENERIC)
    structure_set = StructureSet(
        label="NPC_MR_GTV",
        description="GTV on MR",
        uid_seed="test",
        rois=writer.rois(masks, volume, ContourSource.MASKS),
        networks={"npc_mr_gtv": NetworkProvenance("npc_mr_gtv", "1", "0" * 64, demo=True)},
        notes=(),
        predecessor_sop_instance_uid="",
    )

    encoded = writer.write(structure_set, masks, volume, series, datetime(2026, 1, 2, tzinfo=UTC))

    assert encoded.min_dice == pytest.approx(1.0)
    path = tmp_path / "rt.dcm"
    path.write_bytes(encoded.data)
    (roi,) = read_rtstruct(encoded.data).rois
    assert len(roi.contours) == 5
    for contour in roi.contours:
        index = volume.grid.to_index_zyx(contour.points_lps_mm)
        assert np.ptp(index[:, 0]) < 0.01
        assert round(float(index[0, 0])) in range(3, 8)
    report = run_tool("dciodvfy", path)
    assert "Error" not in report.stderr + report.stdout
