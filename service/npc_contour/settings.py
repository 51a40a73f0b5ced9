"""The site's settings: one TOML file, read once, frozen.

An unknown key or a wrong value refuses to start and names the key. Every key, its unit and its default is in
`deploy/site.example.toml`, which a test compares with this module.
"""

from __future__ import annotations

import re
import sys
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from npc_contour.errors import SettingsError

Port = Annotated[int, Field(ge=0, le=65535)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[!-~]([ -~]*[!-~])?$")]
Seconds = Annotated[float, Field(ge=0)]


def default_model_repository() -> Path:
    """Where the Triton model repository lies: beside the sources, else where the wheel put it."""
    beside_sources = Path(__file__).resolve().parents[2] / "triton_repo"
    if beside_sources.is_dir():
        return beside_sources
    return Path(sys.prefix) / "share" / "npc-autocontour" / "triton_repo"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Storage(_Strict):
    """Where state lives on disk."""

    root: Path = Path("npc-contour-data")
    min_free_mb: int = Field(default=2048, ge=0)

    @property
    def spool(self) -> Path:
        """Received images and what was made of them."""
        return self.root / "spool"

    @property
    def database(self) -> Path:
        """Data folder of the embedded PostgreSQL."""
        return self.root / "postgres"

    @property
    def logs(self) -> Path:
        """Log files of embedded servers."""
        return self.root / "logs"


class Dicom(_Strict):
    """The DICOM front door."""

    ae_title: AeTitle = "NPC_CONTOUR"
    host: str = "127.0.0.1"
    port: Port = 11112
    max_associations: int = Field(default=32, ge=1, le=1000)
    allowed_calling_ae_titles: tuple[AeTitle, ...] = ()
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Completion(_Strict):
    """When a received series counts as complete."""

    quiet_released_s: Seconds = 10.0
    quiet_s: Seconds = 60.0
    quiet_aborted_s: Seconds = 300.0
    held_after_s: Seconds = 1800.0


class RuleSettings(_Strict):
    """What this site asks of one role of one pipeline; a key that is absent leaves the pipeline's own rule."""

    pipeline: str
    role: str
    description_pattern: str | None = None
    exclude_pattern: str | None = None
    called_ae_titles: tuple[AeTitle, ...] | None = None
    body_parts: tuple[str, ...] | None = None
    min_slices: int | None = Field(default=None, ge=2)
    max_slices: int | None = Field(default=None, ge=2)
    max_slice_spacing_mm: float | None = Field(default=None, gt=0)
    max_pixel_spacing_mm: float | None = Field(default=None, gt=0)

    @field_validator("description_pattern", "exclude_pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from error
        return value

    @property
    def changes(self) -> dict[str, object]:
        """The keys that are set, but pipeline and role."""
        return self.model_dump(exclude={"pipeline", "role"}, exclude_none=True)


class Routing(_Strict):
    """Which pipelines run, how long a pair may take to arrive, and what this site asks of its series."""

    pipelines: tuple[str, ...] = ("npc_oar_gtv", "ln_ctv")
    partner_wait_s: Seconds = 900.0
    rules: tuple[RuleSettings, ...] = ()


class Rtstruct(_Strict):
    """How RTSTRUCTs are written: a profile that comes with the product, by name, or a TOML file."""

    profile: str = "generic"


class Database(_Strict):
    """PostgreSQL: `embedded`, or a URL such as postgresql://user@host/npc."""

    url: str = Field(default="embedded", pattern=r"^(embedded|postgres(ql)?://.+)$")


class Triton(_Strict):
    """The inference server: `embedded`, or host:port of its gRPC endpoint."""

    url: str = Field(default="embedded", pattern=r"^(embedded|.+:\d+)$")
    metrics_url: str | None = None
    model_repository: Path = Field(default_factory=default_model_repository)
    timeout_s: Seconds = 900.0
    start_timeout_s: Seconds = 120.0


class Web(_Strict):
    """REST for hospital IT."""

    host: str = "127.0.0.1"
    port: Port = 8080


class DestinationSettings(_Strict):
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


class Delivery(_Strict):
    """How results are sent."""

    first_retry_s: Seconds = 5.0
    max_retry_s: Seconds = 3600.0
    give_up_after_h: float = Field(default=96.0, gt=0)
    timeout_s: Seconds = 60.0


class Workers(_Strict):
    """Processes that work."""

    processes: int = Field(default=1, ge=1, le=64)
    segmentations_at_once: int = Field(default=1, ge=1, le=64)


class Logs(_Strict):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(_Strict):
    """The whole of site.toml."""

    storage: Storage = Storage()
    dicom: Dicom = Dicom()
    completion: Completion = Completion()
    routing: Routing = Routing()
    rtstruct: Rtstruct = Rtstruct()
    database: Database = Database()
    triton: Triton = Field(default_factory=Triton)
    web: Web = Web()
    delivery: Delivery = Delivery()
    workers: Workers = Workers()
    logs: Logs = Logs()
    destinations: tuple[DestinationSettings, ...] = ()

    @field_validator("destinations")
    @classmethod
    def _names_differ(cls, value: tuple[DestinationSettings, ...]) -> tuple[DestinationSettings, ...]:
        names = [destination.name for destination in value]
        if len(set(names)) != len(names):
            raise ValueError(f"destination names must differ, got {names}")
        return value

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        if self.dicom.port and self.dicom.port == self.web.port:
            raise ValueError(f"dicom.port and web.port are both {self.web.port}")
        return self


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: an address of the loopback range, or the name localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(path: Path | None) -> Settings:
    """Read the site's settings.

    Args:
        path: a TOML file; None gives the defaults. A relative `storage.root`, or file of `rtstruct.profile`, is
            relative to its folder.

    Raises:
        SettingsError: the file cannot be read, or a key is unknown or has a wrong value; the message names each.
    """
    if path is None:
        return Settings()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {'.'.join(str(part) for part in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{path}: {len(lines)} wrong settings\n" + "\n".join(lines)) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    home = path.parent.resolve()
    storage = settings.storage.model_copy(update={"root": home / settings.storage.root})
    rtstruct = settings.rtstruct
    if rtstruct.profile.endswith(".toml"):
        rtstruct = rtstruct.model_copy(update={"profile": str(home / rtstruct.profile)})
    return settings.model_copy(update={"storage": storage, "rtstruct": rtstruct})
