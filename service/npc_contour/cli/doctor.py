"""`npc-contour check`: what of this site works, what does not, and what to do about it."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table

from npc_contour.adapters.api.views import Ready
from npc_contour.adapters.checks import doctor_checks
from npc_contour.app.installation import start_checks
from npc_contour.app.outside import check_secrets
from npc_contour.app.probes import probes_of
from npc_contour.app.runtime import SERVED
from npc_contour.app.shared import catalog_of, profile_of
from npc_contour.application.checks import Checkup, is_ready
from npc_contour.cli.arguments import RAW, Verbs, add_config
from npc_contour.cli.as_json import add_json, print_json
from npc_contour.cli.progress import console as progress_console
from npc_contour.cli.tables import plain_table
from npc_contour.domain.status import CheckResult
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour check                        the defaults
  npc-contour check --config site.toml     before the first start, and whenever something is odd"""
DEADLINE_S = 20.0
"""For everything but the embedded Triton, which may take as long as the settings let it."""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "check",
        help="look at settings, ports, disk, database, Triton, networks and destinations, with a remedy for each",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at everything; exit code 1 when something that the service needs is not ok."""
    settings = read_settings(args.config)
    catalog = catalog_of(settings)
    profile_of(settings)
    check_secrets(settings, SERVED)
    checks = (*doctor_checks(settings, catalog, probes_of(settings, catalog)), *start_checks(settings))
    with ExitStack() as stack:
        deadline_s = DEADLINE_S + settings.triton.start_timeout_s
        checkup = stack.enter_context(Checkup(checks, deadline_s=deadline_s))
        stack.enter_context(progress_console.status("looking"))
        results = checkup.run()
    settings_line = CheckResult("settings", ok=True, detail=str(args.config or "built-in defaults"))
    if args.json:
        print_json(Ready.of([settings_line, *results], details=True))
    else:
        Console().print(_table([settings_line, *results]))
    return 0 if is_ready(results) else 1


def _table(results: list[CheckResult]) -> Table:
    table = plain_table("", "what", "found")
    for result in results:
        word = "[green]ok[/]" if result.ok else "[bold red]not ok[/]" if result.required else "[yellow]not ok[/]"
        table.add_row(word, result.name, result.detail)
        if not result.ok:
            table.add_row("", "", f"[bold]→[/] {result.remedy}")
    return table
