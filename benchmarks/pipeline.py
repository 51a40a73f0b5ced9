"""Time and memory of the whole service on pairs of CT series: 512 x 512 x 150, embedded Triton, real wires.

One warm-up case, then the counted ones, each another synthetic patient; figures are medians over the counted cases.
`total_s` runs from the first C-STORE to the last RTSTRUCT at the planning system and includes the quiet time after
which a series counts as complete (2 s here). Peak memory is the sum of each process's own peak (VmHWM).

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --cases 1 --slices 80
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from npc_contour.cli import local_run
from npc_contour.cli.demo_report import Received, read_received
from npc_contour.cli.phantom import write
from npc_phantom import PhantomOptions

FIRST_SEED = 1
SLICE_SPACING_MM = 2.5
PIPELINES = ("npc_oar_gtv", "ln_ctv")
DEADLINE_S = 900.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3, help="counted cases (default 3)")
    parser.add_argument("--slices", type=int, default=150)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="npc-bench-") as folder, ExitStack() as processes:
        root = Path(folder)
        patients = [root / f"patient{number}" for number in range(args.cases + 1)]
        for number, patient in enumerate(patients):
            options = PhantomOptions(matrix=512, slice_spacing_mm=SLICE_SPACING_MM, slices=args.slices)
            write(patient, FIRST_SEED + number, options)
        port = processes.enter_context(local_run.planning_system(root / "tps"))
        config = root / "site.toml"
        config.write_text(local_run.SITE + local_run.destination_toml("tps", "TPS", port), encoding="utf-8")
        running = processes.enter_context(local_run.service(config))
        cases = [run_case(running, patient, root / "tps") for patient in patients]
        memory = peaks_mb(running.process.pid)
    counted = cases[1:]
    print_table(cases, memory)
    print(json.dumps(summary(counted, memory)))


def run_case(running: local_run.Running, patient: Path, tps: Path) -> dict[str, Any]:
    """Send one pair, wait for both RTSTRUCTs and read them back."""
    before = set(tps.glob("RS.*.dcm"))
    known = {job["case_id"] for job in running.get("/jobs")}
    started_s = time.monotonic()
    local_run.send(patient, running.dicom_port)
    received_s = time.monotonic() - started_s
    while len(set(tps.glob("RS.*.dcm")) - before) < len(PIPELINES):
        if time.monotonic() - started_s > DEADLINE_S:
            raise TimeoutError(f"no two RTSTRUCTs within {DEADLINE_S:.0f} s: {running.get('/jobs')}")
        time.sleep(0.05)
    total_s = time.monotonic() - started_s
    time.sleep(1.0)  # the receipt is written after the file arrives
    case = {"total_s": total_s, "receive_s": received_s, "steps": steps_of(running, known)}
    arrived = [read_received(path, patient) for path in set(tps.glob("RS.*.dcm")) - before]
    return case | dice_of(arrived)


def steps_of(running: local_run.Running, known: set[str]) -> dict[str, float]:
    """Return the seconds of each step as the service's own timeline tells them, summed over the pipelines."""
    steps: dict[str, float] = {}
    for job in running.get("/jobs"):
        if job["case_id"] not in known:
            for event in running.get(f"/jobs/{job['case_id']}")["timeline"]:
                if event["seconds"] is not None:
                    name = event["detail"] or event["event"]
                    steps[name] = steps.get(name, 0.0) + event["seconds"]
    return steps


def dice_of(arrived: list[Received]) -> dict[str, float]:
    dice = {roi.name: roi.dice for item in arrived for roi in item.rois if roi.dice is not None}
    nodal = [value for name, value in dice.items() if name.startswith("CTVn_")]
    organs = [value for name, value in dice.items() if not name.startswith(("CTVn_", "GTV"))]
    return {
        "mean_dice_oar": statistics.fmean(organs),
        "dice_gtvp": dice.get("GTVp", 0.0),
        "dice_gtvn": dice.get("GTVn", 0.0),
        "mean_dice_ln_ctv": statistics.fmean(nodal),
    }


def peaks_mb(supervisor: int) -> dict[str, float]:
    """Return the sum of peak RSS by kind of process, in MB (10^6 bytes)."""
    peaks = {"service": 0.0, "triton": 0.0, "database": 0.0}
    parent = psutil.Process(supervisor)
    for process in (parent, *parent.children(recursive=True)):
        name = process.name()
        kind = "triton" if "triton" in name else "database" if "postgres" in name else "service"
        peaks[kind] += peak_kb(process.pid) * 1024 / 1e6
    return peaks


def peak_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def median(cases: list[dict[str, Any]], key: str) -> float:
    return statistics.median(case[key] for case in cases)


def median_step(cases: list[dict[str, Any]], *starts: str) -> float:
    return statistics.median(
        sum(seconds for step, seconds in case["steps"].items() if step.startswith(starts)) for case in cases
    )


def summary(cases: list[dict[str, Any]], memory: dict[str, float]) -> dict[str, float]:
    figures = {
        "total_s": median(cases, "total_s"),
        "receive_s": median(cases, "receive_s"),
        "segment_s": median_step(cases, "segment"),
        "structure_set_s": median_step(cases, "contour", "write"),
        "send_s": median_step(cases, "send"),
        "peak_rss_service_mb": memory["service"],
        "peak_rss_triton_mb": memory["triton"],
    }
    for key in ("mean_dice_oar", "dice_gtvp", "dice_gtvn", "mean_dice_ln_ctv"):
        figures[key] = statistics.fmean(case[key] for case in cases)
    return {key: round(value, 3) for key, value in figures.items()}


def print_table(cases: list[dict[str, Any]], memory: dict[str, float]) -> None:
    table = Table(title="seconds by case (the first is the warm-up)", title_justify="left")
    table.add_column("step")
    for number in range(len(cases)):
        table.add_column("warm-up" if number == 0 else f"case {number}", justify="right")
    for key in ("total_s", "receive_s"):
        table.add_row(key, *(f"{case[key]:.2f}" for case in cases))
    for step in sorted({step for case in cases for step in case["steps"]}):
        table.add_row(step, *(f"{case['steps'].get(step, 0.0):.2f}" for case in cases))
    console = Console()
    console.print(table)
    console.print("peak RSS, MB: " + ", ".join(f"{kind} {value:.0f}" for kind, value in memory.items()))


if __name__ == "__main__":
    main()
