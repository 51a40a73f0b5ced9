"""The trials, one for each fault; each starts what it needs, breaks it, and judges what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import npc_testkit
from npc_contour.domain.work import JobKind
from npc_testkit.fault_lab import Lab, Outcome, audit, send_all, sending, started, verified, wait_verified
from npc_testkit.fault_site import ROOTS, Service, debian_postgres, wait_for

WORKER, RECEIVER = "npc_contour.app worker", "npc_contour.app receiver"
KIT = Path(str(npc_testkit.__file__)).parent
RESUME_LIMIT_S = 15.0
INFERRING = "SELECT 1 FROM contour_case JOIN attempt ON key = id WHERE state = 'routed' AND message = ''"
NEXT_EVENT = """
SELECT extract(epoch FROM min(at)) AS t FROM event
WHERE at > to_timestamp(%(at)s) AND name NOT IN ('series.opened', 'instance.conflict')
"""
"""What a worker did: the receiver's own lines do not count."""
BUSY = """
SELECT 1 FROM contour_case WHERE state IN ('routed', 'segmented', 'contoured', 'sent')
UNION SELECT 1 FROM series WHERE state = 'receiving' UNION SELECT 1 FROM study WHERE routing_due
"""
TAKEN = "SELECT 1 FROM instance WHERE received_at > to_timestamp(%(at)s)"
BOUNDARIES = (
    JobKind.CLOSE_SERIES,
    JobKind.ROUTE_STUDY,
    JobKind.SEGMENT_CASE,
    JobKind.WRITE_STRUCTURE_SET,
    JobKind.SEND,
    JobKind.VERIFY,
)


def resumed_after(service: Service, killed_at: float, timeout_s: float = 60.0) -> float | None:
    """Seconds from a kill to the next thing that a worker did; None when there was nothing left to do."""
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        rows = service.query(NEXT_EVENT, {"at": killed_at})
        if rows and rows[0]["t"] is not None:
            return float(rows[0]["t"]) - killed_at
        if rows and not service.query(BUSY):
            return None
        time.sleep(0.2)
    return timeout_s


