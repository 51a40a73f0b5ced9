"""`npc-contour triton`: the embedded Triton alone, for those who want to ask a network themselves."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from pathlib import Path

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.cli.arguments import RAW, Verbs
from npc_contour.settings import default_model_repository

EXAMPLES = """\
examples:
  npc-contour triton                          the networks of this product, on loopback ports of their own
  npc-contour triton --models my_repository   others"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "triton",
        help="run the embedded Triton alone until stopped; the first line is its gRPC address",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument(
        "--models", type=Path, default=default_model_repository(), metavar="DIR", help="model repository"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with (
        tempfile.TemporaryDirectory(prefix="npc-contour-") as work,
        EmbeddedTriton(args.models, Path(work)) as server,
    ):
        print(server.urls.grpc, flush=True)
        stop.wait()
    return 0
