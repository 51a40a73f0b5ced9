"""`npc-contour adopt-spool`: let a spool and a database belong together."""

from __future__ import annotations

import argparse

from npc_contour.app.adopting import adopt
from npc_contour.cli.arguments import RAW, Verbs, add_config
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour adopt-spool --config site.toml

`serve` refuses to start where spool and database are not known to belong together: the spool is not mounted, is
another installation's, or one of the two was lost. Only where they are right as they are, and no service runs on
either, this verb joins them. Images that the database knows and the spool lacks count as lost then."""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "adopt-spool",
        help="let this spool and this database belong together, after one of them was lost or replaced",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Join them and say what that means."""
    print(adopt(read_settings(args.config)))
    return 0
