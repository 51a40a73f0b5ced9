"""How well contrast and MR sequences are read from what scanners and people write.

    python benchmarks/recognition.py              both tables, and the half that the rules' authors never saw
    python benchmarks/recognition.py --wrong      with every line that is not right

Prints a table and ends with one JSON line. "asked": the text tells nothing or contradicts itself for the product, so
another source or a person decides; "wrong_silent": the product believes the wrong thing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from npc_testkit.recognition import Row, contrast_rows, heard_contrast, heard_sequence, sequence_rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrong", action="store_true", help="print every line that is not right")
    args = parser.parse_args()
    table = Table("table", "lines", "right", "asked", "wrong")
    sums: dict[str, list[int]] = {"contrast": [0, 0, 0, 0], "sequences": [0, 0, 0, 0]}
    for kind, rows, hear in (
        ("contrast", contrast_rows, heard_contrast),
        ("sequences", sequence_rows, heard_sequence),
    ):
        for half in ("known", "held_out"):
            counts = judge(rows(half), hear, tell=args.wrong)
            table.add_row(f"{kind}, {half}", *map(str, counts))
            sums[kind] = [one + more for one, more in zip(sums[kind], counts, strict=True)]
    Console().print(table)
    contrast, sequences = sums["contrast"], sums["sequences"]
    print(
        json.dumps(
            {
                "descriptions": contrast[0],
                "right": round(contrast[1] / contrast[0], 4),
                "asked": round(contrast[2] / contrast[0], 4),
                "wrong_silent": contrast[3],
                "sequences": sequences[0],
                "sequences_right": round(sequences[1] / sequences[0], 4),
                "sequences_wrong_silent": sequences[3],
            }
        )
    )
    return 0


def judge(rows: list[Row], hear: Callable[[Row], str], *, tell: bool) -> tuple[int, int, int, int]:
    """Lines, and how many are right, asked, wrong."""
    right = asked = wrong = 0
    for row in rows:
        heard = hear(row)
        right += heard == row.means
        wrong += row.is_wrong(heard)
        asked += heard != row.means and not row.is_wrong(heard)
        if tell and heard != row.means:
            print(f"{row.text!r}: {heard}, is {row.means}")
    return len(rows), right, asked, wrong


if __name__ == "__main__":
    raise SystemExit(main())
