"""The tables of `tests/recognition`: what people and scanners write, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npc_contour.core.contrast_words import said_of_contrast
from npc_contour.core.grouping import MR_IMAGE_STORAGE, aside_reason, derived_reason
from npc_contour.core.mr_sequences import sequence_of
from npc_contour.domain.pipelines import Contrast
from npc_testkit.ct_headers import ct_header

FOLDER = Path(__file__).parents[1] / "recognition"
ASKED = frozenset({"nothing", "unknown", "both"})
"""What makes a person be asked, or another source decide: never wrong without a word."""
_CONTRAST = {
    frozenset(): "nothing",
    frozenset({Contrast.PRESENT}): "with",
    frozenset({Contrast.ABSENT}): "without",
    frozenset(Contrast.__members__.values()) - {Contrast.ANY}: "both",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        text: the description.
        cells: what else stands in the line.
        means: what it is.
    """

    text: str
    cells: tuple[str, ...]
    means: str

    def is_wrong(self, heard: str) -> bool:
        """Whether an answer is wrong and nobody would be asked."""
        return heard not in {self.means, *ASKED}


def contrast_rows(table: str) -> list[Row]:
    """Descriptions: `known` or `held_out`."""
    return _rows(f"contrast_{table}.tsv")


def sequence_rows(table: str) -> list[Row]:
    """MR sequences: likewise."""
    return _rows(f"sequences_{table}.tsv")


def heard_contrast(row: Row) -> str:
    """What the product hears in a description."""
    return _CONTRAST[said_of_contrast(row.text)]


def heard_sequence(row: Row) -> str:
    """What the product makes of the header of an MR image."""
    kinds, echo, repetition, inversion, image_type, angio = ("" if cell == "-" else cell for cell in row.cells)
    header = ct_header(
        modality="MR",
        sop_class_uid=MR_IMAGE_STORAGE,
        series_description=row.text,
        scanning_sequence=_values(kinds),
        echo_time_ms=_number(echo),
        repetition_time_ms=_number(repetition),
        inversion_time_ms=_number(inversion),
        image_type=("ORIGINAL", "PRIMARY", *_values(image_type)),
        angio_flag=angio,
    )
    if aside_reason(header) is not None or derived_reason(header) is not None:
        return "excluded"
    weighting: Any = sequence_of(header).weighting
    return "unknown" if weighting is None else str(weighting).upper()


def _rows(name: str) -> list[Row]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [Row(text, tuple(between), means) for text, *between, means in cells]


def _values(text: str) -> tuple[str, ...]:
    return tuple(text.split("\\")) if text else ()


def _number(text: str) -> float | None:
    return float(text) if text else None
