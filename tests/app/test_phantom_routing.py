"""The synthetic patient, written and read back as DICOM, is routed by the product's own pipeline definitions."""

from __future__ import annotations

import random
from pathlib import Path

from npc_contour.adapters.dicom.phantom_writer import series_datasets
from npc_contour.adapters.dicom.reader import read_headers
from npc_contour.catalog import read_pipeline
from npc_contour.core.grouping import group
from npc_contour.core.phantom import PhantomOptions, draw, render
from npc_contour.core.roles import Candidate
from npc_contour.core.routing import route
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

    assert grouped.aside == ()
    for name, expected in (
        ("ln_ctv", {"planning_ct": ""}),
        ("npc_oar_gtv", {"planning_ct": "", "contrast_ct": "IOHEXOL"}),
    ):
        case = routes[name].case
        assert case is not None, routes[name].reasons
        assert {role: series.first.contrast_bolus_agent for role, series in case.series.items()} == expected
        assert routes[name].waiting_for == ()
