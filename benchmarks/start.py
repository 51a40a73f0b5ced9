"""Does it start? Fresh machines, several Pythons, odd environments: each starts, or is refused in one line at once.

    python benchmarks/start.py                   everything: about an hour on two cores
    python benchmarks/start.py --part debian     `make demo` on Debian 12 and 13, by root and by a user (needs root)
    python benchmarks/start.py --list

It needs a Python and git; for fresh machines root and debootstrap (`make system-packages`). What cannot be run here, or
what no package could be fetched for, is left out, and said. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from start_bench import LEFT_OUT, Bench, Case
from start_cases import cases
from start_machines import NotFetchedError, why_not
from start_watch import Ended

GOOD = ("started", "clear refusal")
MEMORY_OF_TWO_MIB = 14_000
"""Two demos at once."""
BUSY = 5.0
"""Load a core; two demos at once are far below it."""


def main() -> int:
    args = _arguments()
    for ended_by in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended_by, lambda number, _: sys.exit(128 + number))  # so that folders and machines go, too
    chosen = [case for case in cases() if case.part in args.part and args.only in case.name]
    if args.machine:
        chosen = [case for case in chosen if case.machine == args.machine]
    if args.list:
        print(*(f"{case.part:12} {case.name}" for case in chosen), sep="\n")
        return 0
    reason = why_not()
    rows = []
    if reason:
        rows = [_row(case, f"{LEFT_OUT}: {reason}") for case in chosen if case.needs_root]
        chosen = [case for case in chosen if not case.needs_root]
        print(f"{len(rows)} cases that need root are left out: {reason}", flush=True)
    until = time.monotonic() + args.within if args.within else float("inf")
    with tempfile.TemporaryDirectory(prefix="npc-start-") as folder:
        work = Path(folder)
        work.chmod(0o755)
        trees = args.trees or work / "trees"
        kinds = sorted({case.machine for case in chosen if case.machine})
        if len(kinds) > 1 and _room_for_two():
            rows += _side_by_side(kinds, args, trees, work, until)
            chosen = [case for case in chosen if not case.machine]
        rows += _run(chosen, Bench(work, trees, until))
    if args.rows is not None:
        args.rows.write_text(json.dumps(rows), encoding="utf-8")
        return 0
    return _report(rows)


def _arguments() -> argparse.Namespace:
    parts = sorted({case.part for case in cases()})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=parts, help="only this part; may be repeated")
    parser.add_argument("--only", default="", metavar="WORDS", help="only cases whose name has these words")
    parser.add_argument(
        "--trees", type=Path, help="keep what is fetched (bare systems, packages) here, for the next time"
    )
    parser.add_argument("--within", type=float, metavar="SECONDS", help="leave out what does not end in this time")
    parser.add_argument("--machine", default="", metavar="KIND", help="only cases on this fresh machine: debian12, ...")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="write the rows to a file, and no summary")
    args = parser.parse_args()
    args.part = args.part or parts
    return args


def _room_for_two() -> bool:
    memory = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return len(os.sched_getaffinity(0)) > 1 and memory is not None and int(memory[1]) > MEMORY_OF_TWO_MIB * 1024


def _side_by_side(
    kinds: list[str], args: argparse.Namespace, trees: Path, work: Path, until: float
) -> list[dict[str, Any]]:
    """Run the cases of two kinds of machines at a time, each kind in a process of its own."""
    rows: list[dict[str, Any]] = []
    same = [sys.executable, __file__, *(f"--part={part}" for part in args.part), "--only", args.only, "--trees", trees]
    for pair in (kinds[first : first + 2] for first in range(0, len(kinds), 2)):
        within = [] if until == float("inf") else ["--within", str(max(until - time.monotonic(), 1.0))]
        files = [work / f"{kind}.json" for kind in pair]
        processes = [
            subprocess.Popen([*same, "--machine", kind, "--rows", file, *within])
            for kind, file in zip(pair, files, strict=True)
        ]
        try:
            for process, file in zip(processes, files, strict=True):
                if process.wait():
                    raise RuntimeError(f"{file.stem}: the trial itself failed, see above")
                rows += json.loads(file.read_text(encoding="utf-8"))
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    return rows


def _run(chosen: list[Case], bench: Bench) -> list[dict[str, Any]]:
    rows = []
    for number, case in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {case.name} ...", flush=True)
        rows.append(_row(case, *_outcome(case, bench)))
        if number == len(chosen) or chosen[number].machine != case.machine:
            _forget_machines(bench)
    return rows


def _outcome(case: Case, bench: Bench) -> tuple[str, Ended | None]:
    """Run a case, say how it ended and what it left."""
    if time.monotonic() > bench.until:
        return f"{LEFT_OUT}: the time was over", None
    try:
        ended = case.run(bench)
    except NotFetchedError as error:
        print(f"    {error}", flush=True)
        return f"{LEFT_OUT}: packages cannot be fetched", None
    outcome = case.outcome(ended)
    if outcome not in GOOD and (reason := _no_fair_trial(bench)):
        outcome = f"{LEFT_OUT}: {reason}, it ended with {outcome!r}"
    print(f"    {case.name}: {outcome}, {ended.seconds:.0f} s", flush=True)
    if outcome not in GOOD:
        print(*(f"    | {line}" for line in ended.output.splitlines()[-25:]), sep="\n", flush=True)
    for what in (*ended.processes, *ended.files):
        print(f"    left behind: {what[:200]}", flush=True)
    return outcome, ended


def _no_fair_trial(bench: Bench) -> str:
    """Return why a failure says nothing: no time, or a machine so busy that every deadline passes; "" where it does."""
    if time.monotonic() > bench.until:
        return "the time was over"
    _, load, _ = os.getloadavg()
    return f"a load of {load:.0f}" if load > BUSY * len(os.sched_getaffinity(0)) else ""


def _row(case: Case, outcome: str, ended: Ended | None = None) -> dict[str, Any]:
    return {
        "case": case.name,
        "outcome": outcome,
        "seconds": round(ended.seconds, 1) if ended else 0.0,
        "processes": len(ended.processes) if ended else 0,
        "files": len(ended.files) if ended else 0,
    }


def _forget_machines(bench: Bench) -> None:
    for machine in bench.machines.values():
        machine.remove()
    bench.machines.clear()


def _report(rows: list[dict[str, Any]]) -> int:
    left_out = [row for row in rows if row["outcome"].startswith(LEFT_OUT)]
    ran = [row for row in rows if row not in left_out]
    outcomes = [row["outcome"] for row in ran]
    for row in rows:
        if row["outcome"] not in GOOD:
            print(f"{row['case']}: {row['outcome']}")
    summary = {
        "cases": len(ran),
        "started": outcomes.count("started"),
        "clear_refusals": outcomes.count("clear refusal"),
        "tracebacks": outcomes.count("traceback"),
        "left_processes": sum(row["processes"] for row in ran),
        "left_files": sum(row["files"] for row in ran),
        "demo_s": {row["case"].split(":")[0]: row["seconds"] for row in ran if "make demo by root" in row["case"]},
        "left_out": len(left_out),
    }
    print(json.dumps(summary))
    good = summary["cases"] == summary["started"] + summary["clear_refusals"]
    return 0 if good and not summary["left_processes"] and not summary["left_files"] else 1


if __name__ == "__main__":
    sys.exit(main())
