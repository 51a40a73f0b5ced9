"""Scores of many cases: scored, summarised, and written as table, CSV, JSON and picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from npc_networks.protocols.definitions import Protocol, Values
from npc_networks.protocols.masks import pair_files, read_pair

PLOTTED = 3
COLUMNS = 4


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One structure of one case; a value is None where the metric is not defined."""

    case: str
    structure: str
    values: Values


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric of one structure over all cases in which it is defined; None where there is no such case."""

    structure: str
    metric: str
    cases: int
    mean: float | None
    sd: float | None
    median: float | None


def score(protocol: Protocol, found: Path, reference: Path) -> Iterator[CaseScore]:
    """Yield the score of every structure of every case.

    Args:
        protocol: how to score.
        found: label map, or folder of them.
        reference: likewise.

    Raises:
        EvaluationRefused: files are missing, cannot be read or lie on different grids.
    """
    for case, ours, theirs in pair_files(found, reference):
        answer, truth = read_pair(ours, theirs, protocol.structures)
        for structure in protocol.structures:
            values = protocol.measure(answer.mask(structure), truth.mask(structure), truth.spacing_zyx_mm, structure)
            yield CaseScore(case, structure.name, values)


def summarise(protocol: Protocol, scores: Sequence[CaseScore]) -> list[Summary]:
    """Return the summary of every structure and metric, structures in the protocol's order."""
    return [
        _summary(structure.name, metric, _values(scores, structure.name, metric))
        for structure in protocol.structures
        for metric in protocol.metrics
    ]


def table(protocol: Protocol, scores: Sequence[CaseScore]) -> Table:
    """Return one row per structure, each metric as mean and deviation over the cases."""
    cases = len({one.case for one in scores})
    view = Table("structure", *protocol.metrics, title=f"{protocol.name}, {cases} case(s): mean ± sd")
    by_structure: dict[str, list[str]] = {}
    for one in summarise(protocol, scores):
        by_structure.setdefault(one.structure, []).append(_cell(one, cases))
    for structure, cells in by_structure.items():
        view.add_row(structure, *cells)
    return view


def write_csv(path: Path, protocol: Protocol, scores: Sequence[CaseScore]) -> None:
    """Write one row per case and structure; a metric that is not defined is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("case", "structure", *protocol.metrics))
        writer.writerows(
            (one.case, one.structure, *(one.values[metric] for metric in protocol.metrics)) for one in scores
        )


def write_json(path: Path, protocol: Protocol, scores: Sequence[CaseScore]) -> None:
    """Write protocol, every score and the summary; a metric that is not defined is null."""
    document = {
        "protocol": protocol.name,
        "scores": [{"case": one.case, "structure": one.structure, **one.values} for one in scores],
        "summary": [
            {
                "structure": s.structure,
                "metric": s.metric,
                "cases": s.cases,
                "mean": s.mean,
                "sd": s.sd,
                "median": s.median,
            }
            for s in summarise(protocol, scores)
        ],
    }
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_plot(path: Path, protocol: Protocol, scores: Sequence[CaseScore]) -> None:
    """Draw one box per structure with every case as a point, one panel per metric (the first three), as PNG."""
    names = [structure.name for structure in protocol.structures]
    metrics = protocol.metrics[:PLOTTED]
    figure = Figure(figsize=(max(6.0, 0.32 * len(names) + 2.0), 3.2 * len(metrics)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for panel, metric in zip(panels, metrics, strict=True):
        drawn = [(at, _values(scores, name, metric)) for at, name in enumerate(names)]
        shown = [(at, values) for at, values in drawn if values]
        if shown:
            panel.boxplot([values for _, values in shown], positions=[at for at, _ in shown], showfliers=False)
        for at, values in shown:
            panel.plot(np.full(len(values), at), values, ".", color="tab:blue", alpha=0.6)
        panel.set_ylabel(metric.replace("_", " "))
        panel.grid(axis="y", alpha=0.3)
        if not metric.endswith("mm"):
            panel.set_ylim(-0.02, 1.02)
    panels[-1].set_xticks(range(len(names)), names, rotation=90)
    panels[0].set_title(protocol.name)
    figure.savefig(path, dpi=120, format="png")


def write_structure_plots(folder: Path, protocol: Protocol, scores: Sequence[CaseScore]) -> int:
    """Draw one PNG per structure that has a value: every case as a bar, worst first, the mean as a line; all metrics.

    Returns:
        How many were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for structure in protocol.structures:
        of_structure = [one for one in scores if one.structure == structure.name]
        metrics = [name for name in protocol.metrics if any(one.values[name] is not None for one in of_structure)]
        if not metrics:
            continue
        height = max(2.2, 0.16 * len(of_structure) + 1.2)
        figure = Figure(figsize=(3.2 * min(len(metrics), COLUMNS), height * -(-len(metrics) // COLUMNS)))
        figure.set_layout_engine("constrained")
        FigureCanvasAgg(figure)
        rows, columns = -(-len(metrics) // COLUMNS), min(len(metrics), COLUMNS)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, metric in zip(panels, metrics, strict=False):
            _draw_cases(panel, metric, of_structure)
        for panel in panels[len(metrics) :]:
            panel.set_visible(False)
        figure.suptitle(f"{structure.name} ({protocol.name})")
        figure.savefig(folder / f"{structure.name}.png", dpi=120, format="png")
        drawn += 1
    return drawn


def _draw_cases(panel: Axes, metric: str, scores: Sequence[CaseScore]) -> None:
    values = [(value, one.case) for one in scores if (value := one.values[metric]) is not None]
    # The worst stands on top: the lowest overlap, the largest distance.
    values.sort(reverse=not metric.endswith("mm"))
    numbers = [value for value, _ in values]
    panel.barh([case for _, case in values], numbers, color="tab:blue", alpha=0.7)
    panel.axvline(float(np.mean(numbers)), color="tab:red", linewidth=1)
    panel.set_title(metric.replace("_", " "), fontsize=9)
    panel.tick_params(labelsize=7)
    if not metric.endswith(("mm", "mm2", "mm3", "cc")) and "_" not in metric:
        panel.set_xlim(0.0, 1.02)


def _values(scores: Sequence[CaseScore], structure: str, metric: str) -> list[float]:
    of_structure = (one.values[metric] for one in scores if one.structure == structure)
    return [value for value in of_structure if value is not None]


def _summary(structure: str, metric: str, values: Sequence[float]) -> Summary:
    if not values:
        return Summary(structure, metric, 0, None, None, None)
    return Summary(
        structure, metric, len(values), float(np.mean(values)), float(np.std(values)), float(np.median(values))
    )


def _cell(one: Summary, cases: int) -> str:
    if one.mean is None:
        return "-"
    return f"{one.mean:.4f} ± {one.sd:.4f}" + (f" (n={one.cases})" if one.cases != cases else "")
