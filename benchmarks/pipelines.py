"""How well and how fast every pipeline contours phantoms that its networks never saw, through the serving code.

Each pipeline runs in a process of its own, so that its peak memory is its own: contract, OpenVINO engine, windows,
labels on the scan's grid. Dice is of each ROI of the pipeline's table against the phantom's truth; a pipeline that
takes either phase is given both, one after the other, and the seconds are those of one.

Scans are "coarse" unless `--full` is given: no finer than those trained on (CT 1.6 or 2 mm pixels and slices from
2.5 mm, MR 1.3 mm), which takes a third of the time of a scanner's own; the JSON line says which. Phantoms are rendered
once for all pipelines. With `--keep FILE` every phantom's result is a line there, so that a run that was broken off,
or bounded by `--minutes`, goes on where it ended; results of other weights or other scans are not taken for these.

    python benchmarks/pipelines.py
    python benchmarks/pipelines.py --pipelines mediastinal_ln npc_mr_gtv --phantoms 3 --full
    python benchmarks/pipelines.py --minutes 8 --keep results.jsonl --cache phantoms
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from npc_contour.catalog import PIPELINES_DIR, read_contract, read_pipeline
from npc_networks.cards import COARSE_SCANS, WHOLE_SCANS, write_card
from npc_networks.evaluation import Judge, Score, summarise
from npc_networks.networks import NETWORKS
from npc_networks.phantom_data import ScanCache, full_scan, training_scan
from npc_networks.progress import bar

REPOSITORY = Path(__file__).parents[1] / "triton_repo"
NAMES = tuple(path.stem for path in sorted(PIPELINES_DIR.glob("*.toml")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of one pipeline's process.

    Attributes:
        minutes: no phantom is begun after so many; None does all.
        keep: file of results; None keeps none.
        cache: folder of rendered phantoms.
    """

    pipeline: str
    phantoms: int
    full: bool
    minutes: float | None
    keep: Path | None
    cache: Path

    @property
    def networks(self) -> tuple[str, ...]:
        """Networks of the pipeline."""
        return tuple(use.network for use in read_pipeline(PIPELINES_DIR / f"{self.pipeline}.toml").networks)

    @property
    def scans(self) -> str:
        """How phantoms are scanned."""
        return "full" if self.full else "coarse"

    @property
    def identity(self) -> dict[str, Any]:
        """What a kept result must agree in to count as one of this plan."""
        weights = [read_contract(REPOSITORY / name / "contract.json").weights_sha256[:16] for name in self.networks]
        return {"pipeline": self.pipeline, "scans": self.scans, "weights": weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--phantoms", type=int, default=10, metavar="N", help="held-out phantoms of each (default 10)")
    parser.add_argument("--full", action="store_true", help="scans as a scanner makes them")
    parser.add_argument("--minutes", type=float, metavar="M", help="of each pipeline: begin no phantom after so many")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep results there, and go on from what it has")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep rendered phantoms there (default: for this run)"
    )
    parser.add_argument("--cards", action="store_true", help="write the tables into the model cards")
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.pipelines:
            plan = Plan(
                pipeline=name,
                phantoms=args.phantoms,
                full=args.full,
                minutes=args.minutes,
                keep=args.keep,
                cache=(args.cache or Path(folder)) / ("full" if args.full else "coarse"),
            )
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                results = pool.apply(run, (plan,))
            found[name] = report(plan, results, cards=args.cards)
    print(json.dumps(found))


def run(plan: Plan) -> list[dict[str, Any]]:
    """Judge one pipeline, phantom by phantom; called in a process of its own. Return one result a phantom."""
    console = Console()
    identity = plan.identity
    done = {result["seed"]: result for result in kept(plan.keep, identity)}
    judge = Judge(REPOSITORY, plan.networks)
    kind = NETWORKS[plan.networks[0]].kind
    scans = ScanCache(plan.cache, kind, full_scan if plan.full else training_scan, whole=True)
    begun = time.perf_counter()
    seeds = range(1, plan.phantoms + 1)
    with bar(console) as progress:
        task = progress.add_task(plan.pipeline, total=plan.phantoms, completed=len(done.keys() & set(seeds)))
        for seed in (seed for seed in seeds if seed not in done):
            if plan.minutes is not None and time.perf_counter() - begun > 60 * plan.minutes:
                console.print(f"{plan.pipeline}: {plan.minutes:g} minutes are over after {len(done)} phantoms")
                break
            result = identity | one(judge, scans, seed)
            done[seed] = result
            if plan.keep is not None:
                with plan.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
            progress.advance(task)
            if not console.is_terminal:
                words = f"scan {result['scan_s']:.0f} s, contours {result['seconds']:.1f} s an input"
                console.print(f"{plan.pipeline}: phantom {seed} of {plan.phantoms}, {words}", highlight=False)
    return [done[seed] for seed in seeds if seed in done]


def one(judge: Judge, scans: ScanCache, seed: int) -> dict[str, Any]:
    """Judge one phantom."""
    started = time.perf_counter()
    scan = scans.scan(seed)
    scanned = time.perf_counter()
    scores = list(judge.judge(scan))
    ended = time.perf_counter()
    return {
        "seed": seed,
        "scan_s": scanned - started,
        "seconds": (ended - scanned) / len({score.inputs for score in scores}),
        "mega_voxels": scan.images[0].size / 1e6,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "scores": [asdict(score) for score in scores],
    }


def kept(path: Path | None, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a file that are of this pipeline, these weights and such scans."""
    if path is None or not path.exists():
        return []
    results = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [result for result in results if identity.items() <= result.items()]


def report(plan: Plan, results: Sequence[dict[str, Any]], *, cards: bool) -> dict[str, Any]:
    """Print a pipeline's table, write its cards where that is asked for, and return its part of the JSON line."""
    if not results:
        return {"mean_dice": None, "min_dice": None, "seconds": None, "peak_rss_mb": None, "phantoms": 0}
    scores = [Score(**score) for result in results for score in result["scores"]]
    values = [score.dice for score in scores if score.dice is not None]
    summaries = summarise(scores)
    part = {
        "mean_dice": round(statistics.fmean(values), 4),
        "min_dice": round(min(values), 4),
        "seconds": round(statistics.median(result["seconds"] for result in results), 2),
        "peak_rss_mb": max(result["peak_rss_mb"] for result in results),
        "phantoms": len(results),
        "scans": plan.scans,
        "scan_s": round(statistics.median(result["scan_s"] for result in results), 2),
        "mega_voxels": round(statistics.median(result["mega_voxels"] for result in results), 1),
    }
    table = Table("structure", "input", "mean Dice", "worst", "n", title=f"{plan.pipeline}: {part['seconds']} s a case")
    for summary in summaries:
        table.add_row(summary.roi, summary.inputs, f"{summary.mean:.3f}", f"{summary.worst:.3f}", str(summary.cases))
    Console().print(table)
    for network in plan.networks if cards else ():
        seeds = [result["seed"] for result in results]
        scans = WHOLE_SCANS if plan.full else COARSE_SCANS
        print(f"wrote {write_card(REPOSITORY, network, summaries, seeds, scans=scans)}")
    return part


if __name__ == "__main__":
    main()
