"""`npc-contour serve`: run the service until stopped."""

from __future__ import annotations

import argparse

from npc_contour import logs
from npc_contour.app.supervisor import serve
from npc_contour.cli.arguments import RAW, Verbs, add_config
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour serve --config site.toml      until SIGTERM or Ctrl-C; logs as JSON lines on standard error
  curl http://127.0.0.1:8080/health/ready   is it ready? what is missing?"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "serve",
        help="run the service: receiver, workers, REST, and the embedded database and Triton",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    settings = read_settings(args.config)
    logs.configure(settings.logs.level)
    serve(settings)
    return 0
