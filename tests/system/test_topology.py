"""Every wire of deploy/compose.yaml works: its commands and settings, run as plain processes on this machine.

Debian's PostgreSQL, a Triton of its own, two receivers on one port, two workers that share nothing but database and
spool, the page, Orthanc as planning system, Prometheus. What the file calls by a container's name is here a port of
127.0.0.1; what stands for Triton's networks is small (label 1 is bone).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
import yaml

from npc_testkit.compose_file import PROMETHEUS, SITE, Place, services
from npc_testkit.fault_lab import ROLES, RULE
from npc_testkit.fault_site import ROOTS, debian_postgres, phantom_series, write_networks, write_study
from npc_testkit.orthanc import Orthanc, orthanc
from npc_testkit.peers import free_port, require_postgres, require_tool, run_tool, start_tool

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]
PASSWORD = "a-long-pass,word"  # noqa: S105 - of a database that lives for this test
ADMIN_PASSWORD = "first day at work"  # noqa: S105 - likewise
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - replaced, never bound
RUN_HERE = {"migrate", "receiver", "worker-0", "worker-1", "web", "triton-cpu"}
PEERS = {"database", "tps", "prometheus"}
NOT_RUN = {"triton-gpu", "grafana"}
"""A GPU, and a program that Debian does not have."""
PATIENCE_S = 120.0


@dataclass
class Topology:
    """All parts, started in the order of the file."""

    folder: Path
    tps: Orthanc
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]]

    def get(self, port: str, path: str, **options: Any) -> httpx.Response:
        """Ask one of the parts over HTTP."""
        return httpx.get(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=20, trust_env=False, **options)

    def log(self, name: str) -> str:
        """What a part has said."""
        return (self.folder / name / "log").read_text(errors="replace")


def eventually(what: Callable[[], bool], words: Callable[[], str]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > deadline_s:
            raise TimeoutError(words())
        time.sleep(0.2)


def place_of(name: str, folder: Path, shared: dict[str, str]) -> Place:
    """Return where a container's words lie here, and write its settings file."""
    own = folder / name
    own.mkdir()
    words = {
        "/etc/npc-contour/site.toml": str(own / "site.toml"),
        "/var/cache/npc-contour": str(own / "cache"),
        "/var/lib/npc-contour": str(own / "root"),
        **shared,
    }
    site = Place(
        {**words, "port = 8081": f"port = {shared['status:' + name]}"} if "status:" + name in shared else words
    )
    text = site.text(SITE.read_text(encoding="utf-8"))
    # Short waits, and networks that take no time; the page asks for accounts although only this machine can connect.
    text = text.replace("[web]\n", '[web]\naccounts = "required"\nport = {web}\n'.format(web=shared["port:web"]))
    text = text.replace("[dicom]\n", f"[dicom]\nport = {shared['port:dicom']}\n")
    text = text.replace("[triton]\n", f'[triton]\nmodel_repository = "{folder}/networks"\n')
    rules = "".join(RULE.format(pipeline, role) for pipeline, roles in ROLES.items() for role in roles)
    # What these networks draw is no anatomy: as doubtful contours it would be held.
    text += '\n[completion]\nquiet_released_s = 1\nquiet_s = 3\n[delivery]\nhold_doubtful = "never"\n'
    (own / "site.toml").write_text(text + rules)
    return site


def start(name: str, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / name / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "npc_contour", *command],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": ROOTS},
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def topology(folder: Path) -> Iterator[Topology]:
    ports = {name: free_port() for name in ("dicom", "web", "http", "grpc", "metrics", "prometheus")}
    ports |= {f"status:{name}": free_port() for name in ("receiver", "worker-0", "worker-1", "web")}
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "db-password").write_text(PASSWORD + "\n")
    (secrets / "admin-password").write_text(ADMIN_PASSWORD + "\n")
    write_networks(folder / "networks")
    with ExitStack() as stack:
        url, _ = stack.enter_context(
            debian_postgres(folder / "postgres", password="x" + PASSWORD[1:].replace("/", "-"))
        )
        database = url.rpartition("@")[2].partition("/")[0]
        password = url.partition("//npc:")[2].rpartition("@")[0]
        (secrets / "db-password").write_text(password + "\n")
        tps = stack.enter_context(orthanc(folder / "tps", ae_title="TPS"))
        shared = {
            "/srv/npc-contour/spool": str(folder / "spool"),
            "/run/secrets": str(secrets),
            "database:5432/npc": f"{database}/postgres",
            "triton:8001": f"127.0.0.1:{ports['grpc']}",
            "triton:8002": f"127.0.0.1:{ports['metrics']}",
            "8000,8001,8002": f"{ports['http']},{ports['grpc']},{ports['metrics']}",
            'host = "tps"\nport = 4242': f'host = "127.0.0.1"\nport = {tps.dicom_port}',
            ANY_ADDRESS: "127.0.0.1",
            "port:web": str(ports["web"]),
            "port:dicom": str(ports["dicom"]),
            **{name: str(port) for name, port in ports.items() if name.startswith("status:")},
        }
        processes: dict[str, subprocess.Popen[bytes]] = {}
        running = Topology(folder, tps, ports, processes)
        for name in sorted(RUN_HERE, key=lambda name: (name != "migrate", name)):
            command = place_of(name, folder, shared).command(re.sub(r"-\d$", "", name))
            if name == "triton-cpu":
                command += ["--models", str(folder / "networks")]
            processes[name] = start(name, command, folder)
            if name == "migrate":
                assert processes[name].wait(PATIENCE_S) == 0, running.log(name)
            else:
                stack.callback(stop, processes[name])
        yield running


