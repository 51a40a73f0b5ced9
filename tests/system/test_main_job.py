"""The main job with peers nobody here wrote: DCMTK sends, Orthanc receives, real Triton and PostgreSQL in between.

A pair of CT series, one of them over four interleaved associations in random order, becomes two RTSTRUCTs at Orthanc
that dciodvfy accepts, that plastimatch reads as we do, and that hold the phantom's anatomy. Another program is told of
it by webhook, and a collector gets its trace.
"""

from __future__ import annotations

import random
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from npc_contour.cli.demo_report import Received, read_received
from npc_contour.cli.local_run import Running, destination_toml
from npc_testkit.collector import Collector, collector
from npc_testkit.orthanc import Orthanc, orthanc
from npc_testkit.peers import peer_environment, require_tool, run_tool
from npc_testkit.phantom_files import phantom_folder
from npc_testkit.receivers import Receiver, receiver
from npc_testkit.service_process import site, wait_for_jobs

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
SLICES = 76
SECRET = b"a secret of thirty-two bytes, ok"
OTHERS = """
[tracing]
endpoint = "{endpoint}"

[[webhooks]]
name = "ris"
url = "{url}"
events = ["case.created", "delivery.sent"]
secret_file = "{secret}"
networks = ["127.0.0.0/8"]
"""


@dataclass(frozen=True, slots=True)
class MainJob:
    """What one run left behind."""

    service: Running
    peer: Orthanc
    patient: Path
    received: dict[str, Received]
    told: Receiver
    traced: Collector


@pytest.fixture(scope="module")
def patient() -> Path:
    return phantom_folder("--seed", "3", "--slice-spacing", "5", "--slices", str(SLICES), "--matrix", "512")


@pytest.fixture(scope="module")
def job(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainJob]:
    folder = tmp_path_factory.mktemp("job")
    with ExitStack() as processes:
        peer = processes.enter_context(orthanc(folder / "orthanc"))
        told, traced = processes.enter_context(receiver(SECRET)), processes.enter_context(collector())
        (folder / "ris.secret").write_text("whsec_" + b64encode(SECRET).decode(), encoding="utf-8")
        (folder / "ris.secret").chmod(0o600)
        destination = destination_toml("tps", peer.ae_title, peer.dicom_port)
        more = OTHERS.format(url=told.url, secret=folder / "ris.secret", endpoint=traced.endpoint)
        running = processes.enter_context(site(folder / "site", destination, more=more))
        send_with_dcmtk(patient, running.dicom_port)
        wait_for_jobs(running, {"npc_oar_gtv": "sent", "ln_ctv": "sent"})
        received = {}
        for number, data in enumerate(peer.wait_for("RTSTRUCT", 2)):
            path = folder / f"{number}.dcm"
            path.write_bytes(data)
            item = read_received(path, patient)
            received["ln_ctv" if len(item.rois) == 6 else "npc_oar_gtv"] = item
        yield MainJob(running, peer, patient, received, told, traced)


def send_with_dcmtk(patient: Path, port: int) -> None:
    """Send the first series over one association, the second over four at once in random order."""
    first, second = sorted({path.parent for path in patient.rglob("*.dcm")})
    command = [require_tool("storescu"), "-R", "-aec", "NPC_CONTOUR", "127.0.0.1", str(port)]
    subprocess.run([*command, *map(str, sorted(first.glob("*.dcm")))], check=True, env=peer_environment(), timeout=120)
    files = sorted(map(str, second.glob("*.dcm")))
    random.Random(5).shuffle(files)
    senders = [subprocess.Popen([*command, *files[start::4]], env=peer_environment()) for start in range(4)]
    assert [sender.wait(timeout=120) for sender in senders] == [0, 0, 0, 0]


def test_every_image_was_acknowledged_and_kept(job: MainJob) -> None:
    series = job.service.get("/series")

    assert [(row["images"], row["state"]) for row in series] == [(SLICES, "ready"), (SLICES, "ready")]


