"""Cases of processes that hang, and of readiness: a running service is made to, and asked as monitoring asks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.catalog import read_catalog
from npc_contour.core.evidence import SiteWords
from npc_contour.errors import NetworkNotLoadedError
from npc_testkit.cases import Seen
from npc_testkit.fault_hangs import hangs
from npc_testkit.fault_lab import Lab, Outcome, audit, lab, send_all, started, wait_verified
from npc_testkit.fault_site import Service, debian_postgres, wait_for, write_networks
from npc_testkit.fault_trials import INFERRING
from npc_testkit.orthanc import Orthanc

PATTERN = r"^(\w+\s?)+$"
UNLUCKY = "THORAX_NATIVE_WITHOUT_CONTRAST_5_0_B31f -"


def hung_worker(_case: Path, work: Path) -> Seen:
    """A worker is stopped, and one holds the interpreter: named, replaced within a minute, nothing done twice."""
    with lab(work) as shared:
        outcome = hangs(shared, True)  # noqa: FBT003 - the signature of every trial
    return Seen(() if outcome.held else (outcome.detail, str(outcome.as_json())))


def zombie_worker(_case: Path, work: Path) -> Seen:
    """A machine stops in the middle of a case: another finishes it; the first one wakes up and does nothing twice."""
    outcome = Outcome("a machine that stops and wakes up")
    spool = f'shared_spool = "{work / "spool"}"'
    with lab(work) as shared, ExitStack() as running:
        front = running.enter_context(started(shared.service("front", roles="receiver,web", spool=spool)))
        place = {"roles": "worker", "spool": spool, "database": front.runtime["database_url"]}
        stops = running.enter_context(started(shared.service("stops", **place)))
        wait_for(lambda: line(front, "workers")["ok"], "a worker", 180)
        studies = shared.studies("zombie", 2)
        senders, (send_first, send_second) = send_all(front, studies)
        (triton,) = (child for child in psutil.Process().children(recursive=True) if child.name() == "tritonserver")
        triton.suspend()
        try:
            send_first()
            wait_for(lambda: bool(front.query(INFERRING)), "an inference under way", 120)
            frozen = machine(stops)
            for process in frozen:
                process.suspend()
        finally:
            triton.resume()
        try:
            running.enter_context(started(shared.service("other", **place)))
            wait_verified(front, 1, 240)
        finally:
            for process in frozen:
                process.resume()
        wait_for(lambda: line(front, "heartbeats")["ok"], "the machine that wakes up", 120)
        send_second()
        wait_verified(front, 2, 120)
        audit(shared, front, studies, senders, outcome)
    return Seen(() if outcome.held else (str(outcome.as_json()),), bool(outcome.duplicate_objects))


def machine(service: Service) -> list[psutil.Process]:
    """The supervisor of a service and all its children."""
    assert service.process is not None
    supervisor = psutil.Process(service.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def site_pattern(_case: Path, _work: Path) -> Seen:
    """The pattern of the case is matched at once."""
    began = time.process_time()
    SiteWords(contrast=(PATTERN,)).phase(UNLUCKY * 100)
    spent_s = time.process_time() - began
    return Seen(() if spent_s < 1.0 else (f"the pattern took {spent_s:.1f} s",))


def liveness(_case: Path, work: Path) -> Seen:
    """The database is stopped, 200 requests wait for it; liveness answers within 50 ms, readiness says not ready."""
    faults = []
    with without_peers(work, "web") as service, ThreadPoolExecutor(200) as others:
        databases = service.named("postgres")
        for pid in databases:
            os.kill(pid, signal.SIGSTOP)
        try:
            waiting = [others.submit(answer, service, "/jobs", 120.0) for _ in range(200)]
            time.sleep(2.0)
            times = []
            with httpx.Client(base_url=page(service), timeout=10.0, trust_env=False) as monitor:
                for _ in range(20):
                    began = time.monotonic()
                    alive = monitor.get("/health/live", headers={"Connection": "close"}).json()
                    times.append(time.monotonic() - began)
                    faults += [] if alive.get("status") == "alive" else [f"liveness: {alive}"]
            # Most of them: this machine may be busy with other things.
            if (median_s := sorted(times)[len(times) // 2]) > 0.05:
                faults.append(f"liveness took {median_s:.3f} s (median of {len(times)})")
            if (status := answer(service, "/health/ready", 20.0).get("status")) != "not ready":
                faults.append(f"readiness says {status} while the database is stopped")
        finally:
            for pid in databases:
                os.kill(pid, signal.SIGCONT)
        for one in waiting:
            one.result()
    return Seen(tuple(faults))


def database(_case: Path, work: Path) -> Seen:
    """Read only, and another password in its file: readiness says which, and is green again by itself."""
    faults = []
    for folder in (work, *work.parents[:2]):
        folder.chmod(0o755)  # PostgreSQL's own user goes through them
    with debian_postgres(work / "pg", password="first") as (url, _):  # noqa: S106 - of a database of this test
        secret = work / "secret"
        secret.write_text("first")
        place = url.replace(":first@", "@")
        with without_peers(work, "web", database=f'{place}"\npassword_file = "{secret}') as service:
            wait_for(lambda: line(service, "database")["ok"], "the database's line", 60)
            administrator = psycopg.connect(url, autocommit=True)
            _alter(administrator, "ALTER SYSTEM SET default_transaction_read_only = on")
            faults += said(service, "database", "read-only")
            _alter(administrator, "SET default_transaction_read_only = off")
            _alter(administrator, "ALTER SYSTEM RESET default_transaction_read_only")
            wait_for(lambda: line(service, "database")["ok"], "a database that can be written", 30)
            _alter(administrator, "ALTER USER npc PASSWORD 'second'")
            others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
            _alter(administrator, f"SELECT pg_terminate_backend(pid) {others}")
            faults += said(service, "database", "password authentication failed")
            remedy = line(service, "database")["remedy"]
            faults += [f"remedy: {remedy}"] if "password_file" not in remedy or "starts it" in remedy else []
            secret.write_text("second")
            wait_for(lambda: line(service, "database")["ok"], "the new password", 30)
            wait_for(lambda: isinstance(answer(service, "/jobs", 20.0), list), "REST with the new password", 60)
            administrator.close()
    return Seen(tuple(faults))


def room(_case: Path, work: Path) -> Seen:
    """The disk has more than the least and less than a study takes: not ready at once, ready at once when it has."""
    disk = work / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=260m", "tmpfs", disk], check=False).returncode:
        return Seen(("mounting a small disk is not permitted here",), covered=False)
    try:
        spool = f'shared_spool = "{disk / "spool"}"'
        with without_peers(work, "receiver,web", spool=spool, min_free_mb=60, reserve_mb=40) as service:
            wait_for(lambda: line(service, "spool")["ok"], "room", 60)
            with (disk / "ballast").open("wb") as file:
                file.write(bytes(190 * 2**20))
            faults = said(service, "spool", "at least 100 MiB needed for one more study")
            (disk / "ballast").unlink()
            wait_for(lambda: line(service, "spool")["ok"], "room again", 30)
            (disk / "full").write_bytes(b"")
            with suppress(OSError), (disk / "full").open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(2**20))
            faults += said(service, "spool", "0 MiB free")
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
    return Seen(tuple(faults))


def priorities(_case: Path, work: Path) -> Seen:
    """Nobody gives way who answers or decides; and who takes jobs is missed by readiness when he is not there."""
    faults = []
    with without_peers(work, "receiver,web") as service:
        faults += said(service, "workers", "no worker takes jobs")
    with without_peers(work, "receiver,worker,web") as service:
        wait_for(lambda: line(service, "workers")["ok"], "a worker", 120)
        for role in ("receiver", "worker", "web"):
            (pid,) = service.pids(f"npc_contour.app {role}")
            group = Path(f"/proc/{pid}/autogroup")
            given = (psutil.Process(pid).nice(), int(group.read_text().split()[-1]) if group.exists() else 0)
            own = os.getpriority(os.PRIO_PROCESS, 0)
            faults += [f"{role} runs at {given}"] if given != (own, 0) else []
    return Seen(tuple(faults))


def engine_not_loaded(case: Path, work: Path) -> Seen:
    """An engine without its backend: the network is not ready, and the reason is told."""
    repository = work / "networks"
    write_networks(repository)
    engine = repository / "ln_ctv_engine"
    (engine / "1").mkdir(parents=True)
    (engine / "config.pbtxt").write_text((case / "config.pbtxt").read_text().replace("base_engine", engine.name))
    contract = read_catalog(repository, enabled=["ln_ctv"]).contracts["ln_ctv"]
    with EmbeddedTriton(repository, work / "triton", start_timeout_s=600) as server:
        try:
            TritonEngine(server.urls.grpc).check(contract)
        except NetworkNotLoadedError as error:
            return Seen() if "engine" in str(error) else Seen((str(error),))
    return Seen(("the network is called ready",))


@contextmanager
def without_peers(work: Path, roles: str, **changes: Any) -> Iterator[Service]:
    """Run a service of these roles that has neither Triton nor TPS."""
    repository = work / "networks"
    if not repository.exists():
        write_networks(repository)
    nobody = Orthanc(1, 1, "NOBODY")
    alone = Lab(work, {}, repository, "127.0.0.1:1", nobody, random.Random())
    with started(alone.service("alone", roles=roles, **changes)) as service:
        wait_for(lambda: bool(answer(service, "/health/live", 5.0)), "the page", 120)
        yield service


def answer(service: Service, path: str, timeout_s: float) -> Any:
    """The JSON that the page answers; nothing when it does not."""
    try:
        return httpx.get(page(service) + path, timeout=timeout_s, trust_env=False).json()
    except (httpx.HTTPError, OSError, ValueError):
        return {}


def page(service: Service) -> str:
    """Where its page is."""
    return f"http://127.0.0.1:{service.runtime['web_port']}"


def line(service: Service, name: str) -> dict[str, Any]:
    """One line of readiness."""
    checks = answer(service, "/health/ready", 20.0).get("checks", [])
    return next((check for check in checks if check["name"] == name), {"ok": False, "detail": "", "remedy": ""})


def said(service: Service, name: str, words: str, within_s: float = 30.0) -> list[str]:
    """What is wrong where readiness does not say in time, and does not call itself `not ready`."""

    def red() -> bool:
        found = line(service, name)
        return not found["ok"] and words in found["detail"]

    with suppress(TimeoutError):
        wait_for(red, words, within_s)
    found = line(service, name)
    faults = [] if words in found["detail"] and not found["ok"] else [f"{name}: {found['detail']!r}, not {words!r}"]
    status = answer(service, "/health/ready", 20.0).get("status")
    return faults if status == "not ready" else [*faults, f"{name}: readiness says {status}"]


def _alter(connection: psycopg.Connection[Any], statement: str) -> None:
    connection.execute(statement.encode())
    connection.execute("SELECT pg_reload_conf()")