def random_kills(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - the signature of every trial
    """Studies come while workers and the receiver are killed at random moments."""
    count, workers, receivers = (6, 3, 1) if short else (round(share * lab.size) for share in (100, 30, 10))
    outcome = Outcome("random kills")
    studies = lab.studies("kills", count)
    victims = [WORKER] * workers + [RECEIVER] * receivers
    lab.rng.shuffle(victims)
    with started(lab.service("kills", workers=2)) as service:
        senders, jobs = send_all(service, studies)
        # Spread over the kills: all that is killed has something in its hands.
        paced = [
            partial(_when, partial(_has, outcome, number * len(victims) // count), job)
            for number, job in enumerate(jobs)
        ]
        with sending(paced, at_once=3) as errors:
            for victim in victims:
                time.sleep(lab.rng.uniform(0.3, 3.0))
                killed_at = time.time()
                wait_for(partial(service.kill_one, victim), victim, 60)
                outcome.kills += 1
                if victim == WORKER:
                    resumed = resumed_after(service, killed_at, 120)
                    outcome.resume_s += [resumed] if resumed is not None else []
                elif outcome.kills < len(victims):
                    # There is always a sender that tries again: the next kill is of a receiver that takes images.
                    wait_for(partial(_took_after, service, killed_at), "images after a kill", 60)
        assert not errors, errors
        wait_verified(service, count, 60 + 6 * count)
        audit(lab, service, studies, senders, outcome)
    outcome.detail = f"{outcome.kills} kills, {count} studies verified"
    return outcome


def _took_after(service: Service, killed_at: float) -> bool:
    return bool(service.query(TAKEN, {"at": killed_at}))


def _has(outcome: Outcome, kills: int) -> bool:
    return outcome.kills >= kills


def _when(due: Callable[[], bool], job: Callable[[], object]) -> None:
    wait_for(due, "the kills before a study", 1200)
    job()


def boundaries(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """A worker dies before and after each step, one by one; the next one goes on there."""
    outcome = Outcome("kill at each step boundary")
    kinds = BOUNDARIES if not short else (JobKind.SEGMENT_CASE, JobKind.SEND)
    studies, senders = [], []
    with started(lab.service("boundaries", roles="receiver,web")) as service:
        runtime = service.folder / "data" / "runtime.json"
        for kind in kinds:
            for when in ("before", "after"):
                (study,) = lab.studies(f"{kind}-{when}", 1)
                studies.append(study)
                (sender,), (send,) = send_all(service, [study])
                senders.append(sender)
                marker = service.folder / f"{kind}-{when}"
                command = [sys.executable, str(KIT / "boundary_worker.py"), str(runtime), kind.value, when, str(marker)]
                dying = _worker(service, command)
                send()
                dying.wait(120)
                killed_at, done = marker.stat().st_mtime, len(studies)
                outcome.kills += 1
                heir = _worker(service, [sys.executable, "-m", "npc_contour.app", "worker", str(runtime)])
                try:
                    resumed = resumed_after(service, killed_at, 90)
                    outcome.resume_s += [resumed] if resumed is not None else []
                    wait_verified(service, done, 120)
                finally:
                    heir.terminate()
                    heir.wait(30)
        audit(lab, service, studies, senders, outcome)
    slowest = max(outcome.resume_s, default=0.0)
    outcome.held = outcome.held and slowest < RESUME_LIMIT_S
    outcome.detail = f"{outcome.kills} boundaries, slowest resume {slowest:.1f} s"
    return outcome


def _worker(service: Service, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a worker as a child of the supervisor would be."""
    with (service.folder / "worker.log").open("ab") as log:
        return subprocess.Popen(command, stderr=log, env={**os.environ, "PYTHONPATH": ROOTS})


def machine_gone(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """A second machine with a worker is killed permanently; a third joins, and is stopped in good order under load."""
    count = 4 if short else 16
    outcome = Outcome("a machine gone permanently")
    with ExitStack() as running:
        url, _ = running.enter_context(debian_postgres(lab.folder / f"pg-{time.time_ns()}"))
        spool = f'shared_spool = "{lab.folder / f"spool-{time.time_ns()}"}"'
        shared = {"database": url, "spool": spool}
        door = running.enter_context(started(lab.service("door", roles="receiver,web", **shared)))
        gone = lab.service("gone", roles="worker", **shared)
        stays = lab.service("stays", roles="worker", **shared)
        running.callback(stays.stop)
        running.callback(gone.stop)
        gone.start()
        studies = lab.studies("machines", count)
        senders, jobs = send_all(door, studies)
        with sending(jobs) as errors:
            wait_for(lambda: verified(door) >= 1, "the first machine's first case", 180)
            stays.start()
            time.sleep(lab.rng.uniform(0.5, 2.0))
            killed_at = time.time()
            gone.kill()
            outcome.kills += 1
            resumed = resumed_after(door, killed_at, 60)
            outcome.resume_s += [resumed] if resumed is not None else []
            # Rolling upgrade: the new one joins, the old one is stopped in good order while it works.
            gone.start()
            time.sleep(3)
            stays.stop()
            stays.start()
        assert not errors, errors
        wait_verified(door, count, 60 + 8 * count)
        audit(lab, door, studies, senders, outcome)
    outcome.detail = f"taken over after {max(outcome.resume_s, default=0.0):.1f} s"
    return outcome


def triton_killed(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """An embedded Triton is frozen in the middle of an inference and killed."""
    outcome = Outcome("Triton killed mid-inference")
    times = 1 if short else 3
    studies = lab.studies("triton", times)
    with started(lab.service("triton", triton="embedded")) as service:
        wait_for(lambda: bool(service.runtime["triton_url"]), "Triton", 180)
        senders, jobs = send_all(service, studies)
        for number, send in enumerate(jobs, start=1):
            wait_for(lambda: bool(service.named("tritonserver")), "Triton", 120)
            server = service.named("tritonserver")[0]
            os.kill(server, signal.SIGSTOP)
            send()
            wait_for(lambda: bool(service.query(INFERRING)), "an inference under way", 60)
            time.sleep(1.0)
            # It is frozen with the request in hand: the case cannot have gone on.
            assert verified(service) == number - 1
            killed_at = time.time()
            os.kill(server, signal.SIGKILL)
            outcome.kills += 1
            wait_verified(service, number, 180)
            outcome.more[f"finished_s_{number}"] = round(time.time() - killed_at, 1)
        audit(lab, service, studies, senders, outcome)
    outcome.detail = f"{times} kills, cases finished {sorted(outcome.more.values())} s later"
    return outcome


def wait_for_pid(service: Service, *words: str) -> int:
    """The process id of a child, once there is one."""
    wait_for(lambda: bool(service.pids(*words)), " ".join(words), 120)
    return service.pids(*words)[0]


def database_crashes(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001
    """PostgreSQL crashes and comes back, embedded and external, while studies are under way."""
    outcome = Outcome("PostgreSQL crash-restart")
    for kind in ("embedded",) if short else ("embedded", "external"):
        with ExitStack() as running:
            changes: dict[str, str] = {}
            crash: Callable[[], None] | None = None
            if kind == "external":
                changes["database"], crash = running.enter_context(debian_postgres(lab.folder / f"pg-{time.time_ns()}"))
            service = running.enter_context(started(lab.service(f"pg-{kind}", **changes)))
            count, crashes = (3, 1) if short else (10, 3)
            studies = lab.studies(f"pg-{kind}", count)
            senders, jobs = send_all(service, studies)
            with sending(jobs, at_once=2) as errors:
                for _ in range(crashes):
                    time.sleep(lab.rng.uniform(2.0, 6.0))
                    if crash is not None:
                        crash()
                    else:
                        os.kill(wait_for_pid(service, "/postgres -D"), signal.SIGKILL)
                    outcome.kills += 1
            assert not errors, errors
            wait_verified(service, count, 180)
            audit(lab, service, studies, senders, outcome)
    outcome.detail = f"{outcome.kills} crashes, everything finished"
    return outcome
