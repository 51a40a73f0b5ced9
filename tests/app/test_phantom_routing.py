"""The synthetic patient, written and read back as DICOM, is routed by the product's own pipeline definitions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.read.reader import read_headers
from npc_contour.catalog import read_pipeline
from npc_contour.core.grouping import group
from npc_contour.core.roles import Candidate
from npc_contour.core.routing import route
from npc_contour.domain.pipelines import Route
from npc_phantom import PhantomOptions, draw, render
from npc_phantom.chest_patient import ChestOptions, draw_chest, render_chest
from npc_phantom.kinds import write_chest, write_mr
from npc_phantom.mr import MrOptions, draw_mr, render_mr
from npc_phantom.writer import series_datasets
from npc_testkit.phantoms import PIPELINES


def test_a_phantom_pair_fills_the_roles_of_both_pipelines(tmp_path: Path) -> None:
    patient = draw(4, PhantomOptions(matrix=64, slice_spacing_mm=5.0, field_of_view_mm=120.0))
    phantom = render(patient, patient.grid())
    for contrast in (True, False):
        for number, dataset in enumerate(series_datasets(phantom, contrast=contrast)):
            dataset.save_as(tmp_path / f"{contrast}{number}.dcm", enforce_file_format=True)
    headers = list(read_headers(tmp_path).headers)
    random.Random(2).shuffle(headers)
    pipelines = [read_pipeline(path) for path in sorted(PIPELINES.glob("*.toml"))]

    grouped = group(headers)
    routes = {answer.pipeline: answer for answer in route([Candidate(s) for s in grouped.series], pipelines)}

    assert grouped.excluded == ()
    for name, expected in (
        ("ln_ctv", {"planning_ct": ""}),
        ("npc_oar_gtv", {"planning_ct": "", "contrast_ct": "IOHEXOL"}),
    ):
        case = routes[name].case
        assert case is not None, routes[name].reasons
        assert {role: series.first.contrast_bolus_agent for role, series in case.series.items()} == expected
        assert routes[name].waiting_for == ()
    assert routes["mediastinal_ln"].case is None
    assert routes["npc_mr_gtv"].case is None


def test_a_chest_suits_the_mediastinal_pipeline_alone(tmp_path: Path) -> None:
    patient = draw_chest(4, ChestOptions(matrix=256, slice_spacing_mm=5.0))
    write_chest(render_chest(patient, patient.grid()), tmp_path)

    cases = {answer.pipeline: answer.case for answer in routed(tmp_path) if answer.case is not None}

    assert list(cases) == ["mediastinal_ln"]
    assert list(cases["mediastinal_ln"].series) == ["contrast_ct"]


@pytest.mark.parametrize("saturated", [True, False])
def test_three_mr_sequences_fill_their_roles(saturated: bool, tmp_path: Path) -> None:  # noqa: FBT001
    phantom = render_mr(*draw_mr(4, MrOptions(matrix=160, slice_spacing_mm=6.0, fat_saturation=saturated)))
    written = write_mr(phantom, tmp_path)

    cases = {answer.pipeline: answer for answer in routed(tmp_path) if answer.case is not None}

    assert list(cases) == ["npc_mr_gtv"]
    case = cases["npc_mr_gtv"].case
    assert case is not None
    assert case.planning == "t1c"
    found = {role: Path(series.first.key).parent.name for role, series in case.series.items()}
    assert found == {name: name for name in written.series}


def routed(folder: Path) -> tuple[Route, ...]:
    """Route what lies in a folder to every pipeline of the product."""
    pipelines = [read_pipeline(path) for path in sorted(PIPELINES.glob("*.toml"))]
    return route([Candidate(series) for series in group(read_headers(folder).headers).series], pipelines)
