"""Trials of what is outside the service: disk, planning system, senders; and how fast it is when nothing is wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import npc_testkit
from npc_contour.adapters.workflow.queue import defer
from npc_contour.domain.work import Job, JobKind
from npc_contour.store.database import Store
from npc_testkit.fault_lab import OPTIONS, Lab, Outcome, audit, send_all, sending, started, wait_verified
from npc_testkit.fault_site import Sender, Service, wait_for
from npc_testkit.orthanc import orthanc
from npc_testkit.peers import free_port, wait_for_port

KIT = Path(str(npc_testkit.__file__)).parent
LEFT = "SELECT 1 AS x FROM procrastinate_jobs WHERE queueing_lock = %(lock)s"


def disk_full(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """The spool's disk is full for a while, then read only: the sender keeps the study, and sends it when it can."""
    outcome = Outcome("disk full, then read only")
    disk = lab.folder / f"disk-{time.time_ns()}"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", disk], check=False).returncode:
        outcome.detail = "not run: mounting a small disk is not permitted here"
        return outcome
    try:
        spool = f'shared_spool = "{disk / "spool"}"'
        with started(lab.service("disk", spool=spool, min_free_mb=20)) as service:
            full, read_only = lab.studies("disk", 2)
            sender = Sender(service.port)
            with suppress(OSError), (disk / "ballast").open("wb") as file:  # until there is no more
                for _ in range(160):
                    file.write(bytes(2**20))
                    file.flush()
            refused = sender.once(full.all_files) != 0
            time.sleep(2 if short else 20)
            rows = service.query("SELECT count(*) AS n FROM instance")[0]["n"]
            half = list(disk.rglob("*.part"))
            (disk / "ballast").unlink()
            sender.send(full.all_files)
            wait_verified(service, 1, 120)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            refused_too = sender.once(read_only.all_files) != 0
            kept = service.query("SELECT count(*) AS n FROM instance")[0]["n"]
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            sender.send(read_only.all_files)
            wait_verified(service, 2, 120)
            statuses = {line for line in (service.folder / "service.log").read_text().splitlines() if "0xA700" in line}
            audit(lab, service, [full, read_only], [sender], outcome)
        outcome.held = outcome.held and refused and refused_too and rows == 0 and not half and bool(statuses)
        outcome.held = outcome.held and kept == len(full.sop_uids)
        outcome.detail = f"{len(statuses)} images answered 0xA700, none half kept, both studies verified afterwards"
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
    return outcome


