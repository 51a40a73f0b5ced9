"""Texts that REST takes: no more than they can be, so that nothing odd reaches the database or the timeline."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import Field

UID_PATTERN = r"^[0-9.]{1,64}$"
UIDS_OR_NONE = r"^[0-9.]{0,64}$"
NAME_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"

CASE_ID = Annotated[
    str,
    Path(description="Our id of the case", max_length=128, pattern=r"^[A-Za-z0-9._-]+$", examples=["c-2f6d1b9e"]),
]
STUDY_UID = Annotated[
    str, Path(description="Study Instance UID", pattern=UID_PATTERN, examples=["1.2.826.0.1.3680043.8.498.1"])
]
NAME = Annotated[str, Path(description="Of a destination of the settings", pattern=NAME_PATTERN, examples=["tps"])]
STEP_KEY = Annotated[
    str,
    Path(
        description="Of the step's row: Series or Study Instance UID, or our id",
        max_length=128,
        pattern=r"^[A-Za-z0-9._-]+$",
        examples=["1.2.826.0.1.3680043.8.498.1"],
    ),
]
Known = Annotated[str, Field(max_length=64, pattern=ONE_LINE)]
"""A name that is looked up."""
Line = Annotated[str, Field(max_length=200, pattern=ONE_LINE)]
"""A sentence of a person, for the timeline: one line, no control characters."""
