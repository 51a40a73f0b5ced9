"""`npc-networks evaluate`: score label maps as a public data set does."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from npc_networks.protocols.definitions import PROTOCOLS, TASKS, protocol
from npc_networks.protocols.masks import EvaluationRefused
from npc_networks.protocols.report import score, table, write_csv, write_json, write_plot, write_structure_plots

TITLE = "score label maps against references by a public protocol"


def add_arguments(evaluate: argparse.ArgumentParser) -> None:
    """Declare the arguments of `evaluate`."""
    evaluate.add_argument("pred", type=Path, metavar="PRED", help="label map (NIfTI, MHA, NRRD) or folder of them")
    evaluate.add_argument("ref", type=Path, metavar="REF", help="reference, or folder with files of the same names")
    evaluate.add_argument("--protocol", choices=PROTOCOLS, required=True, help="whose rules")
    evaluate.add_argument("--task", choices=TASKS, default="oar", help="of segrap2023: organs or tumours (default oar)")
    evaluate.add_argument("--csv", type=Path, metavar="FILE", help="keep every score, one row per case and structure")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="keep every score and the summary")
    evaluate.add_argument("--plot", type=Path, metavar="FILE", help="draw one box per structure, as PNG")
    evaluate.add_argument("--plots", type=Path, metavar="DIR", help="one PNG per structure, every case as a bar")


def run(options: argparse.Namespace, console: Console) -> int:
    """Run `evaluate`; returns 2 and says why when files cannot be compared."""
    chosen = protocol(options.protocol, task=options.task)
    try:
        scores = list(score(chosen, options.pred, options.ref))
    except EvaluationRefused as refusal:
        console.print(f"refused: {refusal}", soft_wrap=True, markup=False, highlight=False)
        return 2
    console.print(table(chosen, scores))
    for path, write in ((options.csv, write_csv), (options.json, write_json), (options.plot, write_plot)):
        if path is not None:
            write(path, chosen, scores)
            console.print(f"wrote {path}", soft_wrap=True, markup=False, highlight=False)
    if options.plots is not None:
        drawn = write_structure_plots(options.plots, chosen, scores)
        console.print(f"wrote {drawn} pictures into {options.plots}", soft_wrap=True, markup=False, highlight=False)
    return 0
