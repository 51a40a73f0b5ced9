"""`npc-networks bench`: latency, windows a second and peak memory of a network, by engine and precision."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from npc_contour.catalog import read_contract
from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.errors import CatalogError
from npc_networks.bench.measure import ENGINES, Shape, Task, available, head_and_neck
from npc_networks.bench.served import ServerRefused, measure_served
from npc_networks.progress import bar
from npc_networks.serving.memory import segment_peak_bytes

SPACING = (3.0, 0.977, 0.977)
TITLE = "measure a network by engine and precision: seconds, windows a second, peak memory"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench`."""
    command.add_argument("name", metavar="NAME", help="which network")
    command.add_argument("--repo", type=Path, default=Path("triton_repo"), metavar="DIR", help="default triton_repo")
    command.add_argument("--engine", dest="engines", action="append", choices=list(ENGINES), help="default all")
    command.add_argument(
        "--shape", type=int, nargs=3, default=(150, 512, 512), metavar=("Z", "Y", "X"), help="default 150 512 512"
    )
    command.add_argument(
        "--spacing", type=float, nargs=3, default=SPACING, metavar=("Z", "Y", "X"), help="mm, default 3 0.977 0.977"
    )
    command.add_argument("--repeats", type=int, choices=range(1, 21), default=3, metavar="N", help="default 3")
    command.add_argument("--triton", metavar="HOST:PORT", help="also ask this running Triton (gRPC)")
    command.add_argument("--json", type=Path, metavar="FILE", help="also keep the JSON line there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure and print a table and one JSON line; returns 2 and says why when that is refused."""
    z, y, x = options.shape
    az, ay, ax = options.spacing
    try:
        contract = read_contract(options.repo / options.name / "contract.json")
        rows = _local(options, (z, y, x), (az, ay, ax), console)
        if options.triton:
            volume = head_and_neck((z, y, x), len(contract.channels))
            rows.append(asdict(measure_served(options.triton, contract, volume, (az, ay, ax), options.repeats)))
    except (CatalogError, ServerRefused, subprocess.CalledProcessError) as refusal:
        console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
        return 2
    bound_mb = segment_peak_bytes(contract, (z, y, x), (az, ay, ax)) / 1e6
    _tell(contract, rows, bound_mb, console)
    line = json.dumps(
        {
            "network": contract.name,
            "version": contract.version,
            "shape_zyx": [z, y, x],
            "spacing_zyx_mm": [az, ay, ax],
            "volume_memory_bound_mb": round(bound_mb, 1),
            "engines": rows,
        }
    )
    if options.json:
        options.json.write_text(line + "\n", encoding="utf-8")
    console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _local(options: argparse.Namespace, shape: Shape, spacing: Vec3, console: Console) -> list[dict[str, Any]]:
    missing = available()
    wanted = options.engines or list(ENGINES)
    for engine in wanted:
        if engine in missing:
            console.print(f"left out {engine}: {missing[engine]}", soft_wrap=True, markup=False, highlight=False)
    chosen = [engine for engine in wanted if engine not in missing]
    rows = []
    with bar(console) as progress:
        task = progress.add_task(options.name, total=len(chosen))
        for engine in chosen:
            progress.update(task, description=f"{options.name} {engine}")
            folder = str((options.repo / options.name).resolve())
            rows.append(_apart(Task(folder, engine, shape, spacing, options.repeats)))
            progress.advance(task)
    return rows


def _apart(task: Task) -> dict[str, Any]:
    command = [sys.executable, "-m", "npc_networks.bench.measure", json.dumps(asdict(task))]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures


def _tell(contract: NetworkContract, rows: Sequence[dict[str, Any]], bound_mb: float, console: Console) -> None:
    heads = ("load s", "first s", "latency s", "windows", "windows/s", "peak RSS MB")
    keys = ("load_s", "first_s", "latency_s", "windows", "windows_per_s", "peak_rss_mb")
    table = Table(
        Column("engine", no_wrap=True), *heads, title=f"{contract.name} {contract.version}", title_justify="left"
    )
    for row in rows:
        table.add_row(row["engine"], *(f"{row[key]:g}" if key in row else "" for key in keys))
    console.print(table)
    console.print(f"a volume of this size takes at most {bound_mb:.0f} MB besides the network")