def test_a_paired_study_goes_through_all_parts(open_folder: Path) -> None:
    require_postgres()
    for tool in ("storescu", "Orthanc", "prometheus"):
        require_tool(tool)
    assert set(services()) == {re.sub(r"-\d$", "", name) for name in RUN_HERE} | PEERS | NOT_RUN
    open_folder.chmod(0o711)  # PostgreSQL's own user passes
    folder = open_folder / "site"
    folder.mkdir()
    study = write_study(list(phantom_series(open_folder / "phantom").values()), folder / "study", "topology")
    with topology(folder) as running:
        everything_is_ready(running)
        accounts_are_asked_for(running)
        for series in study.files:
            sent = run_tool("storescu", "-aec", "NPC_CONTOUR", "127.0.0.1", str(running.ports["dicom"]), *series)
            assert sent.returncode == 0, sent.stderr
        made = [pydicom.dcmread(_as_file(data, folder)) for data in running.tps.wait_for("RTSTRUCT", 2, timeout_s=200)]
        assert {image.ApprovalStatus for image in made} == {"UNAPPROVED"}
        assert {image.StudyInstanceUID for image in made} == {study.uid}
        prometheus_sees_all(running)
        both_of_each_do_their_part(running)


def everything_is_ready(running: Topology) -> None:
    def ready() -> bool:
        return all(ready_at(name) for name in ("receiver", "worker-0", "worker-1", "web"))

    def ready_at(name: str) -> bool:
        try:
            return bool(running.get(f"status:{name}", "/health/ready").json()["status"] == "ready")
        except httpx.TransportError:
            return False

    eventually(ready, lambda: "\n".join(running.log(name)[-1500:] for name in RUN_HERE))
    answer = running.get("web", "/health/ready").json()
    assert answer["status"] == "ready", answer
    # Who has no account learns the state from the page; a status port that only this machine reaches tells all of it.
    assert answer["checks"] == []
    assert running.get("status:receiver", "/health/ready").json()["checks"] != []
    assert 'dependency_up{dependency="processes"} 1.0' in running.get("status:receiver", "/metrics").text


def accounts_are_asked_for(running: Topology) -> None:
    """Nobody looks without an account; the one that `migrate` made may."""
    assert running.get("web", "/api/v1/jobs").status_code == 401
    with httpx.Client(base_url=f"http://127.0.0.1:{running.ports['web']}", trust_env=False) as browser:
        answer = browser.post("/login", data={"name": "admin", "password": ADMIN_PASSWORD})
        assert answer.status_code == 303, answer.text
        assert browser.get("/api/v1/jobs").json() == []


def prometheus_sees_all(running: Topology) -> None:
    """Debian's Prometheus takes the file's configuration and rules, and reaches every target of it."""
    folder, ports = running.folder / "prometheus", running.ports
    folder.mkdir()
    config = yaml.safe_load(PROMETHEUS.read_text())
    ours, triton = config["scrape_configs"]
    (by_name,) = ours.pop("dns_sd_configs")
    assert (by_name["names"], by_name["port"]) == (["worker"], 8081)
    (fixed,) = ours["static_configs"]
    assert fixed["targets"] == ["receiver:8081", "web:8081"]
    fixed["targets"] = [f"127.0.0.1:{port}" for name, port in ports.items() if name.startswith("status:")]
    assert triton["static_configs"] == [{"targets": ["triton:8002"]}]
    triton["static_configs"][0]["targets"] = [f"127.0.0.1:{ports['metrics']}"]
    config["global"]["scrape_interval"], ours["scrape_timeout"] = "6s", "5s"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "alerts.yml").write_text((PROMETHEUS.parent / "alerts.yml").read_text())
    process = start_tool("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                         f"--web.listen-address=127.0.0.1:{ports['prometheus']}")  # fmt: skip
    try:

        def query(text: str) -> list[dict[str, Any]]:
            try:
                answer = running.get("prometheus", "/api/v1/query", params={"query": text}).json()
            except (httpx.TransportError, ValueError):
                return []
            return list(answer["data"]["result"]) if answer["status"] == "success" else []

        eventually(lambda: len(query("up == 1")) == 5, lambda: str(query("up")))
        eventually(
            lambda: len(query('npc_contour_dependency_up{dependency="processes"} == 1')) == 4, lambda: "processes"
        )
        (sent,) = query(
            'npc_contour_deliveries{state="verified"} + ignoring(state) npc_contour_deliveries{state="sent"}'
        )
        assert sent["value"][1] == "2"
        assert query("sum(nv_inference_request_success) > 0")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def both_of_each_do_their_part(running: Topology) -> None:
    assert running.log("receiver").count('"child": "receiver-') >= 2
    spooled = {path.suffix for path in (running.folder / "spool").rglob("*.dcm")}
    assert spooled == {".dcm"}
    ended = [name for name, process in running.processes.items() if name != "migrate" and process.poll() is not None]
    assert ended == []


def _as_file(data: bytes, folder: Path) -> Path:
    path = folder / f"rs-{len(list(folder.glob('rs-*')))}.dcm"
    path.write_bytes(data)
    return path
