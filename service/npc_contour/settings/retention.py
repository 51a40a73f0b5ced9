"""How long what has been delivered is kept."""

from __future__ import annotations

from pydantic import Field

from npc_contour.settings.base import Strict

Days = float


class Retention(Strict):
    """Days after the last change; 0 keeps for ever. What is not delivered everywhere is never deleted."""

    images_days: Days = Field(default=30.0, ge=0)
    committed_days: Days = Field(default=90.0, ge=0)
    structure_sets_days: Days = Field(default=365.0, ge=0)
    rows_days: Days = Field(default=1825.0, ge=0)
    every_s: float = Field(default=3600.0, ge=1)
    warn_days: Days = Field(default=3.0, ge=0)
