"""`npc-contour triton`: the embedded Triton alone, for those who want to ask a network themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

from npc_contour.adapters.triton.embedded import EmbeddedTriton, Endpoints
from npc_contour.adapters.triton.loopback import HOST
from npc_contour.cli.arguments import RAW, Verbs
from npc_contour.lifetime import asked_to_end
from npc_contour.settings import default_model_repository

EXAMPLES = """\
examples:
  npc-contour triton                          the networks of this product, on loopback ports of their own
  npc-contour triton --models my_repository   others
  npc-contour triton --host 0.0.0.0 --ports 8000,8001,8002
                                              for workers elsewhere in a closed network: triton.url = "HOST:8001"

Triton asks nobody who he is: beyond this machine, only the workers may reach its ports."""


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
    parser.add_argument("--host", default=HOST, metavar="ADDRESS", help=f"IPv4 address to listen on (default {HOST})")
    parser.add_argument(
        "--ports", type=_ports, metavar="HTTP,GRPC,METRICS", help="TCP ports (default: three that are free)"
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="for compiled networks and the log, kept (default: a temporary one)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    stop = asked_to_end()
    with EmbeddedTriton(args.models, args.work_dir, endpoints=Endpoints(args.host, args.ports)) as server:
        print(server.urls.grpc, flush=True)
        stop.wait()
    return 0


def _ports(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) < 65536 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected three ports, for example 8000,8001,8002")
    http, grpc, metrics = (int(part) for part in parts)
    return http, grpc, metrics
