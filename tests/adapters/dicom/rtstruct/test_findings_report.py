"""Findings as SR and as Encapsulated PDF are valid DICOM that says each of them, the same each time."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr import MeasurementReport, srread
from pydicom import dcmread

from npc_contour.adapters.dicom.read.reader import read_at_key, read_headers
from npc_contour.adapters.dicom.rtstruct.findings_report import pdf_of
from npc_contour.app.tools import SrWriter
from npc_contour.application.ports import EncodedReport, EncodedStructureSet, FindingsReport
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.series import Series
from npc_testkit.ct_series import CtPlan
from npc_testkit.peers import run_tool
from npc_testkit.rtstructs import Planning, encoded, planning_series

SIDE = Finding(FindingCode.SIDE, Severity.STOP, "Eye_L", "Eye_L: lies 30 mm right of the middle of the head", 107.5)
VALUES = Finding(FindingCode.HU_SCALE, Severity.CHECK, "", "planning_ct: air lies at -900 HU")


def reports(planning: Planning) -> tuple[EncodedReport, EncodedReport]:
    z, y, x = np.indices(planning.volume.hu.shape)
    data = encoded(planning, {"Eye_L": np.asarray(((y - 20) ** 2 + (x - 24) ** 2 <= 64) & (z >= 3) & (z < 9))})
    content = FindingsReport(
        findings=(SIDE, VALUES), label="NPC OAR", demo=True, uid_seed="case/1", made_at=datetime(2026, 3, 1, tzinfo=UTC)
    )
    series = Series(read_headers(planning.folder).headers)
    beside = EncodedStructureSet("1.2.3", data, 1.0)
    return SrWriter(read_at_key).write_findings(content, planning.volume, series, beside)


@pytest.fixture(scope="module")
def planning(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    plan = CtPlan(slices=12, rows=40, columns=48, pixel_spacing_mm=(1.0, 1.0))
    return planning_series(tmp_path_factory.mktemp("ct"), plan, overrides={"PatientID": "PHANTOM-1"})


@pytest.fixture(scope="module")
def made(planning: Planning) -> tuple[EncodedReport, EncodedReport]:
    return reports(planning)


@pytest.mark.parametrize(("which", "kind"), [(0, "SR"), (1, "EncapsulatedPDF")])
def test_validator_has_nothing_to_say(
    made: tuple[EncodedReport, EncodedReport], tmp_path: Path, which: int, kind: str
) -> None:
    path = tmp_path / "made.dcm"
    path.write_bytes(made[which].data)

    said = run_tool("dciodvfy", path).stderr.splitlines()

    assert any(kind in line for line in said)
    assert [line for line in said if line.startswith("Error")] == []


def test_the_report_says_code_severity_sentence_and_slice(
    made: tuple[EncodedReport, EncodedReport], planning: Planning, tmp_path: Path
) -> None:
    told, _ = made
    content = srread(io.BytesIO(told.data)).content
    assert isinstance(content, MeasurementReport)
    first, second = content.get_image_measurement_groups()

    assert first.tracking_identifier == "Eye_L: side"
    assert second.tracking_identifier == "images: hu_scale"
    (severity,) = first.get_qualitative_evaluations()
    assert getattr(severity.value, "meaning", "") == "stop"
    (image,) = first.source_images
    assert image.referenced_sop_instance_uid in planning.volume.sop_instance_uids
    path = tmp_path / "told.dcm"
    path.write_bytes(told.data)
    text = run_tool("dsrdump", "+Pl", path).stdout
    assert SIDE.sentence in text
    assert VALUES.sentence in text


def test_the_page_is_a_pdf_of_the_same_patient(made: tuple[EncodedReport, EncodedReport], planning: Planning) -> None:
    _, page = made
    document = dcmread(io.BytesIO(page.data))

    assert document.SOPInstanceUID == page.sop_instance_uid
    assert document.PatientID == "PHANTOM-1"
    assert document.DocumentTitle == "Findings about 'NPC OAR'"
    assert "DEMO" in document.SeriesDescription
    pdf = pdf_of(page.data)
    assert pdf.startswith(b"%PDF")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert reports(planning)[1].data == page.data, "the same bytes each time"
    assert reports(planning)[0].sop_instance_uid != page.sop_instance_uid