def tps_away(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """The TPS is down in every way for a simulated week end (an hour's pause is 4 s), then comes back."""
    outcome = Outcome("TPS down in every way")
    count = 3 if short else 20
    modes = ("abort", "0110") if short else ("refused", "hang", "abort", "A700", "A701", "0110")
    port = free_port()
    studies = lab.studies("tps", count)
    with started(lab.service("tps", tps_title="TPS", tps_port=port)) as service:
        sender = Sender(service.port)
        for study in studies:
            sender.send(study.all_files)
        waiting = "SELECT count(*) AS n FROM delivery WHERE state = 'queued'"
        wait_for(lambda: service.query(waiting)[0]["n"] == count, "deliveries that wait", 60 + 5 * count)
        for mode in modes:
            process = None
            if mode != "refused":
                process = subprocess.Popen([sys.executable, str(KIT / "rude_tps.py"), str(port), mode])
                wait_for_port(port)
            time.sleep(4 if short else 12)
            if process is not None:
                process.kill()
                process.wait()
        tries = int(service.query("SELECT coalesce(sum(attempts), 0) AS n FROM delivery")[0]["n"])
        with orthanc(service.folder / "tps", ae_title="TPS", options=OPTIONS, port=port) as tps:
            back_at = time.time()
            wait_verified(service, count, 60 + 5 * count)
            back_s = time.time() - back_at
            audit(lab, service, studies, [sender], outcome, tps)
    outcome.more["tries"] = tries
    outcome.detail = f"{count} structure sets, {tries} tries while away, all verified {back_s:.1f} s after it came back"
    return outcome


def rude_senders(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """Senders abort, send out of order, twice, over many associations, and slices minutes late."""
    outcome = Outcome("sender aborts, disorder, twice, late")
    aborted, mixed, twice, late = lab.studies("senders", 4)
    with started(lab.service("senders")) as service:
        sender = Sender(service.port)
        first = subprocess.Popen(_storescu(service, aborted.all_files), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(0.15)
        first.kill()
        first.wait()
        outcome.kills += 1
        sender.send(aborted.all_files)
        files = list(mixed.all_files)
        lab.rng.shuffle(files)
        jobs: list[Callable[[], object]] = [partial(sender.send, files[start::8]) for start in range(8)]
        with sending(jobs, at_once=8) as errors:
            pass
        assert not errors, errors
        for _ in range(2):
            sender.send(twice.all_files)
        sender.send(late.all_files[:-1])
        wait_verified(service, 4, 180)
        time.sleep(1 if short else 60)
        sender.send(late.all_files[-1:])
        superseded = "SELECT 1 FROM contour_case WHERE generation = 2 AND state = 'verified'"
        wait_for(lambda: bool(service.query(superseded)), "the superseding case", 120)
        audit(lab, service, [aborted, mixed, twice, late], [sender], outcome)
        current = service.query(
            "SELECT study_instance_uid, count(*) AS n FROM contour_case WHERE state <> 'superseded' GROUP BY 1"
        )
    outcome.held = outcome.held and [row["n"] for row in current] == [1] * 4
    outcome.detail = "one current structure set for each of 4 studies, the late one names its predecessor"
    return outcome


def _storescu(service: Service, files: tuple[Path, ...]) -> list[str]:
    return ["storescu", "-R", "-aec", "NPC_CONTOUR", "127.0.0.1", str(service.port()), *map(str, files)]


def throughput(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """Paired studies at once, with one worker and with two; and how soon a job starts on an idle box."""
    outcome = Outcome("throughput and latency")
    count = 3 if short else 20
    for workers in (2,) if short else (1, 2):
        service = lab.service(
            f"workers-{workers}", workers=workers, at_once=workers, pipelines=("npc_oar_gtv", "ln_ctv")
        )
        with started(service):
            if workers == 2:
                outcome.more["queue_start_p95_ms"] = round(queue_start_p95_ms(service), 1)
            studies = lab.studies(f"workers-{workers}", count, paired=True)
            senders, jobs = send_all(service, studies)
            began = time.time()
            with sending(jobs) as errors:
                pass
            assert not errors, errors
            wait_verified(service, 2 * count, 120 + 15 * count)
            outcome.more[f"seconds_{workers}_workers"] = round(time.time() - began, 1)
            audit(lab, service, studies, senders, outcome)
    if not short:
        ratio = outcome.more["seconds_1_workers"] / outcome.more["seconds_2_workers"]
        outcome.more["two_workers_speedup"] = round(ratio, 2)
    outcome.detail = ", ".join(f"{name} {value:g}" for name, value in outcome.more.items())
    return outcome


def queue_start_p95_ms(service: Service, probes: int = 40) -> float:
    """From the commit of a job to the end of it, for a job that does nothing; milliseconds, 95th percentile."""
    time.sleep(3)
    taken = []
    with Store(service.runtime["database_url"], defer) as store:
        for number in range(probes):
            uid = f"1.2.3.{number}"
            with store.transaction() as tx:
                tx.defer(Job(JobKind.ROUTE_STUDY, uid))
            began = time.monotonic()
            while store.query(LEFT, {"lock": f"route_study:{uid}"}):
                time.sleep(0.002)
            taken.append((time.monotonic() - began) * 1000)
            time.sleep(0.1)
    return sorted(taken)[int(0.95 * (len(taken) - 1))]
