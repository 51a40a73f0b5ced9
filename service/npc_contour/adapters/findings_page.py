"""Findings about a structure set as a page to print: worst first, numbered, with pictures of the worst."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from npc_contour.core.rasterise import in_plane_index
from npc_contour.domain.findings import Finding, Severity
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.structures import ReadRoi, ReadStructureSet
from npc_contour.domain.volumes import Volume

A4_INCHES = (8.27, 11.69)
CHARACTERS, ROWS = 118, 31
"""Of text above the pictures; more findings go on further pages."""
ROWS_ALONE = 60
COLUMNS = 3
PICTURES_ALONE = MOST_PICTURES = 12
_LEFT, _TOP, _BOTTOM, _ROW, _PANEL = 0.08, 0.90, 0.035, 0.0145, 0.205
_AROUND_MM, _LEAST_MM = 30.0, 120.0
_WINDOW_HU = (-160.0, 240.0)
_COLOUR = {Severity.STOP: "#b00020", Severity.CHECK: "#a15c00", Severity.NOTE: "#444444"}
_OUTLINE, _FAINT = "#ff5a36", "#9fd3ff"
_NOTHING = "Nothing unusual was found. What no rule asks for is not judged."
_FOOT = "Not a medical device. A finding is a doubt, not a verdict: a radiation oncologist must review every contour."


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """The slice of one finding.

    Attributes:
        of_structure: outlines of the structure on the slice, (n, 2) column and row each.
        others: outlines of all others.
    """

    caption: str
    index: int
    of_structure: list[FloatArray]
    others: list[FloatArray]


def render_findings(
    title: str, state: str, findings: Sequence[Finding], structure_set: ReadStructureSet, volume: Volume
) -> bytes:
    """Return a PDF file's bytes.

    Args:
        title: of the structure set; never a patient's name.
        state: approval, demo marks.
        findings: worst first.
        structure_set: as read back: its outlines are drawn.
        volume: the planning series.
    """
    lines, pictures = list(_lines(findings)), list(islice(_pictures(findings, structure_set, volume), MOST_PICTURES))
    buffer = BytesIO()
    with PdfPages(buffer, metadata={"Title": title, "Creator": "npc-contour", "CreationDate": None}) as pdf:
        first = _page(title, state, lines[:ROWS])
        top = _TOP - _ROW * min(len(lines), ROWS) - _PANEL
        fitting = COLUMNS * (1 + int((top - _BOTTOM) / _PANEL))
        _draw(first, pictures[:fitting], volume, top)
        pdf.savefig(first)
        for start in range(ROWS, len(lines), ROWS_ALONE):
            pdf.savefig(_page(title, state, lines[start : start + ROWS_ALONE]))
        for start in range(fitting, len(pictures), PICTURES_ALONE):
            page = _page(title, state, ())
            _draw(page, pictures[start : start + PICTURES_ALONE], volume, 0.69)
            pdf.savefig(page)
    return buffer.getvalue()


def _lines(findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Yield (text, colour) of each line."""
    if not findings:
        yield _NOTHING, _COLOUR[Severity.NOTE]
    for number, finding in enumerate(findings, start=1):
        for line in textwrap.wrap(f"{number}  {finding.text}", CHARACTERS, subsequent_indent="          "):
            yield line, _COLOUR[finding.severity]