def test_two_structure_sets_arrive_with_every_roi(job: MainJob) -> None:
    assert {name: len(item.rois) for name, item in job.received.items()} == {"npc_oar_gtv": 47, "ln_ctv": 6}


def test_contours_are_the_phantoms_anatomy(job: MainJob) -> None:
    dice = [roi.dice for roi in job.received["npc_oar_gtv"].rois if roi.dice is not None]
    nodal = [roi.dice for roi in job.received["ln_ctv"].rois if roi.dice is not None]

    assert np.mean(dice) > 0.6
    assert np.mean(nodal) > 0.7


def test_structure_sets_are_unapproved_and_marked_demo(job: MainJob) -> None:
    for item in job.received.values():
        assert item.content.approval_status == "UNAPPROVED"
        assert "DEMO" in item.content.label.upper()
        assert all("DEMO" in roi.description.upper() for roi in item.content.rois)


@pytest.mark.parametrize("pipeline", ["npc_oar_gtv", "ln_ctv"])
def test_dciodvfy_finds_no_error(job: MainJob, pipeline: str) -> None:
    report = run_tool("dciodvfy", job.received[pipeline].path)

    assert "Error" not in report.stderr + report.stdout


def test_dciodvfy_finds_no_error_in_the_phantom(patient: Path) -> None:
    for folder in {path.parent for path in patient.rglob("*.dcm")}:
        report = run_tool("dciodvfy", min(folder.glob("*.dcm")))
        assert "Error" not in report.stderr + report.stdout


def test_plastimatch_reads_what_we_read(job: MainJob, tmp_path: Path) -> None:
    item = job.received["npc_oar_gtv"]
    planning = next(
        path.parent
        for path in sorted(job.patient.rglob("*.dcm"))
        if item.content.image_sop_instance_uids[0] in path.read_bytes()[:4096].decode("latin-1")
    )
    done = run_tool(
        "plastimatch", "convert", "--input", item.path, "--referenced-ct", planning,
        "--output-prefix", tmp_path / "masks", "--prefix-format", "nii.gz", timeout_s=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    voxel_cc = item.volume.grid.voxel_cc
    compared = 0
    for roi in item.rois:
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "masks" / f"{roi.name}.nii.gz"))) > 0
        if roi.volume_cc > 1.0:
            assert np.count_nonzero(mask) * voxel_cc == pytest.approx(roi.volume_cc, rel=0.03), roi.name
            compared += 1
    assert compared > 25


def test_timeline_tells_each_step(job: MainJob) -> None:
    for row in job.service.get("/jobs"):
        details = job.service.get(f"/jobs/{row['case_id']}")
        assert details["roles"]
        assert [event["event"] for event in details["timeline"]]
        assert details["deliveries"][0]["state"] == "sent"


def test_another_program_is_told_of_each_case_and_delivery(job: MainJob) -> None:
    cases = {row["case_id"] for row in job.service.get("/jobs")}
    expected = {(event, case) for event in ("case.created", "delivery.sent") for case in cases}
    deadline_s = time.monotonic() + 30
    while len(job.told.told) < len(expected) and time.monotonic() < deadline_s:
        time.sleep(0.1)

    assert {(one.body["type"], one.body["data"]["case_id"]) for one in job.told.told} == expected
    assert all(one.signed for one in job.told.told)
    assert b"PHANTOM" not in b"".join(one.raw for one in job.told.told)


def test_one_trace_goes_from_the_receiver_through_the_worker_into_triton(job: MainJob) -> None:
    (trace_id,) = {span.trace_id for span in job.traced.named("receive")}
    job.traced.wait_for(lambda: bool(job.traced.of_triton(trace_id)))

    ours = {span.name for span in job.traced.spans if span.trace_id == trace_id}
    assert {"receive", "segment_case", "send"} <= ours
    own = {span.span_id for span in job.traced.spans if span.service == "npc-contour"}
    assert own & {span.parent_id for span in job.traced.of_triton(trace_id)}


def test_no_log_line_names_the_patient(job: MainJob) -> None:
    assert "PHANTOM^" not in job.service.log.read_text(encoding="utf-8")
