"""The type of our connections (rows are dictionaries), and the numbers of our advisory locks."""

from __future__ import annotations

from typing import Any

import psycopg

from npc_contour.application.records import JobKind

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

MIGRATION_LOCK = 0x4E5043
ACCOUNTS_LOCK = 0x4E5041
CLAIM_CLASSES = {kind: 0x4E5000 + number for number, kind in enumerate(JobKind, start=1)}
"""First half of the advisory lock of a claim, by kind of job; the second half is a hash of the key."""
SLOT_CLASS = 0x4E5100
