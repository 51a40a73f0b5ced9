"""`npc-contour self-test`: do the networks still contour a patient whose anatomy is known?"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from npc_contour.app.self_test import NetworkResult, self_test
from npc_contour.cli.arguments import RAW, Verbs, add_config, number_in
from npc_contour.cli.progress import bars, steps
from npc_contour.cli.tables import plain_table
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour self-test                        with an embedded Triton of its own
  npc-contour self-test --config site.toml     with the Triton of the service that runs there"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "self-test",
        help="contour a phantom with every network and compare with its truth; sends and keeps nothing",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("--seed", type=number_in(0), default=1, help="which phantom (default 1)")
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Test every network; exit code 1 when one does not do what it must."""
    settings = read_settings(args.config)
    with bars() as progress:
        results = self_test(settings, args.seed, steps(progress))
    Console().print(_table(results))
    return 0 if all(result.works for result in results) else 1


def _table(results: tuple[NetworkResult, ...]) -> Table:
    table = plain_table("", "network", "ROIs", "mean Dice", "lowest")
    for result in results:
        if result.mean is None:
            table.add_row("[green]loaded[/]", result.network, "0", "the phantom has no truth for it", "")
            continue
        name, worst = min(result.dice.items(), key=lambda item: item[1])
        word = "[green]ok[/]" if result.works else f"[bold red]below {result.least}[/]"
        table.add_row(word, result.network, str(len(result.dice)), f"{result.mean:.3f}", f"{name} {worst:.3f}")
    return table
