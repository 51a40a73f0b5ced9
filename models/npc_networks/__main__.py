"""`npc-networks`, and `python -m npc_networks`: says so where the packages that networks need are not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

EXTRA = "npc-autocontour[networks]"
OWN = ("npc_networks", "npc_contour")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 2 when a package that it needs is missing.

    Args:
        arguments: without the program's name; None takes the process's.
    """
    try:
        from npc_networks.cli import main as run  # noqa: PLC0415 - loads torch, which may be missing

        return run(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in OWN:
            raise
        print(
            f"npc-networks needs {package}, which comes with the extra: pip install '{EXTRA}' "
            "(in a checkout: .venv/bin/pip install --constraint constraints.txt --editable '.[networks]')",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
