"""Traces for whoever runs the service."""

from __future__ import annotations

from pydantic import Field

from npc_contour.settings.base import Strict


class Tracing(Strict):
    """Where spans are sent; off while `endpoint` is empty."""

    endpoint: str = Field(default="", pattern=r"^(https?://[^\s/]+(/[^\s]*[^\s/])?)?$")
