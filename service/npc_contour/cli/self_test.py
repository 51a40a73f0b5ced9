"""`npc-contour self-test`: do the networks still contour a patient whose anatomy is known?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from npc_contour.app.reference_cases import CaseResult, keep_case, try_case
from npc_contour.app.self_test import NetworkResult, self_test
from npc_contour.cli.arguments import RAW, Verbs, add_config, existing_folder, number_in
from npc_contour.cli.progress import bars, steps
from npc_contour.cli.tables import plain_table
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour self-test                        with an embedded Triton of its own
  npc-contour self-test --config site.toml     with the Triton of the service that runs there
  npc-contour self-test --config site.toml --keep reference/case1
                                               keep how the DICOM in reference/case1/images is contoured now"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "self-test",
        help="contour a phantom, and the cases that the site keeps, and compare; sends nothing",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("--seed", type=number_in(0), default=1, help="which phantom (default 1)")
    parser.add_argument(
        "--keep",
        type=existing_folder,
        metavar="CASE",
        help="contour the DICOM in CASE/images and keep the structure sets, for self_test.cases to be compared with",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Test every network; exit code 1 when one does not do what it must."""
    settings = read_settings(args.config)
    if args.keep is not None:
        with bars() as progress:
            kept = keep_case(settings, args.keep, steps(progress))
        print(
            f"kept: {', '.join(map(str, kept))}; the least Dice of each ROI is beside it."
            " Name the folder in [self_test] cases"
        )
        return 0
    with bars() as progress:
        results = self_test(settings, args.seed, steps(progress))
        cases = [one for case in settings.self_test.cases for one in try_case(settings, case, steps(progress))]
    Console().print(_table(results, cases))
    for case in cases:
        for words in case.fallen:
            print(f"{case.network}: {words}")
    return 0 if all(result.works for result in results) and all(case.works for case in cases) else 1


def _table(results: Sequence[NetworkResult], cases: Sequence[CaseResult]) -> Table:
    table = plain_table("", "network", "ROIs", "mean Dice", "lowest")
    for case in cases:
        lowest = min(case.dice.items(), key=lambda item: item[1], default=None)
        word = "[green]ok[/]" if case.works else "[bold red]fallen[/]"
        told = f"{lowest[0]} {lowest[1]:.3f}" if lowest else ""
        table.add_row(word, case.network, str(len(case.dice)), f"{case.mean:.3f}", told)
    for result in results:
        if result.mean is None:
            table.add_row("[green]loaded[/]", result.network, "0", "the phantom has no truth for it", "")
            continue
        name, worst = min(result.dice.items(), key=lambda item: item[1])
        word = "[green]ok[/]" if result.works else f"[bold red]below {result.least}[/]"
        table.add_row(word, result.network, str(len(result.dice)), f"{result.mean:.3f}", f"{name} {worst:.3f}")
    return table
