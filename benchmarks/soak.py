"""Keep the receiver busy for an hour and draw its memory, threads and open files.

Two senders push series one after another, one peer breaks off in mid store, one only connects (as health checks do),
one sends garbage, and one holds an association open with a C-ECHO every five seconds. Each second is sampled. The first
fifth counts as warming up; growth is the median of the last fifth against the median of the second.

    python benchmarks/soak.py --out soak.png
    python benchmarks/soak.py --minutes 1
    python benchmarks/soak.py --pause 5       (seconds between the series of a sender: others can work beside)
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import psutil

mpl.use("Agg")
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from npc_testkit.attacks import Battlefield, echo_command, half_a_store
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.doors import Node, our_node
from npc_testkit.peers import run_tool
from npc_testkit.raw_dicom import RawAssociation

VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
SLICES, MATRIX = 40, 256


@dataclass
class Samples:
    """One value a second each."""

    at_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def take(self, node: Node, at_s: float) -> None:
        """Look at the receiving process."""
        process = psutil.Process(node.pids[0])
        self.at_s.append(at_s)
        self.rss_mb.append(process.memory_info().rss / 2**20)
        self.threads.append(process.num_threads())
        self.files.append(process.num_fds())

    def growth(self, values: list[float]) -> float:
        """Last fifth against the second one."""
        part = max(1, len(values) // 5)
        return statistics.median(values[-part:]) - statistics.median(values[part : 2 * part] or values)


@dataclass
class Traffic:
    """What is done to the node until the end."""

    node: Node
    folder: Path
    end: float
    pause_s: float = 0.0
    images: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def push(self, name: str) -> None:
        """Series after series, each new."""
        number = 0
        while time.monotonic() < self.end:
            number += 1
            plan = CtPlan(seed=f"{name}-{number}", slices=SLICES, rows=MATRIX, columns=MATRIX)
            files = write_series(self.folder / name, ct_datasets(plan))
            result = run_tool("storescu", "-aec", self.node.ae_title, "127.0.0.1", str(self.node.port), *files)
            with self.lock:
                self.images += len(files)
                self.failed += result.returncode != 0
            for file in files:
                file.unlink()
            time.sleep(self.pause_s)

    def break_off(self) -> None:
        """An association aborted or reset in mid store, twice a second."""
        while time.monotonic() < self.end:
            battle = Battlefield(self.node.port, self.node.ae_title, until=self.end)
            peer = half_a_store(battle)
            battle.send(peer, struct.pack(">BBL4x", 7, 0, 4))
            battle.leave()
            time.sleep(0.5)

    def check_health(self) -> None:
        """A bare TCP connection, twice a second."""
        while time.monotonic() < self.end:
            socket.create_connection(("127.0.0.1", self.node.port), timeout=10).close()
            time.sleep(0.5)

    def garbage(self) -> None:
        """Bytes that are no DICOM, each second."""
        while time.monotonic() < self.end:
            battle = Battlefield(self.node.port, self.node.ae_title, until=self.end)
            battle.send(battle.connect(), os.urandom(1000))
            battle.closed(wait_s=1.0)
            battle.leave()
            time.sleep(1.0)

    def hold_open(self) -> None:
        """One association from beginning to end."""
        with RawAssociation(self.node.port, VERIFICATION, [IMPLICIT], called=self.node.ae_title) as association:
            while time.monotonic() < self.end:
                association.socket.sendall(echo_command())
                if association.read_status() != 0:
                    self.failed += 1
                    return
                time.sleep(5.0)
            association.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two series of a sender (default 0)")
    parser.add_argument("--out", type=Path, default=Path("soak.png"), help="the plot (default soak.png)")
    args = parser.parse_args()
    samples = Samples()
    with (
        tempfile.TemporaryDirectory(prefix="npc-soak-", dir=os.environ.get("NPC_BENCH_DIR")) as folder,
        our_node(Path(folder) / "ours") as node,
    ):
        started = time.monotonic()
        traffic = Traffic(node, Path(folder), started + 60 * args.minutes, args.pause)
        works: list[Callable[[], None]] = [
            lambda: traffic.push("one"), lambda: traffic.push("two"), traffic.break_off, traffic.check_health,
            traffic.garbage, traffic.hold_open,
        ]  # fmt: skip
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("soaking", total=60 * args.minutes)
            while time.monotonic() < traffic.end:
                samples.take(node, time.monotonic() - started)
                progress.update(task, completed=time.monotonic() - started)
                time.sleep(1.0)
        for thread in threads:
            thread.join(timeout=60)
        left = sum(1 for _ in node.under_way.iterdir()) if node.under_way else 0
        kept = sum(1 for _ in node.received.rglob("*.dcm"))
    draw(samples, args.out)
    line = {
        "minutes": args.minutes,
        "pause_s": args.pause,
        "images": traffic.images,
        "images_kept": kept,
        "sendings_failed": traffic.failed,
        "rss_mb": round(samples.rss_mb[-1], 1),
        "rss_growth_mb": round(samples.growth(samples.rss_mb), 1),
        "threads_most": max(samples.threads),
        "open_files_growth": samples.growth(list(map(float, samples.files))),
        "files_left": left,
    }
    print(json.dumps(line))


def draw(samples: Samples, path: Path) -> None:
    """Memory above, threads and open files below, over minutes."""
    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    minutes = [at / 60 for at in samples.at_s]
    upper.plot(minutes, samples.rss_mb)
    upper.set(ylabel="resident memory, MiB", ylim=(0, 1.2 * max(samples.rss_mb)))
    lower.plot(minutes, samples.threads, label="threads")
    lower.plot(minutes, samples.files, label="open files")
    lower.set(xlabel="minutes", ylabel="count", ylim=(0, 1.2 * max(*samples.threads, *samples.files)))
    lower.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
