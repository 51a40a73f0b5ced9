"""Checks of tests/cases.toml about identity, spool and clock: a real service, fed by C-STORE; no network answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom

from npc_testkit.cases import Seen
from npc_testkit.fault_clock import HOUR_S, Machine, send_slowly
from npc_testkit.fault_lab import started
from npc_testkit.fault_site import Sender, Service, wait_for
from npc_testkit.fault_spool import refused_to_start
from npc_testkit.peers import require_tool

SITE = """\
[storage]
root = "data"
min_free_mb = 200
reserve_mb = 20
{spool}
[dicom]
port = 0
[web]
port = 0
[completion]
quiet_released_s = 1
quiet_s = 4
quiet_aborted_s = 4
held_after_s = 4
[routing]
pipelines = ["ln_ctv"]
partner_wait_s = 1
[database]
url = "{database}"
[triton]
url = "127.0.0.1:9"
"""
CASES = "SELECT id, state, generation, reasons, inputs FROM contour_case ORDER BY created_at"
MERGED = "PHANTOM-MERGED"
SERIES = "SELECT series_instance_uid AS uid, state, images, reasons FROM series ORDER BY first_instance_at"


def service_in(folder: Path, *, database: str = "embedded", spool: str = "", roles: str = "receiver,worker") -> Service:
    """Write the settings of a service whose networks do not answer: a case stays at what it would be contoured from."""
    folder.mkdir(parents=True)
    config = folder / "site.toml"
    config.write_text(SITE.format(database=database, spool=spool), encoding="utf-8")
    return Service(folder, config, roles)


def images_of(folder: Path) -> list[Path]:
    """The DICOM files of a case's folder, in order."""
    return sorted(path for path in folder.rglob("*.dcm"))


@contextmanager
def fed(work: Path, *folders: Sequence[Path]) -> Iterator[Service]:
    """Run a service, send it images, and wait until each series that came has been judged."""
    with started(service_in(work / "service")) as service:
        for images in folders:
            send(service, images)
        yield service


def send(service: Service, images: Sequence[Path]) -> None:
    """Send over one association, and wait until each series was judged and its study routed."""
    Sender(service.port).once(images)
    wait_for(
        lambda: (
            bool(found := service.query(SERIES))
            and all(row["state"] != "receiving" for row in found)
            and not service.query("SELECT FROM study WHERE routing_due")
            and not service.query("SELECT FROM contour_case WHERE state = 'waiting'")
        ),
        "a judged series",
        240,
    )


def mixed_patients(case: Path, work: Path) -> Seen:
    """Two patients in one series: held as such, at once and without an ID in the log."""
    images = images_of(case) or made(case / "make.py", work / "images")
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in images]
    with fed(work, images) as service:
        series, cases = service.query(SERIES), service.query(CASES)
        log = (service.folder / "service.log").read_text()
    faults = []
    if [row["state"] for row in series] != ["held"] or "mixed patients" not in " ".join(series[0]["reasons"]):
        faults.append(f"series are {[(row['state'], row['reasons']) for row in series]}")
    if any(str(value) in log for header in headers for value in (header.PatientID, header.PatientName)):
        faults.append("the log names a patient")
    made_cases = [row for row in cases if row["inputs"]]
    return Seen((*faults, *(f"a case is {row['state']}" for row in made_cases)), silent_wrong=bool(made_cases))


def made(script: Path, folder: Path) -> list[Path]:
    """The images that a case's script writes."""
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return images_of(folder)


def second_scan(case: Path, work: Path) -> Seen:
    """A second scan after the first one's case was made: a person is asked, and may say which counts."""
    with fed(work, images_of(case / "visit1")) as service:
        (first,) = service.query(CASES)
        send(service, images_of(case / "visit2"))
        cases = service.query(CASES)
        told = service.query("SELECT FROM event WHERE name = 'case.ambiguous'")
        states = [row["state"] for row in cases]
        if states != [first["state"], "ambiguous"] or not told:
            return Seen((f"cases are {states}, {len(told)} questions were told",), silent_wrong=not told)
        new = service.query(SERIES)[-1]["uid"]
        command(service, "assign", cases[-1]["id"], f"planning_ct={new}")
        wait_for(lambda: service.query(CASES)[-1]["state"] == "routed", "the answer", 60)
    return Seen()