def _pictures(findings: Sequence[Finding], structure_set: ReadStructureSet, volume: Volume) -> Iterator[_Picture]:
    """Yield a picture for each stop and check that is about a slice or a structure, worst first."""
    heights_mm = volume.slice_positions_lps_mm[:, 2]
    drawn = _by_slice(structure_set, volume)
    for number, finding in enumerate(findings, start=1):
        own = next((roi for roi in structure_set.rois if roi.name == finding.structure), None)
        z_mm = finding.z_mm
        if z_mm is None and own is not None and own.closed_lps_mm:
            z_mm = float(np.median([polygon[0, 2] for polygon in own.closed_lps_mm]))
        if z_mm is None or finding.severity is Severity.NOTE:
            continue
        index = volume.slice_nearest(z_mm)
        outlines = [(roi, in_plane_index(one, np.full(len(one), index), volume)[:, ::-1]) for roi, one in drawn[index]]
        of_structure = [line for roi, line in outlines if roi is own]
        others = [line for roi, line in outlines if roi is not own]
        caption = f"{number}  {finding.structure or finding.code.value}, z {heights_mm[index]:.1f} mm"
        yield _Picture(caption, index, of_structure, others)


def _by_slice(structure_set: ReadStructureSet, volume: Volume) -> Mapping[int, list[tuple[ReadRoi, FloatArray]]]:
    """Return the closed outlines, each ending where it begins, by the slice that is nearest."""
    heights_mm = volume.slice_positions_lps_mm[:, 2]
    outlines = [(roi, one) for roi in structure_set.rois for one in roi.closed_lps_mm]
    nearest = np.abs(np.array([one[0, 2] for _, one in outlines])[:, np.newaxis] - heights_mm).argmin(axis=1)
    found: defaultdict[int, list[tuple[ReadRoi, FloatArray]]] = defaultdict(list)
    for index, (roi, one) in zip(nearest.tolist(), outlines, strict=True):
        found[index].append((roi, np.vstack([one, one[:1]])))
    return found


def _draw(page: Figure, pictures: Sequence[_Picture], volume: Volume, top: float) -> None:
    """Draw pictures in rows, the first of which begins at `top`, a share of the page's height."""
    width = (1 - 2 * _LEFT) / COLUMNS
    for place, picture in enumerate(pictures):
        row, column = divmod(place, COLUMNS)
        left, bottom = _LEFT + column * width, top - row * _PANEL + 0.005
        page.text(left, bottom + _PANEL * 0.86, picture.caption, fontsize=7)
        _panel(page.add_axes((left, bottom, width * 0.96, _PANEL * 0.84)), picture, volume)


def _panel(axes: Axes, picture: _Picture, volume: Volume) -> None:
    _, row_mm, column_mm = volume.grid.spacing_zyx_mm
    image = volume.hu[picture.index]
    low, high = (
        _WINDOW_HU if volume.modality == "CT" else np.percentile(volume.hu[:: max(1, len(volume.hu) // 8)], (2, 99))
    )
    axes.imshow(image, cmap="gray", vmin=float(low), vmax=float(high), aspect=row_mm / column_mm)
    axes.add_collection(LineCollection(picture.others, colors=_FAINT, linewidths=0.4))
    axes.add_collection(LineCollection(picture.of_structure, colors=_OUTLINE, linewidths=1.2))
    axes.axis("off")
    axes.set_facecolor("black")
    if picture.of_structure:
        points = np.vstack(picture.of_structure)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        reach_mm = np.ptp(points, axis=0) * (column_mm, row_mm)
        half_mm = max(float(reach_mm.max()) / 2 + _AROUND_MM, _LEAST_MM / 2)
        axes.set_xlim(middle[0] - half_mm / column_mm, middle[0] + half_mm / column_mm)
        axes.set_ylim(middle[1] + half_mm / row_mm, middle[1] - half_mm / row_mm)


def _page(title: str, state: str, lines: Sequence[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=A4_INCHES)
    figure.text(_LEFT, 0.95, title, fontsize=15, weight="bold")
    figure.text(_LEFT, 0.928, state, fontsize=9, color=_COLOUR[Severity.CHECK])
    for row, (text, colour) in enumerate(lines):
        figure.text(_LEFT, _TOP - row * _ROW, text, fontsize=8, color=colour, va="top")
    figure.text(_LEFT, 0.02, _FOOT, fontsize=7, color=_COLOUR[Severity.NOTE])
    return figure
