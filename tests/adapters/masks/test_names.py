"""Names of ROIs beside masks: any clinical name survives, any text file is read as it declares itself or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.adapters.masks.names import read_names, write_names
from npc_contour.domain.structures import InterpretedType
from npc_contour.errors import CaseRefused

CLINICAL = ["PTV 70 Gy", "#ring", "", "脑干", "1,2 Boost", "a\\b", "CTV ORGAN", "2", "Œsophage é", "x" * 64]


def test_any_clinical_name_survives(tmp_path: Path) -> None:
    write_names(tmp_path / "names.txt", CLINICAL)

    read = read_names(tmp_path / "names.txt")

    assert [roi.name for roi in read] == CLINICAL
    assert [min(roi.labels) for roi in read] == list(range(1, len(CLINICAL) + 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_read_as_it_declares_itself(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "names.txt").write_bytes(f"# list{end}3\t脑干\tPTV{end}1,2 Brain{end}".encode(encoding))

    stem, brain = read_names(tmp_path / "names.txt")

    assert (stem.name, stem.labels, stem.interpreted_type) == ("脑干", frozenset({3}), InterpretedType.PTV)
    assert (brain.name, brain.labels, brain.counted) == ("Brain", frozenset({1, 2}), False)


@pytest.mark.parametrize("encoding", ["gbk", "utf-16-le", "latin-1"])
def test_text_in_another_encoding_is_refused_in_one_sentence(tmp_path: Path, encoding: str) -> None:
    name = "é" if encoding == "latin-1" else "脑干 Brain"
    (tmp_path / "names.txt").write_bytes(f"1\t{name}\n".encode(encoding))

    with pytest.raises(CaseRefused, match="save the file as UTF-8"):
        read_names(tmp_path / "names.txt")


def test_a_line_without_labels_counts_on(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Brain\n\n# a word\nGTVp GTV\n")

    assert [(roi.labels, roi.counted) for roi in read_names(tmp_path / "names.txt")] == [
        (frozenset({1}), True),
        (frozenset({2}), True),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 Spinal Cord", "a name of several words needs tabs"),
        ("1\tA\tPTV\tmore", "expected LABELS TAB NAME"),
        ("one\tA", "expected LABELS TAB NAME"),
        ("1\t" + "x" * 65, "has 65 characters, 64 are allowed"),
        ("1\tA\n2\ta", "two ROIs have one name, 'a'"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "names.txt").write_text(line)

    with pytest.raises(CaseRefused, match=reason):
        read_names(tmp_path / "names.txt")