def corrected(case: Path, work: Path) -> Seen:
    """The same images with a corrected Patient ID after a case was made: asked about once; discarded, then accepted."""
    first = images_of(case.parents[1] / "ingest" / "second-scan-later" / "visit1")
    again = work / "again"
    again.mkdir(parents=True)
    for path in first:
        image = pydicom.dcmread(path)
        image.PatientID = MERGED
        image.save_as(again / path.name)
    faults = []
    with fed(work, first) as service:
        (old,) = service.query(CASES)
        for order, generations in (("discard", 1), ("accept", 2)):
            # A PACS that goes on after a refusal, as most do.
            storescu = [require_tool("storescu"), "--no-halt", "-R", "-aec", "NPC_CONTOUR", "127.0.0.1"]
            files = map(str, images_of(again))
            subprocess.run([*storescu, str(service.port()), *files], capture_output=True, check=False)
            held = service.query("SELECT held_reason FROM contour_case WHERE state <> 'superseded'")[0]["held_reason"]
            faults += [] if held else [f"before {order}: the case is not held"]
            command(service, order, service.query(SERIES)[0]["uid"], "--reason", "merged")
            wait_for(lambda many=generations: len(service.query(CASES)) == many, order, 60)  # type: ignore[misc]
            (live,) = service.query("SELECT generation, held_reason FROM contour_case WHERE state <> 'superseded'")
            faults += [] if live == {"generation": generations, "held_reason": ""} else [f"after {order}: {live}"]
        told = service.query("SELECT count(*) AS n FROM event WHERE name = 'series.came_again'")[0]["n"]
        faults += [] if told == 2 else [f"told {told} times"]
        kept = {row["id"] for row in service.query("SELECT header ->> 'patient_id' AS id FROM instance")}
        states = {row["id"]: row["state"] for row in service.query(CASES)}
        log = (service.folder / "service.log").read_text()
    faults += [] if kept == {MERGED} else ["the images that are kept are not the corrected ones"]
    faults += [] if states[old["id"]] == "superseded" else [f"the first case is {states[old['id']]}"]
    faults += ["the log names a patient"] if MERGED in log else []
    return Seen(tuple(faults), silent_wrong=kept != {MERGED})


def said_whole(case: Path, work: Path) -> Seen:
    """The scanner counted two reconstructions: held, until a person says that the series is whole."""
    with fed(work, images_of(case)) as service:
        (series,) = service.query(SERIES)
        if series["state"] != "held":
            return Seen((f"the series is {series['state']}: {series['reasons']}",))
        command(service, "whole", series["uid"], "--reason", "two kernels")
        wait_for(lambda: bool(service.query(CASES)), "a case", 60)
        (made_case,) = service.query(CASES)
    words = " ".join(made_case["reasons"])
    return Seen(() if "a person said that it is whole" in words else (f"the case says: {words}",))


def wrong_spool(case: Path, work: Path) -> Seen:
    """A worker without the shared spool, and a second service on one: neither starts, and no image is forgotten."""
    shared = f'shared_spool = "{work / "spool"}"'
    with started(service_in(work / "first", spool=shared, roles="receiver,worker,web")) as first:
        send(first, images_of(case.parents[1] / "ingest" / "second-scan-later" / "visit1"))
        before = first.query(SERIES)
        if case.name == "no-shared-spool":
            other = service_in(work / "other", database=first.runtime["database_url"], roles="worker")
        else:
            other = service_in(work / "other", spool=shared)
        refused = refused_to_start(other)
        other.stop()
        after = first.query(SERIES)
    faults = [] if refused else ["it starts"]
    if before != after:
        faults.append(f"series were {before}, are {after}")
    return Seen(tuple(faults), silent_wrong=not refused)


def clock_off(case: Path, work: Path) -> Seen:
    """The machine's clock is set while a series comes slowly, an hour on and back: one case of all images."""
    machine = Machine.build(work / "clock")
    service = service_in(work / "service")
    service.env = machine.env
    images = images_of(case.parents[1] / "ingest" / "second-scan-later" / "visit1")
    when = {len(images) // 3: HOUR_S, 2 * len(images) // 3: 0}
    with started(service):
        send_slowly(service, images, lambda sent: machine.set(when[sent]) if sent in when else None)
        return _one_case_of(service, len(images))


def worker_clock_off(case: Path, work: Path) -> Seen:
    """A worker's clock is five minutes ahead while a series comes slowly: one case of all images."""
    machine = Machine.build(work / "clock")
    machine.set(300)
    spool = f'shared_spool = "{work / "spool"}"'
    images = images_of(case.parents[1] / "ingest" / "second-scan-later" / "visit1")
    with started(service_in(work / "front", spool=spool, roles="receiver")) as front:
        worker = service_in(work / "worker", spool=spool, database=front.runtime["database_url"], roles="worker")
        worker.env = machine.env
        with started(worker):
            send_slowly(front, images, lambda _: None)
            return _one_case_of(front, len(images))


def _one_case_of(service: Service, images: int) -> Seen:
    wait_for(lambda: bool(service.query(CASES)), "a case", 240)
    taken = [len(given["images"]) for row in service.query(CASES) for given in row["inputs"].values()]
    faults = () if taken == [images] else (f"cases have {taken} of {images} images",)
    return Seen(faults, silent_wrong=bool(faults))


def command(service: Service, *words: str) -> None:
    """Run a verb of the command line against a service."""
    argv = [sys.executable, "-m", "npc_contour", words[0], "--config", str(service.config), *words[1:]]
    subprocess.run(argv, check=True, capture_output=True, cwd=service.folder)
