"""`npc-tools capacity`: how many receivers, workers, GPUs and how much disk does a site need?"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from npc_contour.app.shared import catalog_of
from npc_contour.cli.arguments import RAW, Verbs, add_config, number_in
from npc_contour.settings import Settings, read_settings
from npc_tools.capacity.arrivals import SITES, arrivals, per_day
from npc_tools.capacity.plot import draw_outcome
from npc_tools.capacity.simulation import (
    DAY_S,
    GIGABYTE,
    Outcome,
    Plant,
    StepTimes,
    Study,
    disk_bytes,
    lognormal,
    simulate,
    smallest_plant,
)
from npc_tools.capacity.times import IMAGES_PER_S, README_RUN, read_steps, read_trace, step_times

EXAMPLES = """\
examples:
  npc-tools capacity --site hospital                            with the step times of the README's run
  npc-tools capacity --site hospital --inference 0.1            ... and networks that take a tenth of the time
  npc-tools capacity --studies-per-day 25 --within-min 10       a clinic's hours, our number of studies
  npc-tools capacity --metrics http://127.0.0.1:8081/metrics --config site.toml
                                                                  with the step times that this service has measured
  npc-tools capacity --trace arrivals.csv --receivers 2 --slots 1 --workers 2 --plot busy.svg
                                                                  what would this plant do with these arrivals?

A slot is one GPU, or for the embedded Triton one segmentation at a time on the machine that was measured.
docs/capacity.md says what is simulated, and how far it was from a real run."""
PART = 0.95


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "capacity",
        help="simulate a week of a site: how many receivers, workers, GPUs, how much disk?",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    add_config(parser)
    site = parser.add_argument_group("the site")
    words = "; ".join(f"{name}: {one.words}, {one.per_day:g} a day" for name, one in SITES.items())
    site.add_argument("--site", choices=list(SITES), default="clinic", help=f"{words} (default clinic)")
    site.add_argument("--studies-per-day", type=number_in(1, 100_000), metavar="N", help="of a working day")
    site.add_argument("--images", type=number_in(1, 10_000), default=300, help="of a study (default 300)")
    site.add_argument("--image-mb", type=number_in(0.01, 100, whole=False), default=0.5, help="MiB each (default 0.5)")
    site.add_argument("--days", type=number_in(1, 60), default=7, help="to simulate, from a Monday on (default 7)")
    site.add_argument("--trace", type=Path, metavar="CSV", help="your own arrivals in place of all that: at_s,images")
    times = parser.add_argument_group("how long things take")
    times.add_argument(
        "--metrics", metavar="URL|FILE", help="/metrics of a service that has worked (default: the README's run)"
    )
    times.add_argument(
        "--inference",
        type=number_in(0.001, 100, whole=False),
        default=1.0,
        metavar="FACTOR",
        help="networks take this times as long",
    )
    times.add_argument(
        "--images-per-s",
        type=number_in(0.1, 10_000, whole=False),
        default=IMAGES_PER_S,
        help=f"of one association (default {IMAGES_PER_S:g})",
    )
    times.add_argument(
        "--spread",
        type=number_in(0, 3, whole=False),
        default=0.3,
        help="of all times: standard deviation / mean (default 0.3)",
    )
    goal = parser.add_argument_group("what is asked for, or what is there")
    goal.add_argument(
        "--within-min",
        type=number_in(0.5, 10_000, whole=False),
        default=15.0,
        help=f"{PART:.0%}% of studies are done within (default 15)",
    )
    for name in ("receivers", "slots", "workers"):
        goal.add_argument(
            f"--{name}", type=number_in(1, 400), metavar="N", help="there are so many (default: looked for)"
        )
    parser.add_argument("--seed", type=number_in(0), default=1, help="of chance (default 1)")
    parser.add_argument("--plot", type=Path, metavar="SVG|PNG", help="write a picture")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate and print."""
    settings = read_settings(args.config)
    studies, days, words = _studies(args)
    steps = read_steps(args.metrics) if args.metrics else README_RUN
    pipelines = tuple(catalog_of(settings).pipelines.values())
    times = step_times(steps, pipelines, images_per_s=args.images_per_s, quiet_s=settings.completion.quiet_released_s)
    outcome = _simulated(args, studies, times.with_inference(args.inference))
    Console().print(f"{words}: {len(studies)} studies, {per_day(studies, days):.1f} a day over all days")
    Console().print(_table(outcome, _disk(args, settings, studies, days)))
    half, most, last = (f"{outcome.quantile_s(part) / 60:.1f}" for part in (0.5, PART, 1.0))
    print(f"minutes from the last image to the last structure set: half {half}, {PART:.0%} {most}, all {last}")
    if args.plot:
        draw_outcome(outcome, words, args.within_min * 60, args.plot)
        print(f"picture  {args.plot}")
    return 0


def _studies(args: argparse.Namespace) -> tuple[list[Study], float, str]:
    if args.trace:
        studies = read_trace(args.trace)
        return studies, max(1.0, studies[-1].at_s / DAY_S), str(args.trace)
    site = SITES[args.site]
    if args.studies_per_day:
        site = replace(site, per_day=float(args.studies_per_day))
    studies = arrivals(site, days=args.days, images=args.images, images_spread=args.spread, seed=args.seed)
    return studies, float(args.days), site.words


def _simulated(args: argparse.Namespace, studies: list[Study], times: StepTimes) -> Outcome:
    new_draw = partial(lognormal, args.spread, args.seed)
    given = {name: getattr(args, name) for name in ("receivers", "slots", "workers") if getattr(args, name)}
    if given:
        return simulate(studies, times, Plant(**given), new_draw())
    return smallest_plant(studies, times, within_s=args.within_min * 60, part=PART, new_draw=new_draw)


def _disk(args: argparse.Namespace, settings: Settings, studies: list[Study], days: float) -> float:
    images = sum(study.images for study in studies) / len(studies)
    kept = settings.retention.images_days, settings.retention.structure_sets_days
    # Label maps (compressed), structure sets and reports of a study; measured on the demo's two pipelines.
    result_mb = 8.0
    needed = disk_bytes(per_day(studies, days), images=images, image_mb=args.image_mb, result_mb=result_mb, days=kept)
    return needed + settings.storage.min_free_mb * 2**20


def _table(outcome: Outcome, disk: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("", "how many", "busy", "mean wait, s"):
        table.add_column(head, justify="left" if not head else "right")
    for name, words in (
        ("receivers", "associations at once"), ("slots", "inference slots (GPUs)"), ("workers", "worker processes"),
    ):  # fmt: skip
        count = getattr(outcome.plant, name)
        table.add_row(words, str(count), f"{outcome.busy[name]:.0%}", f"{outcome.waited_s[name]:.1f}")
    table.add_row("disk, once it is full", f"{disk / GIGABYTE:,.0f} GB", "", "")
    return table
