"""Tables of descriptions and sequences, each with what it means: never wrong without a word.

`*_known.tsv` were in view while the rules were written; `*_held_out.tsv` were not, see `benchmarks/recognition.py`.
"""

from __future__ import annotations

import pytest

from npc_testkit.recognition import Row, contrast_rows, heard_contrast, heard_sequence, sequence_rows


@pytest.mark.parametrize("row", contrast_rows("known"), ids=lambda row: row.text)
def test_contrast_of_a_description(row: Row) -> None:
    assert heard_contrast(row) == row.means


@pytest.mark.parametrize("row", sequence_rows("known"), ids=lambda row: row.text)
def test_mr_sequence(row: Row) -> None:
    assert heard_sequence(row) == row.means


def test_what_was_never_seen_is_rarely_wrong() -> None:
    contrast = [(row, heard_contrast(row)) for row in contrast_rows("held_out")]
    sequences = [(row, heard_sequence(row)) for row in sequence_rows("held_out")]

    for rows in (contrast, sequences):
        assert len(rows) >= 40
        wrong = [(row.text, row.means, heard) for row, heard in rows if row.is_wrong(heard)]
        assert wrong == []
