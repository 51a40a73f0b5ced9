"""Migrations only ever add: workers of the version before go on working on the newer schema, in a rolling upgrade."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from npc_contour.store import database

FILES = sorted((Path(database.__file__).parent / "migrations").glob("*.sql"))
TAKES_AWAY = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|VIEW|TYPE|SCHEMA|FUNCTION)|\bRENAME\b|\bALTER\s+COLUMN\b|\bTRUNCATE\b|\bDELETE\s+FROM\b",
    re.IGNORECASE,
)
NEW_COLUMN = re.compile(r"ADD\s+COLUMN\s+(\w+)\s+([^,;]+)", re.IGNORECASE)


def statements(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def faults(text: str) -> list[str]:
    """Return what an older version would stumble over."""
    sql = statements(text)
    found = [match.group(0) for match in TAKES_AWAY.finditer(sql)]
    for name, rest in NEW_COLUMN.findall(sql):
        if re.search(r"NOT\s+NULL", rest, re.IGNORECASE) and not re.search(r"DEFAULT", rest, re.IGNORECASE):
            found.append(f"ADD COLUMN {name} without a default")
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ALTER TABLE a ADD COLUMN b text;", []),
        ("ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT '';", []),
        ("ALTER TABLE a ADD COLUMN b text NOT NULL;", ["ADD COLUMN b without a default"]),
        ("ALTER TABLE a DROP COLUMN b;", ["DROP COLUMN"]),
        ("ALTER TABLE a RENAME TO b;", ["RENAME"]),
        ("-- DROP TABLE a", []),
    ],
)
def test_what_takes_away_would_be_found(text: str, found: list[str]) -> None:
    assert faults(text) == found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_migration_only_adds(file: Path) -> None:
    assert faults(file.read_text(encoding="utf-8")) == []


def test_their_numbers_differ() -> None:
    numbers = [file.name[:4] for file in FILES]
    assert len(set(numbers)) == len(numbers)
