"""Findings about a structure set as a page to print: worst first, with a picture of the slices that they name."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from io import BytesIO

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.image import imread

from npc_contour.domain.findings import Finding, Severity

A4_INCHES = (8.27, 11.69)
COLUMNS, ROWS = 105, 34
"""Of text beside the picture; more findings go on further pages."""
ROWS_ALONE = 60
_LEFT, _TOP, _ROW = 0.08, 0.90, 0.0145
_COLOUR = {Severity.STOP: "#b00020", Severity.CHECK: "#a15c00", Severity.NOTE: "#444444"}
_NOTHING = "Nothing unusual was found. What no rule asks for is not judged."
_FOOT = "Not a medical device. A finding is a doubt, not a verdict: a radiation oncologist must review every contour."


def render_findings(title: str, state: str, findings: Sequence[Finding], picture_png: bytes) -> bytes:
    """Return a PDF file's bytes.

    Args:
        title: of the structure set; never a patient's name.
        state: approval, demo marks.
        findings: worst first.
        picture_png: the contours on the slices that the findings name.
    """
    lines = list(_lines(findings))
    buffer = BytesIO()
    with PdfPages(buffer, metadata={"Title": title, "Creator": "npc-contour", "CreationDate": None}) as pdf:
        first = _page(title, state, lines[:ROWS])
        axes = first.add_axes((_LEFT, 0.05, 1 - 2 * _LEFT, 0.36))
        axes.imshow(imread(BytesIO(picture_png)))
        axes.axis("off")
        pdf.savefig(first)
        for start in range(ROWS, len(lines), ROWS_ALONE):
            pdf.savefig(_page(title, state, lines[start : start + ROWS_ALONE]))
    return buffer.getvalue()


def _lines(findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Yield (text, colour) of each line."""
    if not findings:
        yield _NOTHING, _COLOUR[Severity.NOTE]
    for finding in findings:
        for line in textwrap.wrap(finding.text, COLUMNS, subsequent_indent="          "):
            yield line, _COLOUR[finding.severity]


def _page(title: str, state: str, lines: Sequence[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=A4_INCHES)
    figure.text(_LEFT, 0.95, title, fontsize=15, weight="bold")
    figure.text(_LEFT, 0.928, state, fontsize=9, color=_COLOUR[Severity.CHECK])
    for row, (text, colour) in enumerate(lines):
        figure.text(_LEFT, _TOP - row * _ROW, text, fontsize=8, color=colour, va="top")
    figure.text(_LEFT, 0.02, _FOOT, fontsize=7, color=_COLOUR[Severity.NOTE])
    return figure
