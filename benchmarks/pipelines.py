"""How well and how fast every pipeline contours phantoms that its networks never saw, through the serving code.

Each pipeline runs in a process of its own, so that its peak memory is its own: contract, OpenVINO engine, windows,
labels on the scan's grid. Dice is of each ROI of the pipeline's table against the phantom's truth; a pipeline that
takes either phase is given both, one after the other. Scans are as scanned with `--full`, else no finer than the
trainings' (CT 1.6 or 2 mm pixels, MR 1.3 mm), which takes a third of the time.

    python benchmarks/pipelines.py
    python benchmarks/pipelines.py --pipelines mediastinal_ln npc_mr_gtv --phantoms 3 --full
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from npc_contour.catalog import PIPELINES_DIR, read_pipeline
from npc_networks.cards import write_card
from npc_networks.evaluation import Judge, Score, Summary, summarise
from npc_networks.networks import NETWORKS
from npc_networks.phantom_data import Scan, full_scan, training_scan

REPOSITORY = Path(__file__).parents[1] / "triton_repo"
NAMES = tuple(path.stem for path in sorted(PIPELINES_DIR.glob("*.toml")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--phantoms", type=int, default=10, help="held-out phantoms of each (default 10)")
    parser.add_argument("--full", action="store_true", help="scans as a scanner makes them")
    parser.add_argument("--cards", action="store_true", help="write the tables into the model cards; asks for --full")
    args = parser.parse_args()
    if args.cards and not args.full:
        parser.error("a model card tells of whole scans: --cards asks for --full")
    found = {}
    for name in args.pipelines:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            scores, found[name] = pool.apply(run, (name, args.phantoms, args.full))
        summaries = summarise(scores)
        print_pipeline(name, found[name], summaries)
        for network in dict.fromkeys(score.network for score in scores) if args.cards else ():
            write_card(REPOSITORY, network, summaries, seeds(args.phantoms))
    print(json.dumps(found))


def seeds(phantoms: int) -> range:
    return range(1, phantoms + 1)


def run(name: str, phantoms: int, full: bool) -> tuple[list[Score], dict[str, Any]]:  # noqa: FBT001
    """Judge one pipeline; called in a process of its own."""
    pipeline = read_pipeline(PIPELINES_DIR / f"{name}.toml")
    networks = [use.network for use in pipeline.networks]
    judge = Judge(REPOSITORY, networks)
    every: list[Score] = []
    seconds, voxels = [], []
    for seed in seeds(phantoms):
        scan = scan_of(NETWORKS[networks[0]].kind, seed, full=full)
        started = time.perf_counter()
        scores = list(judge.judge(scan))
        seconds.append((time.perf_counter() - started) / len({score.inputs for score in scores}))
        voxels.append(float(scan.images[0].size))
        every += scores
    values = [score.dice for score in every if score.dice is not None]
    return every, {
        "mean_dice": round(statistics.fmean(values), 4),
        "min_dice": round(min(values), 4),
        "seconds": round(statistics.median(seconds), 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "phantoms": phantoms,
        "mega_voxels": round(statistics.median(voxels) / 1e6, 1),
    }


def scan_of(kind: str, seed: int, *, full: bool) -> Scan:
    return full_scan(kind, seed) if full else training_scan(kind, seed)


def print_pipeline(name: str, result: dict[str, Any], summaries: Sequence[Summary]) -> None:
    table = Table("structure", "input", "mean Dice", "worst", "n", title=f"{name}: {result['seconds']} s a case")
    for summary in summaries:
        table.add_row(summary.roi, summary.inputs, f"{summary.mean:.3f}", f"{summary.worst:.3f}", str(summary.cases))
    Console().print(table)


if __name__ == "__main__":
    main()
