"""A regular CT of the wrong region is refused in words before any network sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.adapters.dicom.read.reader import read_at_key, read_headers
from npc_contour.app.tools import FileReader
from npc_contour.domain.pipelines import Contrast, Role
from npc_contour.domain.series import Series
from npc_contour.errors import CaseRefused
from npc_contour.settings import Mr
from npc_phantom import PhantomOptions, draw, render
from npc_phantom.writer import series_datasets
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series

HEAD_CT = Role(name="planning_ct", modality="CT", contrast=Contrast.ANY)
ANY_CT = Role(name="planning_ct", modality="CT", contrast=Contrast.ANY, anatomy="any")


def test_a_series_without_a_skull_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, ct_datasets(CtPlan()))

    with pytest.raises(CaseRefused, match="no skull is seen"):
        FileReader(read_at_key, Mr()).read(Series(read_headers(tmp_path).headers), HEAD_CT)


def test_a_role_that_asks_for_no_head_takes_any_region(tmp_path: Path) -> None:
    write_series(tmp_path, ct_datasets(CtPlan()))

    assert FileReader(read_at_key, Mr()).read(Series(read_headers(tmp_path).headers), ANY_CT).modality == "CT"


def test_a_phantom_is_read_voxel_for_voxel(tmp_path: Path) -> None:
    patient = draw(4, PhantomOptions(matrix=128, slice_spacing_mm=5.0))
    phantom = render(patient, patient.grid())
    for number, dataset in enumerate(series_datasets(phantom, contrast=True)):
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)

    volume = FileReader(read_at_key, Mr()).read(Series(read_headers(tmp_path).headers), HEAD_CT)

    assert (volume.hu == phantom.contrast_hu).all()
    assert volume.grid.spacing_zyx_mm == pytest.approx(phantom.grid.spacing_zyx_mm, abs=1e-3)
    assert volume.grid.origin_lps_mm == pytest.approx(phantom.grid.origin_lps_mm, abs=1e-2)
