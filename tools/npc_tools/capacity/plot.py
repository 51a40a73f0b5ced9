"""A picture of a simulated run: the line before the networks over time, and how long studies took."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from npc_tools.capacity.simulation import HOUR_S, Outcome

MINUTE_S = 60.0
INK, FILL = "#1f4e79", "#8fb4d9"


def draw_outcome(outcome: Outcome, title: str, within_s: float, path: Path) -> None:
    """Write the picture; its kind is that of the file's name (.svg, .png).

    Args:
        outcome: of the run.
        title: above the picture.
        within_s: turnaround asked for, drawn as a line.
        path: where to.
    """
    figure = Figure(figsize=(9.0, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    figure.suptitle(title, fontsize=10)
    # The longest line of each hour: thousands of steps would make a large file that nobody reads.
    bins = (np.asarray(outcome.queue_s) / HOUR_S).astype(int)
    longest = np.zeros(int(bins.max()) + 1, dtype=int)
    np.maximum.at(longest, bins, np.asarray(outcome.queue))
    left.fill_between(np.arange(longest.size), longest, step="post", color=FILL, ec=INK, lw=0.8)
    left.set(xlabel="hours from Monday 0:00", ylabel="longest line of cases", xlim=(0, None), ylim=(0, None))
    minutes = np.asarray(outcome.turnaround_s) / MINUTE_S
    right.hist(minutes, bins=30, color=FILL, ec=INK, lw=0.6)
    right.axvline(within_s / MINUTE_S, color="#b03a2e", lw=1.2, ls="--")
    right.set(xlabel="minutes until contoured", ylabel="studies", xlim=(0, None))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    # Text as text: a tenth of the size, and the same picture is the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "npc-contour"}):
        figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)
