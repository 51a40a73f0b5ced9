"""The hard pair over real wires: the partner lies in the PACS, the planning CT came twice, one structure set is wanted.

DCMTK sends two copies of the plain series; the service asks Orthanc for the rest of the study by C-FIND and fetches it
by C-GET; a person says on the command line and over REST which copy to plan on; one RTSTRUCT with organs, tumour and
nodal volumes goes back to Orthanc, and dciodvfy accepts it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.uid import generate_uid

from npc_contour.cli import local_run
from npc_contour.cli.local_run import Running, destination_toml
from npc_testkit.archives import OUR_AE
from npc_testkit.orthanc import Orthanc, orthanc
from npc_testkit.peers import peer_environment, require_tool, run_tool
from npc_testkit.phantom_files import phantom_folder
from npc_testkit.service_process import npc_contour, wait_for_jobs

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
PACS = """
[results]
combine = "one"

[[pacs]]
name = "archive"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {port}
"""


@dataclass(frozen=True, slots=True)
class HardPair:
    """What the service made of it.

    Attributes:
        config: its site.toml.
        listed: what `npc-contour assign` printed before anybody had said anything.
        copy_uid: Series Instance UID that was chosen.
    """

    service: Running
    config: Path
    peer: Orthanc
    listed: str
    copy_uid: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HardPair]:
    folder = tmp_path_factory.mktemp("pair")
    patient = phantom_folder("--seed", "3", "--slice-spacing", "5", "--slices", "76", "--matrix", "512")
    copy, copy_uid = second_copy(patient / "noncontrast", folder / "copy")
    with ExitStack() as processes:
        options = {
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomModalities": {"ours": [OUR_AE, "127.0.0.1", 104]},
        }
        peer = processes.enter_context(orthanc(folder / "orthanc", options=options))
        config = folder / "site" / "site.toml"
        config.parent.mkdir()
        settings = local_run.SITE.replace("[routing]\n", '[routing]\npartner_pacs = ["archive"]\n')
        destination = destination_toml("tps", peer.ae_title, peer.dicom_port)
        config.write_text(settings + PACS.format(port=peer.dicom_port) + destination, encoding="utf-8")
        running = processes.enter_context(local_run.service(config))
        store(patient / "contrast", peer.dicom_port, peer.ae_title)
        store(patient / "noncontrast", running.dicom_port, OUR_AE)
        store(copy, running.dicom_port, OUR_AE)
        wait_for_jobs(running, {"npc_oar_gtv": "ambiguous", "ln_ctv": "ambiguous"})
        listed = npc_contour("assign", "--config", config).stdout
        say(running, config, copy_uid)
        wait_for_jobs(running, {"combined": "sent", "npc_oar_gtv": "combined", "ln_ctv": "combined"}, timeout_s=400)
        yield HardPair(running, config, peer, listed, copy_uid)


def second_copy(series: Path, folder: Path) -> tuple[Path, str]:
    """The same slices under UIDs of their own, as an archive that re-imports a study makes them."""
    folder.mkdir()
    uid = generate_uid(entropy_srcs=["copy"])
    for path in sorted(series.glob("*.dcm")):
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID = uid
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=["copy", path.name]
        )
        image.save_as(folder / path.name, enforce_file_format=True)
    return folder, str(uid)


def store(folder: Path, port: int, called: str) -> None:
    """Send a series with DCMTK."""
    command = [require_tool("storescu"), "-R", "-aec", called, "127.0.0.1", str(port)]
    files = sorted(map(str, folder.glob("*.dcm")))
    subprocess.run([*command, *files], check=True, env=peer_environment(), timeout=120)


def say(running: Running, config: Path, copy_uid: str) -> None:
    """Choose the copy for both pipelines, once by command and once over REST."""
    jobs = {job["pipeline"]: job["case_id"] for job in running.get("/jobs")}
    done = npc_contour("assign", jobs["npc_oar_gtv"][:8], f"planning_ct={copy_uid[-12:]}", "--config", config)
    assert done.returncode == 0, done.stderr
    order = {"roles": {"planning_ct": copy_uid}, "reason": "the newer one"}
    url = f"http://127.0.0.1:{running.web_port}/api/v1/jobs/{jobs['ln_ctv']}/assign"
    answer = httpx.post(url, json=order, timeout=30)
    assert answer.status_code == 200, answer.text
    assert copy_uid in answer.json()["done"]


def details(pair: HardPair, pipeline: str) -> dict[str, Any]:
    case_id = next(job["case_id"] for job in pair.service.get("/jobs") if job["pipeline"] == pipeline)
    found: dict[str, Any] = pair.service.get(f"/jobs/{case_id}")
    return found


def test_the_partner_came_from_the_pacs(pair: HardPair) -> None:
    states = [(row["images"], row["state"]) for row in pair.service.get("/series")]
    study = pair.service.get(f"/studies/{details(pair, 'combined')['job']['study_instance_uid']}")

    assert states == [(76, "ready")] * 3
    sought = [event["detail"] for event in study["timeline"] if event["event"] == "partner.sought"]
    assert any("fetched from it: 'HEAD NECK CONTRAST' (76 images)" in detail for detail in sought), sought


def test_the_choice_is_offered_as_commands_to_type(pair: HardPair) -> None:
    assert pair.listed.count("npc-contour assign ") >= 4
    assert pair.copy_uid in pair.listed


def test_one_structure_set_with_every_roi_arrives_on_the_chosen_series(pair: HardPair, tmp_path: Path) -> None:
    (data,) = pair.peer.wait_for("RTSTRUCT", 1)
    time.sleep(3)
    assert len(pair.peer.instances("RTSTRUCT")) == 1
    path = tmp_path / "rt.dcm"
    path.write_bytes(data)
    content = pydicom.dcmread(path)

    names = [roi.ROIName for roi in content.StructureSetROISequence]
    assert len(names) == 53
    assert {"Brainstem", "GTVp", "CTVn_Ib_L"} <= set(names)
    frame = content.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == pair.copy_uid
    report = run_tool("dciodvfy", path)
    assert "Error" not in report.stderr + report.stdout


def test_the_timeline_tells_who_said_what_and_every_verdict(pair: HardPair) -> None:
    for pipeline in ("npc_oar_gtv", "ln_ctv"):
        told = details(pair, pipeline)
        said = [event["detail"] for event in told["timeline"] if event["event"] == "case.assigned"]
        assert len(said) == 1
        assert pair.copy_uid in said[0]
        assert told["choices"] == []
        assert any("assigned by a person" in verdict["reasons"] for verdict in told["verdicts"])
    shown = npc_contour("show", details(pair, "npc_oar_gtv")["job"]["case_id"][:10], "--config", pair.config).stdout
    assert "contrast-enhanced" in " ".join(shown.split())


def test_what_cannot_be_assigned_is_refused_in_words(pair: HardPair) -> None:
    case_id = details(pair, "npc_oar_gtv")["job"]["case_id"]
    url = f"http://127.0.0.1:{pair.service.web_port}/api/v1/jobs/{case_id}/assign"

    unknown = httpx.post(url, json={"roles": {"planning_ct": "7.7.7.7"}}, timeout=30)
    twice = httpx.post(url, json={"roles": dict.fromkeys(("planning_ct", "contrast_ct"), pair.copy_uid)}, timeout=30)
    typed = npc_contour("assign", case_id, "planning_ct", "--config", pair.config)

    assert (unknown.status_code, twice.status_code) == (404, 409)
    assert "one series cannot fill two roles" in twice.json()["detail"]
    assert typed.returncode == 2
    assert "expected ROLE=SERIES" in typed.stderr
