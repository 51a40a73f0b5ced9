"""Does it start? Fresh machines, several Pythons, odd environments: each starts, or is refused in one line at once.

    python benchmarks/start.py                   everything: about an hour on two cores
    python benchmarks/start.py --part debian     `make demo` on Debian 12 and 13, by root and by a user (needs root)
    python benchmarks/start.py --list

It needs a Python and git; for fresh machines root and debootstrap (`make system-packages`). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from start_cases import Bench, Case, cases, needs_machine
from start_machines import why_not

GOOD = ("started", "clear refusal")


def main() -> int:
    every = cases()
    parts = sorted({case.part for case in every})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=parts, help="only this part; may be repeated")
    parser.add_argument("--only", default="", metavar="WORDS", help="only cases whose name has these words")
    parser.add_argument("--trees", type=Path, help="keep the systems that debootstrap lays here, for the next time")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    args = parser.parse_args()
    for ended_by in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended_by, lambda number, _: sys.exit(128 + number))  # so that folders and machines go, too
    chosen = [case for case in every if case.part in (args.part or parts) and args.only in case.name]
    if args.list:
        print(*(f"{case.part:12} {case.name}" for case in chosen), sep="\n")
        return 0
    reason = why_not()
    if reason:
        left_out = [case.name for case in chosen if needs_machine(case)]
        chosen = [case for case in chosen if not needs_machine(case)]
        print(f"{len(left_out)} cases on fresh machines are left out: {reason}", flush=True)
    with tempfile.TemporaryDirectory(prefix="npc-start-") as folder:
        work = Path(folder)
        work.chmod(0o755)
        return _report(_run(chosen, Bench(work, args.trees or work / "trees")))


def _run(chosen: list[Case], bench: Bench) -> list[dict[str, Any]]:
    rows = []
    for number, case in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {case.name} ...", flush=True)
        ended = case.run(bench)
        outcome = case.outcome(ended)
        rows.append(
            {
                "case": case.name,
                "outcome": outcome,
                "seconds": round(ended.seconds, 1),
                "processes": len(ended.processes),
                "files": len(ended.files),
            }
        )
        print(f"    {outcome}, {ended.seconds:.0f} s", flush=True)
        if outcome not in GOOD:
            print(*(f"    | {line}" for line in ended.output.splitlines()[-25:]), sep="\n", flush=True)
        for what in (*ended.processes, *ended.files):
            print(f"    left behind: {what[:200]}", flush=True)
        if number == len(chosen) or not needs_machine(chosen[number]) or chosen[number].name[:8] != case.name[:8]:
            _forget_machines(bench)
    return rows


def _forget_machines(bench: Bench) -> None:
    for machine in bench.machines.values():
        machine.remove()
    bench.machines.clear()


def _report(rows: list[dict[str, Any]]) -> int:
    outcomes = [row["outcome"] for row in rows]
    demos = {row["case"].split(":")[0]: row["seconds"] for row in rows if "make demo by root" in row["case"]}
    summary = {
        "cases": len(rows),
        "started": outcomes.count("started"),
        "clear_refusals": outcomes.count("clear refusal"),
        "tracebacks": outcomes.count("traceback"),
        "left_processes": sum(row["processes"] for row in rows),
        "left_files": sum(row["files"] for row in rows),
        "demo_s": demos,
    }
    print(json.dumps(summary))
    good = summary["cases"] == summary["started"] + summary["clear_refusals"]
    return 0 if good and not summary["left_processes"] and not summary["left_files"] else 1


if __name__ == "__main__":
    sys.exit(main())
