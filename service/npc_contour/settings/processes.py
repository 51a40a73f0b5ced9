"""Triton, REST, workers and logs."""

from __future__ import annotations

import sys
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from npc_contour.settings.base import Port, Seconds, Strict, is_loopback


def default_model_repository() -> Path:
    """Where the Triton model repository lies: beside the sources, else where the wheel put it."""
    beside_sources = Path(__file__).resolve().parents[3] / "triton_repo"
    if beside_sources.is_dir():
        return beside_sources
    return Path(sys.prefix) / "share" / "npc-autocontour" / "triton_repo"


class Triton(Strict):
    """The inference server: `embedded`, or host:port of its gRPC endpoint."""

    url: str = Field(default="embedded", pattern=r"^(embedded|.+:\d+)$")
    metrics_url: str | None = None
    model_repository: Path = Field(default_factory=default_model_repository)
    timeout_s: Seconds = 900.0
    start_timeout_s: Seconds = 300.0
    nice: int = Field(default=10, ge=0, le=19)


class Web(Strict):
    """The page and REST."""

    host: str = "127.0.0.1"
    port: Port = 8080
    show_patient: bool = False
    stow_networks: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    accounts: Literal["auto", "required", "off"] = "auto"
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    session_h: float = Field(default=10.0, gt=0, le=24 * 31)

    @property
    def needs_accounts(self) -> bool:
        """Whether page and REST ask who is there: as a rule as soon as other machines can connect."""
        others = not is_loopback(self.host) or bool(self.trusted_proxies)
        return self.accounts == "required" or (self.accounts == "auto" and others)


class Status(Strict):
    """A port that tells monitoring how the processes of this machine do; no `port` means that none is opened."""

    host: str = "127.0.0.1"
    port: Port | None = None


Deadline = Annotated[float, Field(gt=0)]


class Deadlines(Strict):
    """How long a job may take, in seconds, by its kind; a job that takes longer ends its process."""

    close_series: Deadline = 300.0
    route_study: Deadline = 1800.0
    segment_case: Deadline = 7200.0
    write_structure_set: Deadline = 1800.0
    mend_case: Deadline = 7200.0
    combine_study: Deadline = 600.0
    send: Deadline = 1800.0
    verify: Deadline = 900.0
    find_partner: Deadline = 900.0
    poll_archive: Deadline = 1800.0
    fetch_series: Deadline = 7200.0
    report_commitment: Deadline = 900.0
    rescan: Deadline = 7200.0
    retention: Deadline = 7200.0
    find_study: Deadline = 1800.0
    call_webhook: Deadline = 900.0
    self_test: Deadline = 3600.0


class Workers(Strict):
    """Processes that work."""

    processes: int = Field(default=1, ge=1, le=64)
    segmentations_at_once: int = Field(default=1, ge=1, le=64)
    writings_at_once: int = Field(default=1, ge=1, le=64)
    drain_s: float = Field(default=5.0, ge=0)
    deadlines_s: Deadlines = Deadlines()


class SelfTest(Strict):
    """The test of the networks that runs by itself, on a phantom and the site's own cases; `every_h` 0 turns it off."""

    every_h: float = Field(default=24.0, ge=0)
    at: str = Field(default="02:30", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    cases: tuple[Path, ...] = ()


class Logs(Strict):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
