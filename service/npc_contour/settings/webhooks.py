"""Programs that are told what happens."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, field_validator

from npc_contour.logs import Event
from npc_contour.settings.base import Strict

_TOLD = ("series.", "case.", "structure_set.", "delivery.", "pull.", "site.")
"""Events of a study's timeline, and of the site."""


class WebhookSettings(Strict):
    """A receiver of messages."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,32}$")
    url: str = Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")
    events: tuple[str, ...] = Field(min_length=1)
    secret_file: Path
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    ca_file: Path | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    give_up_after_h: float = Field(default=24.0, gt=0)

    @field_validator("events")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = sorted(event.value for event in Event if event.value.startswith(_TOLD))
        wrong = [event for event in value if event not in known]
        if wrong:
            raise ValueError(f"there is no event {wrong[0]!r}; there are {', '.join(known)}")
        return value
