"""Everything that may break, broken: what was acknowledged is kept, and every study is delivered once and proved.

Real PostgreSQL (embedded, and Debian's over TCP), real Triton, DCMTK senders, Orthanc as the planning system; the
networks are stand-ins of one convolution, and the images are a phantom's at a quarter of its resolution in plane, so
that a hundred studies take minutes. Each trial has a service of its own.

    python benchmarks/faults.py                                   all trials, at full size
    python benchmarks/faults.py --short                           all trials, small
    python benchmarks/faults.py --only kills --results r.json     one after another; the figures add up in r.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from npc_testkit.fault_clock import clock
from npc_testkit.fault_damage import damage
from npc_testkit.fault_hangs import hangs
from npc_testkit.fault_lab import Lab, Outcome, lab
from npc_testkit.fault_outside import disk_full, rude_senders, throughput, tps_away
from npc_testkit.fault_proxy import proxy
from npc_testkit.fault_spool import foreign_spool
from npc_testkit.fault_trials import boundaries, database_crashes, machine_gone, random_kills, triton_killed
from npc_testkit.fault_upgrade import rolling_upgrade
from npc_testkit.fault_wires import wires

TRIALS = {
    "kills": random_kills,
    "boundaries": boundaries,
    "machine": machine_gone,
    "upgrade": rolling_upgrade,
    "triton": triton_killed,
    "database": database_crashes,
    "disk": disk_full,
    "tps": tps_away,
    "senders": rude_senders,
    "hang": hangs,
    "damage": damage,
    "foreign_spool": foreign_spool,
    "clock": clock,
    "wires": wires,
    "proxy": proxy,
    "throughput": throughput,
}
COUNTED = ("silent_wrong", "clock_wrong_generations")
LONGEST = ("longest_unnoticed_hang_s",)
"""Of `Outcome.more`: added up over the trials that count them, and the largest of all."""
SUMS = ("studies", "kills", "lost_instances", "lost_studies", "duplicate_objects", "repeated_effects")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=TRIALS, default=list(TRIALS), metavar="TRIAL", help=", ".join(TRIALS)
    )
    parser.add_argument("--short", action="store_true", help="few studies, few kills")
    parser.add_argument(
        "--size", type=float, default=1.0, help="share of the 100 studies and 40 kills, to do it in parts"
    )
    parser.add_argument("--results", type=Path, help="add outcomes to this file, and report all that are in it")
    parser.add_argument("--work", type=Path, help="keep images and logs here (default: a temporary folder)")
    args = parser.parse_args()
    results: dict[str, Any] = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    with tempfile.TemporaryDirectory(prefix="npc-faults-") as temporary:
        work = (args.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        work.chmod(0o755)
        with lab(work, args.size) as shared:
            for name in args.only:
                outcome = run(name, shared, short=args.short)
                part = sum(key.partition("@")[0] == name for key in results) if args.size < 1 else 0
                results[f"{name}@{part}" if part else name] = {**outcome.as_json(), "short": args.short}
                if args.results:
                    args.results.write_text(json.dumps(results, indent=1))
    print_table(results)
    print(json.dumps(summary(results)))
    return 0 if all(row["held"] for row in results.values()) else 1


def run(name: str, shared: Lab, *, short: bool) -> Outcome:
    began = time.monotonic()
    try:
        outcome = TRIALS[name](shared, short)
    except Exception as error:  # noqa: BLE001 - one trial that breaks must not hide the others
        traceback.print_exc()
        outcome = Outcome(name, held=False, detail=f"{type(error).__name__}: {error}"[:300])
    outcome.seconds = round(time.monotonic() - began, 1)
    print(f"{name}: {'held' if outcome.held else 'DID NOT HOLD'}, {outcome.detail} ({outcome.seconds} s)", flush=True)
    return outcome


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """The line that is compared: sums over all trials; the slowest resume."""
    rows = list(results.values())
    more = {key: value for row in rows for key, value in row["more"].items()}
    return {
        **{key: sum(row[key] for row in rows) for key in SUMS},
        "max_resume_s": round(max((value for row in rows for value in row["resume_s"]), default=0.0), 1),
        "queue_start_p95_ms": more.get("queue_start_p95_ms"),
        "two_workers_speedup": more.get("two_workers_speedup"),
        **{key: sum(row["more"].get(key, 0) for row in rows) for key in COUNTED},
        **{key: max((row["more"].get(key, 0.0) for row in rows), default=0.0) for key in LONGEST},
        "trials": {name: row["held"] for name, row in results.items()},
    }


def print_table(results: dict[str, Any]) -> None:
    table = Table("trial", "held", "studies", "kills", "lost", "twice", "slowest resume", "seconds", "seen", box=None)
    for row in results.values():
        lost, twice = row["lost_instances"] + row["lost_studies"], row["duplicate_objects"] + row["repeated_effects"]
        resume = f"{max(row['resume_s']):.1f} s" if row["resume_s"] else ""
        table.add_row(row["name"], "yes" if row["held"] else "NO", str(row["studies"]), str(row["kills"]), str(lost),
                      str(twice), resume, f"{row['seconds']:.0f}", row["detail"])  # fmt: skip
    Console(width=180).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
