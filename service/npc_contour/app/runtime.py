"""What the processes of one service must know of each other: the file `runtime.json` in `storage.root`.

Ports that the settings leave to chance (0) are fixed in it, and the addresses of the embedded servers. It also says how
the service can be found: the demo and monitoring read `dicom_port` and `web_port`.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from npc_contour.app.passwords import reading_url
from npc_contour.errors import EmbeddedServerError
from npc_contour.settings import Settings, Storage

FILE = "runtime.json"
SERVED = ("receiver", "worker", "web")
"""The roles that `npc-contour serve` runs; any number of each may run on any machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One running service.

    Attributes:
        database_url: how to connect to PostgreSQL.
        dicom_tls_port: 0 when no TLS port is opened.
        status_port: 0 when none is opened.
        triton_url: host:port of Triton's gRPC endpoint; "" until an embedded one is up.
        triton_metrics_url: of Triton's metrics; "" when there is none.
        pid: of the supervisor.
        roles: that it runs.
    """

    settings: Settings
    database_url: str
    dicom_port: int
    web_port: int
    dicom_tls_port: int = 0
    status_port: int = 0
    triton_url: str = ""
    triton_metrics_url: str = ""
    pid: int = 0
    roles: tuple[str, ...] = SERVED

    @classmethod
    def of(
        cls, settings: Settings, *, database_url: str = "", triton_url: str = "", roles: Sequence[str] = ()
    ) -> Runtime:
        """Fix what the settings leave open.

        Args:
            settings: the site's.
            database_url: of the embedded database, where the settings ask for one.
            triton_url: of the embedded Triton, likewise.
            roles: that it runs; empty is all.

        Raises:
            EmbeddedServerError: the settings ask for an embedded database, and its URL is not given.
        """
        url = settings.database.url if settings.database.url != "embedded" else database_url
        if not url:
            raise EmbeddedServerError("database.url is embedded: only `npc-contour serve` runs it; give its URL")
        triton = settings.triton.url if settings.triton.url != "embedded" else triton_url
        dicom, web, status = settings.dicom, settings.web, settings.status
        dicom_port, web_port, tls_port, status_port = _ports(
            (dicom.host, dicom.port), (web.host, web.port), (dicom.host, dicom.tls.port), (status.host, status.port)
        )
        return cls(
            settings=settings,
            database_url=url if settings.database.password_file is None else reading_url(settings),
            dicom_port=dicom_port,
            web_port=web_port,
            dicom_tls_port=tls_port,
            status_port=status_port,
            triton_url=triton,
            triton_metrics_url=settings.triton.metrics_url or "",
            pid=os.getpid(),
            roles=tuple(roles) or SERVED,
        )

    @classmethod
    def read(cls, path: Path) -> Runtime:
        """Read the file of a running service."""
        data = json.loads(path.read_text(encoding="utf-8"))
        data["settings"] = Settings.model_validate(data["settings"])
        data["roles"] = tuple(data["roles"])
        return cls(**data)

    @property
    def place(self) -> str:
        """What tells the processes of this supervisor from those of all others."""
        return place_of(self.settings.storage)

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.settings.storage.root / FILE

    def write(self) -> None:
        """Replace the file; only its owner may read it, for the database's URL may hold a password."""
        data = {
            "dicom_port": self.dicom_port,
            "web_port": self.web_port,
            "dicom_tls_port": self.dicom_tls_port,
            "status_port": self.status_port,
            "database_url": self.database_url,
            "triton_url": self.triton_url,
            "triton_metrics_url": self.triton_metrics_url,
            "pid": self.pid,
            "roles": list(self.roles),
            "settings": self.settings.model_dump(mode="json"),
        }
        part = self.path.with_suffix(".part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=2)
        part.replace(self.path)

    def with_triton(self, url: str, metrics_url: str) -> Runtime:
        """The same with the addresses of an embedded Triton."""
        return replace(self, triton_url=url, triton_metrics_url=metrics_url)


def place_of(storage: Storage) -> str:
    """What tells one supervisor from all others: its machine and its `storage.root`, as eight digits."""
    place = f"{socket.gethostname()}:{storage.root.resolve()}"
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def running_database_url(settings: Settings) -> str:
    """Return the URL of the database of a service that runs on this machine.

    Raises:
        EmbeddedServerError: the settings ask for an embedded database, and no service runs it.
    """
    if settings.database.url != "embedded":
        return settings.database.url
    try:
        return Runtime.read(settings.storage.root / FILE).database_url
    except FileNotFoundError as error:
        raise EmbeddedServerError(
            f"no service runs with {settings.storage.root}: its embedded database is not up"
            " (give --config, or start `npc-contour serve`)"
        ) from error


def _ports(*wanted: tuple[str, int | None]) -> list[int]:
    """Return the ports of (host, port): one that is free now for 0, no two the same, and 0 for None."""
    with ExitStack() as taken:
        return [port if port else 0 if port is None else _free_port(host, taken) for host, port in wanted]


def _free_port(host: str, taken: ExitStack) -> int:
    """Return a port that is free now, and nobody else's until `taken` is let go."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = taken.enter_context(socket.socket(family, socket.SOCK_STREAM))
    probe.bind((host, 0))
    return int(probe.getsockname()[1])
