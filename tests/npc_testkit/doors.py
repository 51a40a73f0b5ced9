"""DICOM nodes that take images, each in processes of its own: ours as the service runs it, Orthanc, storescp."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
from npc_contour.adapters.workflow.queue import apply_queue_schema
from npc_contour.app.priority import answer_soon
from npc_contour.app.runtime import Runtime
from npc_contour.settings import Settings
from npc_contour.store.database import migrate
from npc_testkit.orthanc import orthanc
from npc_testkit.peers import free_port, start_tool, wait_for_port


@dataclass(frozen=True, slots=True)
class Node:
    """One running node.

    Attributes:
        pids: whose CPU time and memory count, with their children; the first takes images.
        under_way: where files are that are not complete yet; None where none are told from complete ones.
        received: the folder of what it received.
    """

    name: str
    port: int
    ae_title: str
    pids: tuple[int, ...]
    received: Path
    under_way: Path | None = None

    def processes(self) -> list[psutil.Process]:
        """All its processes that live."""
        found: list[psutil.Process] = []
        for pid in self.pids:
            try:
                main = psutil.Process(pid)
                found += [main, *main.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return found

    def cpu_s(self) -> float:
        """CPU seconds so far, of children that ended, too."""
        total = 0.0
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_mb(self) -> float:
        """Memory of what takes images, without the database; of forked children what they do not share."""
        main = psutil.Process(self.pids[0])
        total = float(main.memory_info().rss) / 2**20
        for process in main.children(recursive=True):
            try:
                total += float(process.memory_full_info().uss) / 2**20
            except psutil.NoSuchProcess:
                continue
        return total

    def threads(self) -> int:
        """Threads and processes of what takes images."""
        main = psutil.Process(self.pids[0])
        return int(main.num_threads()) + len(main.children(recursive=True))


@contextmanager
def our_node(
    folder: Path, *, processes: int = 1, dicom: Mapping[str, object] | None = None, restart: bool = False
) -> Iterator[Node]:
    """Our receiving processes with a PostgreSQL of their own, as `npc-contour serve` starts them.

    Args:
        folder: made when absent.
        processes: how many receive.
        dicom: further keys of the settings' table.
        restart: the folder is one that was used before.
    """
    folder.mkdir(parents=True, exist_ok=restart)
    table = {"port": 0, "processes": processes, **(dicom or {})}
    settings = Settings.model_validate({"storage": {"root": str(folder)}, "dicom": table})
    with ExitStack() as running:
        # As the supervisor does: the database and the receivers ask for short turns, the caller does not.
        soon = running.enter_context(ThreadPoolExecutor(1, initializer=answer_soon))
        database = soon.submit(running.enter_context, EmbeddedPostgres(folder / "postgres")).result()
        migrate(database.url, apply_queue_schema)
        runtime = Runtime.of(settings, database_url=database.url)
        runtime.write()
        log = running.enter_context((folder / "receiver.log").open("ab"))
        pids = []
        for number in range(processes):
            command = [sys.executable, "-m", "npc_contour.app", f"receiver-{number}", str(runtime.path)]
            process = subprocess.Popen(command, stderr=log)
            running.callback(process.wait)
            running.callback(process.terminate)
            pids.append(process.pid)
        wait_for_port(runtime.dicom_port, timeout_s=60)
        spool = settings.storage.spool
        postgres = [database.pid] if database.pid else []
        yield Node(
            "ours", runtime.dicom_port, "NPC_CONTOUR", (*pids, *postgres), spool / "instances", spool / "incoming"
        )


@contextmanager
def orthanc_node(folder: Path, *, options: Mapping[str, object] | None = None) -> Iterator[Node]:
    """Orthanc with its defaults (it syncs each file) but for `options`."""
    before = {process.pid for process in psutil.Process().children()}
    with orthanc(folder, options=options) as node:
        mine = [process.pid for process in psutil.Process().children() if process.pid not in before]
        yield Node("orthanc", node.dicom_port, node.ae_title, tuple(mine), folder / "storage")


@contextmanager
def storescp_node(folder: Path, *options: str) -> Iterator[Node]:
    """DCMTK's storescp, which never syncs; `--fork` among the options serves associations at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    process = start_tool("storescp", "-q", "+B", "-pdu", "131072", *options, "-od", folder, str(port))
    try:
        wait_for_port(port)
        yield Node("storescp", port, "STORESCP", (process.pid,), folder)
    finally:
        process.terminate()
        process.communicate(timeout=10)
