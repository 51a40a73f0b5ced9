"""Tables and the last line of the RTSTRUCT benchmark."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from rtstruct import Written
from rtstruct_readers import Score


def show(written: dict[str, Written]) -> None:
    """Print what each writer took, and what each reader made of it."""
    print(f"{'writer':<12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'file MB':>9}")
    for writer, result in written.items():
        took = result.figures
        print(
            f"{writer:<12}{took['wall_s']:>9.2f}{took['cpu_s']:>9.2f}{took['peak_rss_mb']:>9.0f}{result.size_mb:>9.2f}"
        )
    gate = written["ours"].figures
    print(f"\ngate: {gate['gate_s']:.2f} s, with rt-utils as second reader {gate['gate_second_reader_s']:.2f} s")
    print("\nmean / minimum Dice over the ROIs (number exact)")
    readers = next(iter(written.values())).scores
    print(f"{'writer':<12}" + "".join(f"{reader:>26}" for reader in readers))
    for writer, result in written.items():
        cells = []
        for scores in result.scores.values():
            dice = np.array([score.dice for score in scores.values()])
            cells.append(f"{dice.mean():.4f} / {dice.min():.4f} ({np.count_nonzero(dice == 1)}/{len(dice)})")
        print(f"{writer:<12}" + "".join(f"{cell:>26}" for cell in cells))
    _show_rois(written)


def worst_scores(result: Written) -> dict[str, Score]:
    """Return each ROI's score in the reader that reads it worst."""
    return {
        name: min((scores[name] for scores in result.scores.values()), key=lambda score: score.dice)
        for name in result.scores["exact"]
    }


def _show_rois(written: dict[str, Written]) -> None:
    """Print every ROI in its worst reader, those first that suffer most from rt-utils' writing."""
    worst = {writer: worst_scores(result) for writer, result in written.items()}
    print("\nevery ROI in the reader that reads it worst: Dice, volume ratio, 95 % surface distance in mm")
    print(f"{'ROI':<18}" + "".join(f"{writer:>24}" for writer in worst))
    for name in sorted(worst["rt-utils"], key=lambda name: worst["rt-utils"][name].dice):
        cells = (scores[name] for scores in worst.values())
        print(f"{name:<18}" + "".join(f"{s.dice:>10.4f}{s.volume_ratio:>7.3f}{s.hd95_mm:>7.2f}" for s in cells))


def write_csv(path: Path, written: dict[str, Written]) -> None:
    """Write one line a writer, reader and ROI."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["writer", "reader", "roi", "dice", "volume_ratio", "hd95_mm"])
        for writer, result in written.items():
            for reader, scores in result.scores.items():
                table.writerows(
                    [writer, reader, name, score.dice, score.volume_ratio, score.hd95_mm]
                    for name, score in scores.items()
                )


def _lowest(result: Written) -> float:
    return min(score.dice for score in worst_scores(result).values())


def summary(written: dict[str, Written], nearness: dict[str, float]) -> str:
    """Return the last line; speed is CPU seconds, which other work on the machine disturbs less than wall time."""
    ours, rt_utils = written["ours"], written["rt-utils"]
    return json.dumps(
        {
            "speedup_vs_rtutils": round(rt_utils.figures["cpu_s"] / ours.figures["cpu_s"], 2),
            "speedup_wall_vs_rtutils": round(rt_utils.figures["wall_s"] / ours.figures["wall_s"], 2),
            "rss_ratio_vs_rtutils": round(ours.figures["peak_rss_mb"] / rt_utils.figures["peak_rss_mb"], 3),
            "size_ratio_vs_rtutils": round(ours.size_mb / rt_utils.size_mb, 3),
            "min_dice_any_reader": _lowest(ours),
            "rtutils_min_dice": _lowest(rt_utils),
            "gate_s": round(ours.figures["gate_s"], 3),
            "gate_second_reader_s": round(ours.figures["gate_second_reader_s"], 3),
            "write_s": round(ours.figures["wall_s"], 3),
            "readers": len(ours.scores),
            **nearness,
        }
    )
