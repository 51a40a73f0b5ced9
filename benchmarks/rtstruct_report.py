"""Tables and the last line of the RTSTRUCT benchmark."""

from __future__ import annotations

import json

import numpy as np
from rtstruct import Written


def show(written: dict[str, Written]) -> None:
    """Print what each writer took, and what each reader made of it."""
    print(f"{'writer':<12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'file MB':>9}")
    for writer, result in written.items():
        took = result.figures
        print(
            f"{writer:<12}{took['wall_s']:>9.2f}{took['cpu_s']:>9.2f}{took['peak_rss_mb']:>9.0f}{result.size_mb:>9.2f}"
        )
    print("\nmean / minimum Dice over the ROIs (number exact)")
    readers = next(iter(written.values())).dice
    print(f"{'writer':<12}" + "".join(f"{reader:>26}" for reader in readers))
    for writer, result in written.items():
        cells = []
        for values in result.dice.values():
            dice = np.array(list(values.values()))
            cells.append(f"{dice.mean():.4f} / {dice.min():.4f} ({np.count_nonzero(dice == 1)}/{len(dice)})")
        print(f"{writer:<12}" + "".join(f"{cell:>26}" for cell in cells))
    _show_worst(written)


def _show_worst(written: dict[str, Written]) -> None:
    """Print the worst reader's Dice of the ROIs that suffer most."""
    worst = {
        writer: {name: min(values[name] for values in result.dice.values()) for name in result.dice["exact"]}
        for writer, result in written.items()
    }
    names = sorted(worst["rt-utils"], key=lambda name: worst["rt-utils"][name])[:12]
    print("\nworst reader's Dice, the twelve ROIs that suffer most")
    print(f"{'ROI':<18}" + "".join(f"{writer:>14}" for writer in worst))
    for name in names:
        print(f"{name:<18}" + "".join(f"{values[name]:>14.4f}" for values in worst.values()))


def summary(written: dict[str, Written]) -> str:
    """Return the last line; speed is CPU seconds, which other work on the machine disturbs less than wall time."""
    ours, rt_utils = written["ours"], written["rt-utils"]
    return json.dumps(
        {
            "speedup_vs_rtutils": round(rt_utils.figures["cpu_s"] / ours.figures["cpu_s"], 2),
            "speedup_wall_vs_rtutils": round(rt_utils.figures["wall_s"] / ours.figures["wall_s"], 2),
            "rss_ratio_vs_rtutils": round(ours.figures["peak_rss_mb"] / rt_utils.figures["peak_rss_mb"], 3),
            "size_ratio_vs_rtutils": round(ours.size_mb / rt_utils.size_mb, 3),
            "min_dice_any_reader": min(min(values.values()) for values in ours.dice.values()),
            "rtutils_min_dice": min(min(values.values()) for values in rt_utils.dice.values()),
            "gate_s": round(ours.figures["gate_s"], 3),
            "write_s": round(ours.figures["wall_s"], 3),
        }
    )
