"""Tables without lines, for a terminal of any width and for `grep`."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

FILE_WIDTH = 500


def plain_table(*heads: str, whole: frozenset[str] = frozenset()) -> Table:
    """Return a table without lines.

    Args:
        heads: of its columns.
        whole: columns that are never folded: what a person searches by stays in one piece.
    """
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head in whole)
    return table


def print_table(table: Table) -> None:
    """Print a table; what goes to a file or another program is not folded, so that it can be searched."""
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)
