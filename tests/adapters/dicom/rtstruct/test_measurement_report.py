"""A measurement report is a valid TID 1500 document: what was measured, of whom and where, the same each time."""

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import MeasurementReport, VolumetricROIMeasurementsAndQualitativeEvaluations, srread
from pydicom import dcmread

from npc_contour.adapters.dicom.read.reader import read_at_key, read_headers, read_volume
from npc_contour.app.tools import RtstructWriter, SrWriter
from npc_contour.application.contouring import Request, contour
from npc_contour.application.measuring import Measured, measure_case, measured_report, measurements_csv
from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_contour.domain.profiles import GENERIC
from npc_contour.domain.series import Series
from npc_contour.domain.volumes import LabelMap
from npc_phantom.chest_patient import ChestOptions, draw_chest, render_chest
from npc_phantom.kinds import write_chest, write_mr
from npc_phantom.mr import MrOptions, draw_mr, render_mr
from npc_testkit.bench import contract
from npc_testkit.peers import run_tool

MADE_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def measured(pipeline_name: str, folder: Path, labels: np.ndarray) -> tuple[Measured, bytes]:
    """Measure a phantom by its own truth, as if a network had found just that."""
    pipeline = read_pipeline(PIPELINES_DIR / f"{pipeline_name}.toml")
    series = Series(read_headers(folder).headers)
    volume = read_volume(series)
    request = Request(
        pipeline=pipeline,
        contracts=(contract(pipeline_name, 1),),
        planning=series,
        uid_seed="case/1",
        made_at=MADE_AT,
    )
    label_maps = {pipeline_name: LabelMap(labels, volume.grid, pipeline_name)}
    done = contour(request, label_maps, volume, RtstructWriter(read_at_key, GENERIC), {})
    found = measure_case(request, label_maps, volume, done.encoded, SrWriter(read_at_key), {})
    assert found is not None
    return found, done.encoded.data


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, bytes]:
    patient = draw_chest(3, ChestOptions(matrix=160, slice_spacing_mm=4.0, nodes=4))
    phantom = render_chest(patient, patient.grid())
    written = write_chest(phantom, tmp_path_factory.mktemp("chest"))
    return measured("mediastinal_ln", written.series["contrast"], (phantom.node_labels > 0).astype(np.uint8))


@pytest.fixture(scope="module")
def mr(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, bytes]:
    phantom = render_mr(*draw_mr(3, MrOptions(matrix=96, slice_spacing_mm=5.0)))
    written = write_mr(phantom, tmp_path_factory.mktemp("mr"))
    return measured("npc_mr_gtv", written.series["t1c"], (phantom.gtv_labels == 1).astype(np.uint8))


def data_of(found: Measured) -> bytes:
    assert found.encoded is not None
    return found.encoded.data


def groups_of(found: Measured) -> list[VolumetricROIMeasurementsAndQualitativeEvaluations]:
    content = srread(io.BytesIO(data_of(found))).content
    assert isinstance(content, MeasurementReport)
    return content.get_volumetric_roi_measurement_groups()


@pytest.mark.parametrize("kind", ["chest", "mr"])
def test_validator_has_nothing_to_say(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    found, _ = request.getfixturevalue(kind)
    path = tmp_path / "sr.dcm"
    path.write_bytes(data_of(found))

    said = run_tool("dciodvfy", path).stderr.splitlines()

    assert any("SR" in line for line in said)
    assert [line for line in said if line.startswith("Error")] == []


def test_every_node_is_a_group_with_its_numbers(chest: tuple[Measured, bytes]) -> None:
    found, _ = chest
    groups = groups_of(found)

    assert len(groups) == len(found.measurements.nodes) > 1
    for node, group in zip(found.measurements.nodes, groups, strict=True):
        values = {m.name.value: m.value for m in group.get_measurements()}
        assert group.tracking_identifier == f"GTVn_Mediastinum_{node.number:02d}"
        assert values["118565006"] == pytest.approx(node.volume_cc, rel=1e-4)
        assert values["103339001"] == pytest.approx(node.long_axis.length_mm, rel=1e-4)
        assert values["103340004"] == pytest.approx(node.short_axis.length_mm, rel=1e-4)
        (evaluation,) = group.get_qualitative_evaluations()
        assert getattr(evaluation.value, "value", None) == ("NODE10MM" if node.enlarged else "NODELT10MM")
    assert len({group.tracking_uid for group in groups}) == len(groups)


def test_shape_of_the_tumour_is_in_the_report(mr: tuple[Measured, bytes]) -> None:
    found, _ = mr
    (group,) = groups_of(found)
    shape = found.measurements.shape

    assert shape is not None
    values = [m.value for m in group.get_measurements()]
    assert values == pytest.approx([shape.volume_cc, shape.surface_cm2, shape.diameter_mm, shape.regularity], rel=1e-4)


def test_report_is_of_the_same_patient_and_names_the_structure_set(chest: tuple[Measured, bytes]) -> None:
    found, rtstruct = chest
    report, structures = dcmread(io.BytesIO(data_of(found))), dcmread(io.BytesIO(rtstruct))

    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert report[keyword].value == structures[keyword].value
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        item.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert structures.SOPInstanceUID in evidence
    assert len(evidence) > 3
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert report.SeriesDescription.startswith("DEMO - NOT FOR CLINICAL USE")
    assert report.SeriesInstanceUID != structures.SeriesInstanceUID


def test_doing_it_twice_makes_the_same_object(chest: tuple[Measured, bytes], tmp_path: Path) -> None:
    patient = draw_chest(3, ChestOptions(matrix=160, slice_spacing_mm=4.0, nodes=4))
    phantom = render_chest(patient, patient.grid())
    written = write_chest(phantom, tmp_path)
    again, _ = measured("mediastinal_ln", written.series["contrast"], (phantom.node_labels > 0).astype(np.uint8))

    assert data_of(again) == data_of(chest[0])


def test_table_has_a_line_for_each_node(chest: tuple[Measured, bytes]) -> None:
    rows = measured_report(chest[0])["measurements"]
    lines = measurements_csv(rows).splitlines()

    assert lines[0] == "node,volume_cc,long_axis_mm,short_axis_mm,enlarged,x_mm,y_mm,z_mm,slice"
    assert len(lines) == 1 + len(chest[0].measurements.nodes)


def test_table_of_a_shape_has_one_line(mr: tuple[Measured, bytes]) -> None:
    lines = measurements_csv(measured_report(mr[0])["measurements"]).splitlines()

    assert lines[0] == "roi,volume_cc,surface_cm2,diameter_mm,regularity,pieces"
    assert lines[1].startswith("GTVp_MR,")
