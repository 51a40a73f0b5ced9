"""What a hospital really sends, from DCMTK: each series ends in the right state, with the reason, and nothing is lost.

One service takes it all at once: one phase alone with a slice that comes late and a Chinese name, everything sent
again, a known UID with different content, gaps, localizers, two candidates, other frames and body parts, MR, three
compressed transfer syntaxes, and a destination on another machine that demo results must not reach.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from npc_contour.cli import local_run
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.peers import run_tool
from npc_testkit.phantom_files import phantom_folder

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
NAME = "张三^小明"
PARTNER_WAIT_S = 8
MR_IMAGE_STORAGE = UID("1.2.840.10008.5.1.4.1.1.4")
SITE = local_run.SITE.replace("quiet_s = 5", "quiet_s = 5\nheld_after_s = 8").replace(
    "partner_wait_s = 60", f"partner_wait_s = {PARTNER_WAIT_S}"
)
FAR = '\n[[destinations]]\nname = "far"\nae_title = "FAR"\nhost = "192.0.2.1"\nport = 104\n'
COMPRESSED = {"JPEG-LS": ("dcmcjpls", "-xt"), "JPEG lossless": ("dcmcjpeg", "-xs"), "RLE": ("dcmcrle", "-xr")}


@dataclass(frozen=True, slots=True)
class Hospital:
    """A running service and what was sent to it; `studies` has the Study Instance UID of each scenario."""

    service: local_run.Running
    folder: Path
    studies: dict[str, str] = field(default_factory=dict)

    def send(self, scenario: str, datasets: Sequence[Dataset], tool: str = "", option: str = "") -> int:
        """Write and send a series with storescu, compressed by a DCMTK tool if one is named; return its exit status."""
        self.studies[scenario] = datasets[0].StudyInstanceUID
        files = write_series(self.folder / f"{scenario}-{time.monotonic_ns()}", datasets)
        if tool:
            assert all(run_tool(tool, file, file).returncode == 0 for file in files)
        return self.store(files, *([option] if option else []))

    def store(self, files: Sequence[Path], *options: str) -> int:
        """Send files with storescu over one association."""
        to = ("-R", *options, "-aec", "NPC_CONTOUR", "127.0.0.1", str(self.service.dicom_port))
        return run_tool("storescu", *to, *files).returncode

    def series(self, scenario: str) -> list[dict[str, Any]]:
        """The series of a scenario, as REST tells them."""
        rows: list[dict[str, Any]] = self.service.get("/series")
        return [row for row in rows if row["study_instance_uid"] == self.studies[scenario]]

    def jobs(self, scenario: str, pipeline: str) -> list[dict[str, Any]]:
        """The cases of a scenario, oldest first."""
        rows: list[dict[str, Any]] = self.service.get(f"/jobs?pipeline={pipeline}&limit=100")
        mine = [row for row in rows if row["study_instance_uid"] == self.studies[scenario]]
        return sorted(mine, key=lambda row: str(row["created_at"]))

    def ended(self, scenario: str, pipeline: str, state: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait until the newest case of a scenario is in a state; return it."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            jobs = self.jobs(scenario, pipeline)
            if jobs and jobs[-1]["state"] == state:
                return jobs[-1]
            time.sleep(0.3)
        raise TimeoutError(f"{scenario}, {pipeline}: {self.jobs(scenario, pipeline)}, wanted {state}")


def plan(seed: str, **changes: Any) -> CtPlan:
    """A small CT of its own study and frame, long enough for the pipelines."""
    return CtPlan(**{"seed": seed, "study_seed": seed, "frame_seed": seed, "slices": 44, **changes})


@pytest.fixture(scope="module")
def one_phase() -> list[Dataset]:
    """A phantom's non-contrast series, ascending, under a name that only GB18030 can write."""
    folder = phantom_folder("--seed", "5", "--slice-spacing", "5", "--slices", "60", "--matrix", "512")
    datasets = [pydicom.dcmread(path) for path in (folder / "noncontrast").glob("*.dcm")]
    for dataset in datasets:
        dataset.SpecificCharacterSet, dataset.PatientName, dataset.PatientID = "GB18030", NAME, "HIDDEN-7"
    return sorted(datasets, key=lambda dataset: float(dataset.ImagePositionPatient[2]))


