"""The DICOM front door, and when a received series is complete."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field

from npc_contour.settings.base import AeTitle, Port, Seconds, Strict


class Dicom(Strict):
    """The DICOM front door."""

    ae_title: AeTitle = "NPC_CONTOUR"
    host: str = "127.0.0.1"
    port: Port = 11112
    max_associations: int = Field(default=32, ge=1, le=1000)
    allowed_calling_ae_titles: tuple[AeTitle, ...] = ()
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Completion(Strict):
    """When a received series counts as complete."""

    quiet_released_s: Seconds = 10.0
    quiet_s: Seconds = 60.0
    quiet_aborted_s: Seconds = 300.0
    held_after_s: Seconds = 1800.0
