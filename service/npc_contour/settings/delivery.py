"""Where results go."""

from __future__ import annotations

from pydantic import Field

from npc_contour.settings.base import AeTitle, Port, Seconds, Strict, is_loopback


class DestinationSettings(Strict):
    """A DICOM node that takes the RTSTRUCTs; `allow_demo` lets demo networks' results go beyond this host."""

    name: str = Field(pattern="^[A-Za-z0-9_-]{1,32}$")
    ae_title: AeTitle
    host: str
    port: Port
    allow_demo: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by address or by the name localhost."""
        return is_loopback(self.host)


class Delivery(Strict):
    """How results are sent."""

    first_retry_s: Seconds = 5.0
    max_retry_s: Seconds = 3600.0
    give_up_after_h: float = Field(default=96.0, gt=0)
    timeout_s: Seconds = 60.0