@pytest.fixture(scope="module")
def hospital(one_phase: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("intake")
    with ExitStack() as processes:
        port = processes.enter_context(local_run.planning_system(folder / "tps"))
        config = folder / "site.toml"
        config.write_text(SITE + local_run.destination_toml("tps", "TPS", port) + FAR, encoding="utf-8")
        hospital = Hospital(processes.enter_context(local_run.service(config)), folder)
        assert hospital.send("one phase", one_phase[:-1]) == 0
        send_small_ones(hospital)
        yield hospital


def send_small_ones(hospital: Hospital) -> None:
    gap = ct_datasets(plan("gap"))
    assert hospital.send("gap", [*gap[:20], *gap[21:]]) == 0
    localizer = plan("localizer", slices=2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert hospital.send("localizer", ct_datasets(localizer)) == 0
    for number, agent in enumerate(("", "Iohexol", "Iohexol")):
        two = plan(f"two-{number}", study_seed="two", frame_seed="two", contrast_agent=agent)
        assert hospital.send("two candidates", ct_datasets(two)) == 0
    for number, agent in enumerate(("", "Iohexol")):
        other = plan(f"frame-{number}", study_seed="frames", contrast_agent=agent)
        assert hospital.send("two frames", ct_datasets(other)) == 0
    assert hospital.send("abdomen", ct_datasets(plan("abdomen", body_part="ABDOMEN"))) == 0
    mr = ct_datasets(plan("mr"))
    for dataset in mr:
        dataset.SOPClassUID = MR_IMAGE_STORAGE
        dataset.file_meta.MediaStorageSOPClassUID = MR_IMAGE_STORAGE
        dataset.Modality = "MR"
    assert hospital.send("MR", mr) == 0
    for name, (tool, option) in COMPRESSED.items():
        assert hospital.send(name, ct_datasets(plan(name, rows=64, columns=64)), tool, option) == 0


def received(hospital: Hospital, case: dict[str, Any]) -> Path:
    """The RTSTRUCT of a case as the planning system has it."""
    details = hospital.service.get(f"/jobs/{case['case_id']}")
    return hospital.folder / "tps" / f"RS.{details['deliveries'][0]['sop_instance_uid']}.dcm"


def test_one_phase_alone_gives_nodes_and_a_refusal_that_says_what_never_came(hospital: Hospital) -> None:
    nodes = hospital.ended("one phase", "ln_ctv", "sent")
    organs = hospital.ended("one phase", "npc_oar_gtv", "refused")

    assert f"no series for the role contrast_ct arrived within {PARTNER_WAIT_S} s" in organs["reason"]
    deliveries = {row["destination"]: row for row in hospital.service.get(f"/jobs/{nodes['case_id']}")["deliveries"]}
    assert deliveries["far"]["state"] == "blocked"
    assert deliveries["far"]["attempts"] == 0
    assert "demo" in deliveries["far"]["last_error"]


def test_a_chinese_name_comes_back_byte_for_byte_and_dcmtk_converts_the_object(
    hospital: Hospital, tmp_path: Path
) -> None:
    path = received(hospital, hospital.ended("one phase", "ln_ctv", "sent"))

    assert NAME.encode("gb18030") in path.read_bytes()
    for option in ("+ti", "+te"):
        done = run_tool("dcmconv", option, path, tmp_path / f"{option}.dcm")
        assert done.returncode == 0, done.stderr
        assert pydicom.dcmread(tmp_path / f"{option}.dcm") == pydicom.dcmread(path)


def test_sending_everything_again_changes_nothing(hospital: Hospital) -> None:
    hospital.ended("one phase", "ln_ctv", "sent")
    before = hospital.jobs("one phase", "ln_ctv")

    files = [path for path in hospital.folder.glob("one phase-*/*") if path.is_file()]
    assert hospital.store(files) == 0
    time.sleep(4.0)

    assert hospital.jobs("one phase", "ln_ctv") == before


def test_a_late_slice_makes_a_new_structure_set_that_names_its_predecessor(
    hospital: Hospital, one_phase: list[Dataset]
) -> None:
    first = hospital.ended("one phase", "ln_ctv", "sent")
    old = pydicom.dcmread(received(hospital, first))

    assert hospital.send("one phase", one_phase[-1:]) == 0
    deadline_s = time.monotonic() + 60
    while len(hospital.jobs("one phase", "ln_ctv")) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.3)
    second = hospital.ended("one phase", "ln_ctv", "sent")

    assert (first["generation"], second["generation"]) == (1, 2)
    assert hospital.jobs("one phase", "ln_ctv")[0]["state"] == "superseded"
    new = pydicom.dcmread(received(hospital, second))
    assert new.SOPInstanceUID != old.SOPInstanceUID
    assert new.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID


def test_other_bytes_under_a_known_uid_are_refused_and_the_first_stay(hospital: Hospital) -> None:
    path = next(iter(hospital.folder.glob("abdomen-*/*")))
    dataset = pydicom.dcmread(path)
    dataset.PixelData = bytes(len(dataset.PixelData))
    changed = hospital.folder / "changed.dcm"
    dataset.save_as(changed)

    assert hospital.store([changed]) != 0
    assert hospital.store([path]) == 0


def test_a_missing_slice_holds_the_series_until_it_comes(hospital: Hospital) -> None:
    deadline_s = time.monotonic() + 30
    while hospital.series("gap")[0]["state"] != "held" and time.monotonic() < deadline_s:
        time.sleep(0.3)
    held = hospital.series("gap")[0]
    assert held["state"] == "held"
    assert "gap of 5.00 mm" in json.dumps(held)

    assert hospital.send("gap", [ct_datasets(plan("gap"))[20]]) == 0
    deadline_s = time.monotonic() + 30
    while hospital.series("gap")[0]["state"] != "ready" and time.monotonic() < deadline_s:
        time.sleep(0.3)
    assert (hospital.series("gap")[0]["state"], hospital.series("gap")[0]["images"]) == ("ready", 44)


def test_a_localizer_is_left_aside(hospital: Hospital) -> None:
    (row,) = hospital.series("localizer")

    assert row["state"] == "aside"
    assert "localizer" in json.dumps(row)


@pytest.mark.parametrize(
    ("scenario", "pipeline", "reason"),
    [
        ("two frames", "npc_oar_gtv", "different frames of reference"),
        ("abdomen", "ln_ctv", "body part is 'ABDOMEN'"),
        ("MR", "ln_ctv", "modality is MR, CT is asked"),
        *((name, "ln_ctv", "air lies at") for name in COMPRESSED),
    ],
)
def test_what_cannot_be_contoured_is_refused_with_the_reason(
    hospital: Hospital, scenario: str, pipeline: str, reason: str
) -> None:
    assert reason in hospital.ended(scenario, pipeline, "refused")["reason"]


def test_two_candidates_for_a_role_are_a_persons_choice(hospital: Hospital) -> None:
    case = hospital.ended("two candidates", "npc_oar_gtv", "ambiguous")

    assert "more than one choice" in case["reason"]


def test_the_log_is_json_without_names_and_without_stack_traces(hospital: Hospital) -> None:
    text = hospital.service.log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]

    assert not [word for word in (NAME, "小明", "HIDDEN-7", "Testkit", "TK0001") if word in text]
    assert [line for line in lines if "exception" in line] == []
    assert any(line["event"] == "instance.conflict" for line in lines)
