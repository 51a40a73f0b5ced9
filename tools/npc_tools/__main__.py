"""`npc-tools`, and `python -m npc_tools`: says so where a package that a tool needs is not installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from npc_contour import cli
from npc_contour.cli.arguments import RAW

TOOLS = ("capacity", "conformance")
EXTRA = "npc-autocontour[tools]"
EXAMPLES = """\
examples:
  npc-tools capacity --site hospital                       how many receivers, workers, GPUs, how much disk?
  npc-tools conformance --html --out conformance.html      the DICOM Conformance Statement, to print"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one tool and return the exit code: 0 done, 1 it did not work, 2 wrong arguments or settings.

    Args:
        argv: without the program's name; None takes the process's.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="npc-tools", description="Tools beside the service.", epilog=EXAMPLES, formatter_class=RAW
    )
    verbs = parser.add_subparsers(metavar="TOOL", required=True)
    try:
        for name in arguments[:1] if arguments[:1] and arguments[0] in TOOLS else TOOLS:
            import_module(f"npc_tools.{name}.command").add_verbs(verbs)
    except ModuleNotFoundError as error:
        if error.name != "simpy":
            raise
        print(f"npc-tools capacity needs simpy, which comes with the extra: pip install '{EXTRA}'", file=sys.stderr)
        return 2
    return cli.run_command(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
