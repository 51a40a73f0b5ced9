"""Pipelines beside the first two, over the wire: what is sent comes back as RTSTRUCT and, where measured, as SR.

DCMTK sends a chest CT, three MR sequences and a head-and-neck CT of one phase; a DCMTK receiver gets the RTSTRUCTs and
the SRs beside them; dciodvfy accepts all.
"""

from __future__ import annotations

import csv
import io
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from npc_contour.cli.local_run import Running, destination_toml
from npc_testkit.peers import peer_environment, require_tool, run_tool, storescp
from npc_testkit.phantom_files import phantom_folder
from npc_testkit.service_process import site

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
PIPELINES = {"mediastinal_ln", "npc_mr_gtv", "han_oar"}
PHANTOMS = {
    "chest": ("--kind", "chest", "--seed", "4", "--matrix", "512", "--slice-spacing", "5"),
    "mr": ("--kind", "mr", "--seed", "4", "--slice-spacing", "5"),
    "han": ("--kind", "npc", "--seed", "4", "--matrix", "512", "--slice-spacing", "5", "--slices", "70"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run left behind."""

    service: Running
    received: dict[str, list[Dataset]]
    files: tuple[Path, ...]

    def case(self, pipeline: str) -> str:
        return _delivered(self.service)[pipeline]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("pipelines")
    patients = {name: phantom_folder(*options) for name, options in PHANTOMS.items()}
    inbox = folder / "inbox"
    inbox.mkdir()
    with ExitStack() as processes:
        port = processes.enter_context(storescp(inbox))
        tps = destination_toml("tps", "TPS", port) + "measurements = true\n"
        running = processes.enter_context(site(folder / "site", tps, pipelines=sorted(PIPELINES)))
        studies = {"chest": ("contrast",), "mr": ("t1", "t2", "t1c"), "han": ("contrast",)}
        for study, series in studies.items():
            command = [require_tool("storescu"), "+sd", "+r", "-R", "-aec", "NPC_CONTOUR", "127.0.0.1"]
            folders = [str(patients[study] / name) for name in series]
            subprocess.run(
                [*command, str(running.dicom_port), *folders], check=True, env=peer_environment(), timeout=120
            )
        _wait_for_cases(running)
        files = _wait_for(inbox, 5)
        received: dict[str, list[Dataset]] = {}
        for path in files:
            received.setdefault(str((read := dcmread(path)).Modality), []).append(read)
        yield Run(running, received, files)


def _delivered(running: Running) -> dict[str, str]:
    """The case of each pipeline that was sent."""
    done = [row for row in running.get("/jobs") if row["state"] in {"sent", "verified"}]
    return {str(row["pipeline"]): str(row["case_id"]) for row in done}


def _wait_for_cases(running: Running) -> None:
    deadline = time.monotonic() + 300
    while set(_delivered(running)) != PIPELINES:
        if time.monotonic() > deadline:
            states = [(row["pipeline"], row["state"], row["reason"]) for row in running.get("/jobs")]
            raise TimeoutError(f"delivered {sorted(_delivered(running))}, wanted {sorted(PIPELINES)}: {states}")
        time.sleep(0.5)


def _wait_for(inbox: Path, count: int) -> tuple[Path, ...]:
    deadline = time.monotonic() + 120
    files: tuple[Path, ...] = ()
    while time.monotonic() < deadline:
        files = tuple(sorted(path for path in inbox.iterdir() if path.is_file()))
        if len(files) >= count:
            return files
        time.sleep(0.5)
    raise AssertionError(f"{len(files)} objects arrived, {count} are expected")


def test_three_structure_sets_and_two_reports_arrive(run: Run) -> None:
    assert len(run.received["RTSTRUCT"]) == 3
    assert len(run.received["SR"]) == 2
    names = {roi.ROIName for ds in run.received["RTSTRUCT"] for roi in ds.StructureSetROISequence}
    assert {"GTVn_Mediastinum", "GTVp_MR", "A_Aorta", "Musc_Constrict_S"} <= names


def test_no_pipeline_refuses_a_study_that_is_not_for_it(run: Run) -> None:
    cases = [(row["pipeline"], row["state"]) for row in run.service.get("/jobs")]
    assert {state for _, state in cases} <= {"sent", "verified"}
    assert len(cases) == len(PIPELINES)
    details = run.service.get(f"/jobs/{run.case('npc_mr_gtv')}")
    study = run.service.get(f"/studies/{details['job']['study_instance_uid']}")
    (told,) = [event["detail"] for event in study["timeline"] if event["event"] == "pipelines.unconcerned"]
    assert "mediastinal_ln needs contrast_ct" in told
    assert "han_oar needs planning_ct" in told


def test_validator_accepts_every_object(run: Run) -> None:
    for path in run.files:
        said = run_tool("dciodvfy", path)
        assert [line for line in (said.stderr + said.stdout).splitlines() if line.startswith("Error")] == []


def test_report_names_the_structure_set_beside_it(run: Run) -> None:
    structure_sets = {str(ds.StudyInstanceUID): str(ds.SOPInstanceUID) for ds in run.received["RTSTRUCT"]}
    for report in run.received["SR"]:
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        named = {
            str(item.ReferencedSOPInstanceUID)
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        assert structure_sets[str(report.StudyInstanceUID)] in named


def test_rest_and_table_tell_the_same_nodes(run: Run) -> None:
    case = run.case("mediastinal_ln")
    found = run.service.get(f"/jobs/{case}")["measurements"]
    table = httpx.get(f"http://127.0.0.1:{run.service.web_port}/jobs/{case}/measurements.csv", timeout=30)

    rows = list(csv.DictReader(io.StringIO(table.raise_for_status().text)))
    assert len(rows) == len(found["nodes"]) > 0
    assert [float(row["short_axis_mm"]) for row in rows] == [node["short_axis_mm"] for node in found["nodes"]]


def test_tumour_s_shape_is_plausible(run: Run) -> None:
    shape = run.service.get(f"/jobs/{run.case('npc_mr_gtv')}")["measurements"]["shape"]

    assert 2 < shape["volume_cc"] < 200
    assert 0.1 < shape["regularity"] <= 1


def test_what_is_not_measured_has_no_table(run: Run) -> None:
    answer = httpx.get(
        f"http://127.0.0.1:{run.service.web_port}/jobs/{run.case('han_oar')}/measurements.csv", timeout=30
    )

    assert answer.status_code == 404


def test_both_objects_are_deliveries_of_their_own(run: Run) -> None:
    details = run.service.get(f"/jobs/{run.case('npc_mr_gtv')}")

    assert {row["what"] for row in details["deliveries"]} == {"rtstruct", "measurements"}
    assert {row["state"] for row in details["deliveries"]} <= {"sent", "verified"}
