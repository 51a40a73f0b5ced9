"""How fast images are taken, against DCMTK's storescp and Orthanc, in one run on one machine.

N `storescu` processes at once push 200 CT slices of 0.5 MB, N = 1, 4, 8, 16. Ours is the receiving process as the
service runs it, with its embedded PostgreSQL: each 0x0000 means that file, name and row are on disk. Orthanc runs with
its defaults (it, too, syncs each file); `storescp --fork -pdu 131072` never syncs. Servers take turns in a round, so
that each meets the same machine; figures are medians over rounds, ratios are of images a second (above 1: ours is
faster). All DCMTK and Orthanc processes have TCP_NODELAY=1: without it they wait 40 ms for each acknowledgement.

The last part pushes the same images while other processes compute at the priority that the service gives Triton and
its networks, and prints by how much that slows receiving.

    python benchmarks/ingress.py
    python benchmarks/ingress.py --rounds 1 --associations 1 4 --processes 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from npc_contour.app.priority import compute_only
from npc_contour.settings import Triton

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.doors import Node, orthanc_node, our_node, storescp_node
from npc_testkit.peers import peer_environment, require_tool

SLICES = 200
MATRIX = 512
WORK = "import numpy as np\na = np.random.rand(1500, 1500).astype('f4')\nwhile True: a = a @ a; a /= abs(a).max()"


@dataclass
class Server:
    """One node under test and what was measured of it, by number of associations."""

    node: Node
    rates: dict[int, list[float]] = field(default_factory=dict)
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.node.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--processes", type=int, default=1, help="our receiving processes (default 1)")
    parser.add_argument("--without", nargs="*", default=[], choices=["orthanc", "storescp"])
    args = parser.parse_args()
    # Not in /tmp where that is memory: a sync must reach a disk. Nothing is deleted before the end (6 GB): before
    # ext4 makes a file it looks at each inode that was freed in the last minutes, which costs whoever comes next.
    with tempfile.TemporaryDirectory(prefix="npc-ingress-", dir=os.environ.get("NPC_BENCH_DIR")) as folder:
        root = Path(folder)
        with ExitStack() as running:
            nodes = [our_node(root / "ours", processes=args.processes)]
            if "orthanc" not in args.without:
                nodes.append(orthanc_node(root / "orthanc"))
            if "storescp" not in args.without:
                nodes.append(storescp_node(root / "storescp", "--fork"))
            servers = [Server(running.enter_context(node)) for node in nodes]
            batches = Batches(root / "images")
            for server in servers:
                push(server, batches.next(20), 2)  # warm up: caches, prepared statements, first tables
            before_mb = servers[0].node.rss_mb()
            for round_number in range(args.rounds):
                for count in args.associations:
                    files = batches.next(SLICES)
                    for server in turned(servers, round_number):
                        measure(server, files, count)
            growth_mb = servers[0].node.rss_mb() - before_mb
            slowdown = under_load(servers[0], batches, args.rounds)
    report(servers, args.associations, growth_mb, slowdown)


def turned(servers: list[Server], by: int) -> list[Server]:
    """Another one begins in each round."""
    by %= len(servers)
    return servers[by:] + servers[:by]


def measure(server: Server, files: Sequence[Path], count: int) -> None:
    cpu_before = server.node.cpu_s()
    seconds = push(server, files, count)
    cpu = server.node.cpu_s() - cpu_before
    server.rates.setdefault(count, []).append(len(files) / seconds)
    server.cpu_ms.setdefault(count, []).append(1000 * cpu / len(files))


def push(server: Server, files: Sequence[Path], count: int) -> float:
    """Let `count` senders push the files at once; return the seconds until the last has ended."""
    command = [require_tool("storescu"), "-R", "-xe", "-aec", server.node.ae_title, "127.0.0.1", str(server.node.port)]
    started = time.perf_counter()
    senders = [
        subprocess.Popen([*command, *map(str, files[part::count])], env=peer_environment(), stderr=subprocess.PIPE)
        for part in range(count)
    ]
    failed = [sender.stderr.read().decode() for sender in senders if sender.wait() != 0 and sender.stderr]
    seconds = time.perf_counter() - started
    for sender in senders:
        if sender.stderr:
            sender.stderr.close()
    if failed:
        raise SystemExit(f"{server.name}: a sender failed: {failed[0][:500]}")
    return seconds


class Batches:
    """Series of CT slices, each with UIDs of its own, made of one template by replacing UIDs of equal length."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        dataset = ct_datasets(CtPlan(slices=1, rows=MATRIX, columns=MATRIX))[0]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.1" + "0" * 12
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.2" + "0" * 12, "1.2.3.3" + "0" * 12
        self._template = as_bytes(dataset)

    def next(self, slices: int) -> list[Path]:
        """Write another series."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        paths = []
        for number in range(slices):
            data = self._template
            for level, value in ((1, self._count * 1000 + number + 1), (2, self._count), (3, self._count)):
                data = data.replace(f"1.2.3.{level}{'0' * 12}".encode(), f"1.2.3.{level}{value:012d}".encode())
            paths.append(folder / f"{number}.dcm")
            paths[-1].write_bytes(data)
        return paths


def under_load(server: Server, batches: Batches, rounds: int) -> dict[str, float]:
    """Images a second alone and while every core computes, in turns; by how much receiving is slowed."""
    rates: dict[str, list[float]] = {"alone": [], "computing": []}
    for _ in range(max(rounds, 3)):
        for name, values in rates.items():
            with computing() if name == "computing" else ExitStack():
                files = batches.next(SLICES)
                values.append(len(files) / push(server, files, 4))
    alone, busy = statistics.median(rates["alone"]), statistics.median(rates["computing"])
    return {"alone": alone, "computing": busy, "slowdown": 1 - busy / alone}


@contextmanager
def computing() -> Iterator[None]:
    """Matrix products on every core, at the priority of the service's networks."""
    command = [sys.executable, "-c", WORK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    hogs = [subprocess.Popen(command, env=environment, start_new_session=True) for _ in range(os.cpu_count() or 1)]
    try:
        for hog in hogs:
            compute_only(hog.pid, Triton().nice)
        time.sleep(1.0)
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def report(servers: list[Server], counts: Sequence[int], growth_mb: float, load: dict[str, float]) -> None:
    table = Table(title=f"{SLICES} CT slices of {MATRIX} x {MATRIX}, images a second (CPU ms an image)")
    table.add_column("associations", justify="right")
    for server in servers:
        table.add_column(server.name, justify="right")
    for count in counts:
        cells = [f"{statistics.median(s.rates[count]):.0f} ({statistics.median(s.cpu_ms[count]):.2f})" for s in servers]
        table.add_row(str(count), *cells)
    console = Console()
    console.print(table)
    by_name = {server.name: server for server in servers}

    def ratios(name: str) -> dict[str, float]:
        other = by_name.get(name)
        if other is None:
            return {}
        pairs = {count: zip(servers[0].rates[count], other.rates[count], strict=True) for count in counts}
        return {str(count): round(statistics.median(mine / its for mine, its in pairs[count]), 2) for count in counts}

    console.print(
        f"4 associations: {load['alone']:.0f} images a second alone, {load['computing']:.0f} while every core computes:"
        f" {100 * load['slowdown']:.0f} % slower"
    )
    cpu = {str(count): round(statistics.median(servers[0].cpu_ms[count]), 2) for count in counts}
    line = {
        "vs_orthanc": ratios("orthanc"),
        "vs_dcmtk": ratios("storescp"),
        "cpu_ms_per_image": cpu,
        "rss_growth_mb": round(growth_mb, 1),
        "images_per_s": {str(count): round(statistics.median(servers[0].rates[count])) for count in counts},
        "slowdown_while_computing": round(load["slowdown"], 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
