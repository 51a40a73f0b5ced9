"""The same attacks on our receiver, on Orthanc and on DCMTK's storescp: who stays up, and what it costs.

While an attack runs from 127.0.0.2, another peer sends C-ECHO after C-ECHO from 127.0.0.1. An attack is survived when
each of these is answered within a second, the node answers afterwards, it has grown by less than 100 MiB, and no file
of an unfinished transfer is left. Ours runs as the service runs it, with its database; the time-outs of all are 3 s
where they can be set (Orthanc: DicomScpTimeout; storescp: -ta, -td). A node that no longer answers is started anew for
the next attack. The last part sends ours every malformed object of tests/npc_testkit/malformed.toml and compares the
statuses with those written there.

    python benchmarks/front_door_faults.py
    python benchmarks/front_door_faults.py --only "silent" --nodes ours
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from npc_testkit.attacks import ATTACKS, Battlefield, echo_command
from npc_testkit.doors import Node, orthanc_node, our_node, storescp_node
from npc_testkit.malformed_verdicts import count_as_specified
from npc_testkit.raw_dicom import RawAssociation, Rejected

VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
TIME_OUT_S = 3
ECHO_LIMIT_S = 1.0
ECHO_PATIENCE_S = 3.0
GROWTH_LIMIT_MB = 100.0


@dataclass
class Outcome:
    """What one attack did to one node.

    Attributes:
        echo_s: of each C-ECHO meanwhile; infinite for one that was not answered.
        cut: whether the node closed all of the attacker's connections by itself within the time-outs.
    """

    echo_s: list[float] = field(default_factory=list)
    growth_mb: float = 0.0
    files_left: int = 0
    cut: bool = False
    alive: bool = False

    @property
    def survived(self) -> bool:
        """Whether others were served and nothing of note was lost."""
        return (
            self.alive
            and max(self.echo_s, default=0.0) <= ECHO_LIMIT_S
            and self.growth_mb < GROWTH_LIMIT_MB
            and not self.files_left
        )

    @property
    def words(self) -> str:
        """A cell of the table."""
        if self.survived:
            return f"{1000 * max(self.echo_s, default=0.0):.0f} ms" + ("" if self.cut else ", held")
        faults = []
        unanswered = sum(seconds > ECHO_LIMIT_S for seconds in self.echo_s)
        if unanswered:
            faults.append(f"{unanswered} of {len(self.echo_s)} echoes late or lost")
        if self.growth_mb >= GROWTH_LIMIT_MB:
            faults.append(f"+{self.growth_mb:.0f} MiB")
        if self.files_left:
            faults.append(f"{self.files_left} files left")
        if not self.alive:
            faults.append("DEAD")
        return ", ".join(faults)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    parser.add_argument("--nodes", nargs="+", default=["ours", "orthanc", "storescp"])
    parser.add_argument("--seconds", type=float, default=1.5, help="how long an attack lasts (default 1.5)")
    args = parser.parse_args()
    names = [name for name in ATTACKS if args.only in name]
    found: dict[str, dict[str, Outcome]] = {}
    cases = as_specified = 0
    with tempfile.TemporaryDirectory(prefix="npc-faults-", dir=os.environ.get("NPC_BENCH_DIR")) as folder:
        for node in args.nodes:
            found[node] = besiege(node, Path(folder), names, args.seconds)
        if "ours" in args.nodes:
            with our_node(Path(folder) / "malformed") as node:
                cases, as_specified = count_as_specified(node.port)
    report(names, found)
    ours = found.get("ours", {})
    echoes = sorted(seconds for outcome in ours.values() for seconds in outcome.echo_s)
    p99 = echoes[int(0.99 * (len(echoes) - 1))] if echoes else 0.0
    line = {
        "attacks": len(names),
        "survived": sum(outcome.survived for outcome in ours.values()),
        "echo_p99_ms_under_attack": round(1000 * p99, 1),
        "max_rss_growth_mb": round(max((outcome.growth_mb for outcome in ours.values()), default=0.0), 1),
        "files_left": sum(outcome.files_left for outcome in ours.values()),
        "malformed_cases": cases,
        "malformed_as_specified": as_specified,
        **{f"survived_{name}": sum(o.survived for o in found[name].values()) for name in found if name != "ours"},
    }
    print(json.dumps(line))


def besiege(kind: str, folder: Path, names: list[str], seconds: float) -> dict[str, Outcome]:
    """All attacks on one node, which is started anew where it does not answer any more."""
    start: dict[str, Callable[[Path], AbstractContextManager[Node]]] = {
        "ours": lambda home: our_node(home, dicom={"associate_s": TIME_OUT_S, "silence_s": TIME_OUT_S}),
        "orthanc": lambda home: orthanc_node(home, options={"DicomScpTimeout": TIME_OUT_S}),
        "storescp": lambda home: storescp_node(home, "--fork", "-ta", str(TIME_OUT_S), "-td", str(TIME_OUT_S)),
    }
    outcomes: dict[str, Outcome] = {}
    left = list(names)
    progress = iter(track(names, description=kind, console=Console(stderr=True)))
    while left:
        with start[kind](folder / f"{kind}-{len(left)}") as node:
            while left:
                name = left.pop(0)
                next(progress, None)
                outcomes[name] = attacked(node, name, seconds)
                if not outcomes[name].alive:
                    break
    return outcomes


def attacked(node: Node, name: str, seconds: float) -> Outcome:
    """One attack on one node."""
    outcome = Outcome()
    echo_s(node)
    before_mb, before_files = node.rss_mb(), unfinished(node)
    peak_mb = before_mb
    battle = Battlefield(node.port, node.ae_title, until=time.monotonic() + seconds, most_mb=200)
    attacker = threading.Thread(target=ATTACKS[name], args=(battle,), daemon=True)
    attacker.start()
    end = time.monotonic() + seconds
    while attacker.is_alive() or time.monotonic() < end:
        outcome.echo_s.append(echo_s(node))
        peak_mb = max(peak_mb, node.rss_mb())
        time.sleep(0.05)
        if time.monotonic() > end + 20:
            break
    attacker.join(timeout=30)
    outcome.cut = battle.closed(wait_s=TIME_OUT_S + 3.0 if node.name == "ours" else 0.5) == len(battle.sockets)
    battle.leave()
    outcome.alive = recovers(node)
    outcome.growth_mb = max(peak_mb, node.rss_mb()) - before_mb if psutil.pid_exists(node.pids[0]) else 0.0
    outcome.files_left = max(0, unfinished(node) - before_files)
    return outcome


def unfinished(node: Node) -> int:
    """Files of transfers that did not end well; what is whole has a name that says so."""
    if node.under_way is not None:
        return sum(1 for _ in node.under_way.iterdir())
    return sum(path.stat().st_size < 100_000 for path in node.received.rglob("*") if path.is_file())


def echo_s(node: Node) -> float:
    """How long one C-ECHO takes; infinite when it is not answered."""
    started = time.monotonic()
    try:
        with RawAssociation(
            node.port, VERIFICATION, [IMPLICIT], called=node.ae_title, timeout_s=ECHO_PATIENCE_S
        ) as association:
            association.socket.sendall(echo_command())
            if association.read_status() != 0:
                return float("inf")
            association.release()
    except (Rejected, OSError):
        return float("inf")
    return time.monotonic() - started


def recovers(node: Node) -> bool:
    """Whether it answers again once the attacker has gone."""
    deadline = time.monotonic() + 3 * TIME_OUT_S
    while time.monotonic() < deadline:
        if echo_s(node) <= ECHO_PATIENCE_S:
            return True
        if not psutil.pid_exists(node.pids[0]):
            return False
        time.sleep(0.2)
    return False


def report(names: list[str], found: dict[str, dict[str, Outcome]]) -> None:
    table = Table(title="slowest C-ECHO under attack; 'held': some of the attacker's connections stayed open")
    table.add_column("attack")
    for node, outcomes in found.items():
        table.add_column(f"{node} ({sum(o.survived for o in outcomes.values())} of {len(names)})")
    for name in names:
        table.add_row(name, *(outcomes[name].words for outcomes in found.values()))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
