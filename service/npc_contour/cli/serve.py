"""`npc-contour serve`: run the service until stopped."""

from __future__ import annotations

import argparse

from npc_contour import logs
from npc_contour.app.audit import audit
from npc_contour.app.runtime import SERVED
from npc_contour.app.supervisor import serve
from npc_contour.cli.arguments import RAW, Verbs, add_config
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour serve --config site.toml      until SIGTERM or Ctrl-C; logs as JSON lines on standard error
  npc-contour serve --config site.toml --roles receiver,web     the worker runs on another machine
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
    parser.add_argument(
        "--roles",
        type=_roles,
        default=SERVED,
        metavar="ROLE,ROLE",
        help="run only these of receiver, worker and web; the others on other machines, with one database.url and one"
        " storage.shared_spool (default: all)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    settings = read_settings(args.config)
    logs.configure(settings.logs.level)
    audit(settings)
    serve(settings, args.roles)
    return 0


def _roles(text: str) -> tuple[str, ...]:
    roles = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not roles or set(roles) - set(SERVED):
        raise argparse.ArgumentTypeError(f"{text!r}: expected some of {', '.join(SERVED)}, separated by commas")
    return roles
