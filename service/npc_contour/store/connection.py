"""The type of our connections (rows are dictionaries), and the numbers of our advisory locks."""

from __future__ import annotations

from typing import Any

import psycopg

from npc_contour.domain.work import JobKind

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

MIGRATION_LOCK = 0x4E5043
ACCOUNTS_LOCK = 0x4E5041
CLAIM_CLASSES = {kind: 0x4E5000 + number for number, kind in enumerate(JobKind, start=1)}
"""First half of the advisory lock of a claim, by kind of job; the second half is a hash of the key."""
SLOT_CLASS = 0x4E5100

_ABOUT_VALUES = ("22", "23")
"""SQLSTATE classes whose messages quote values of a row: data exceptions and integrity violations."""


def words_of(error: Exception) -> str:
    """What the database says, without a value of any row: those may be a patient's.

    The server's detail, hint and context are left out; of what concerns values only the kind, the table and the
    constraint are told.
    """
    if not isinstance(error, psycopg.Error) or not error.sqlstate:
        return str(error).strip() or type(error).__name__
    if not error.sqlstate.startswith(_ABOUT_VALUES):
        return f"{error.diag.message_primary or type(error).__name__} (SQLSTATE {error.sqlstate})"
    named = {"table": error.diag.table_name, "column": error.diag.column_name, "constraint": error.diag.constraint_name}
    where = "".join(f", {what} {name}" for what, name in named.items() if name)
    return f"{type(error).__name__} (SQLSTATE {error.sqlstate}{where})"
