"""The site's settings: one TOML file, read once, frozen.

An unknown key or a wrong value refuses to start and names the key. Every key, its unit and its default is in
`deploy/site.example.toml`, which a test compares with this package.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from npc_contour.errors import SettingsError
from npc_contour.settings.archives import PacsSettings, PullSettings
from npc_contour.settings.audit import Audit
from npc_contour.settings.base import Strict, is_loopback
from npc_contour.settings.delivery import (
    DESTINATION_KINDS,
    Delivery,
    DestinationSettings,
    DicomDestination,
    DicomwebDestination,
    FolderDestination,
)
from npc_contour.settings.dicom import AccessRuleSettings, CommitmentPeer, Completion, Dicom, Tls
from npc_contour.settings.mr import Mr
from npc_contour.settings.oidc import Oidc
from npc_contour.settings.processes import (
    Deadlines,
    Logs,
    SelfTest,
    Status,
    Triton,
    Web,
    Workers,
    default_model_repository,
)
from npc_contour.settings.results import Results
from npc_contour.settings.retention import Retention
from npc_contour.settings.routing import Routing, Rtstruct, RuleSettings
from npc_contour.settings.storage import Database, Storage
from npc_contour.settings.tracing import Tracing
from npc_contour.settings.webhooks import WebhookSettings

__all__ = [
    "DESTINATION_KINDS",
    "AccessRuleSettings",
    "Audit",
    "CommitmentPeer",
    "Completion",
    "Database",
    "Deadlines",
    "Delivery",
    "DestinationSettings",
    "Dicom",
    "DicomDestination",
    "DicomwebDestination",
    "FolderDestination",
    "Logs",
    "Mr",
    "Oidc",
    "PacsSettings",
    "PullSettings",
    "Results",
    "Retention",
    "Routing",
    "Rtstruct",
    "RuleSettings",
    "SelfTest",
    "Settings",
    "Status",
    "Storage",
    "Tls",
    "Tracing",
    "Triton",
    "Web",
    "WebhookSettings",
    "Workers",
    "default_model_repository",
    "is_loopback",
    "read_settings",
]


class Settings(Strict):
    """The whole of site.toml."""

    storage: Storage = Storage()
    dicom: Dicom = Dicom()
    completion: Completion = Completion()
    routing: Routing = Routing()
    mr: Mr = Mr()
    results: Results = Results()
    rtstruct: Rtstruct = Rtstruct()
    database: Database = Database()
    triton: Triton = Field(default_factory=Triton)
    web: Web = Web()
    oidc: Oidc = Oidc()
    status: Status = Status()
    delivery: Delivery = Delivery()
    retention: Retention = Retention()
    workers: Workers = Workers()
    self_test: SelfTest = SelfTest()
    logs: Logs = Logs()
    audit: Audit = Audit()
    tracing: Tracing = Tracing()
    destinations: tuple[DestinationSettings, ...] = ()
    pacs: tuple[PacsSettings, ...] = ()
    pull: tuple[PullSettings, ...] = ()
    webhooks: tuple[WebhookSettings, ...] = ()

    @field_validator("destinations")
    @classmethod
    def _names_differ(cls, value: tuple[DestinationSettings, ...]) -> tuple[DestinationSettings, ...]:
        names = [destination.name for destination in value]
        if len(set(names)) != len(names):
            raise ValueError(f"destination names must differ, got {names}")
        return value

    @field_validator("pacs", "pull", "webhooks")
    @classmethod
    def _archive_names_differ(
        cls, value: tuple[PacsSettings | PullSettings | WebhookSettings, ...]
    ) -> tuple[PacsSettings | PullSettings | WebhookSettings, ...]:
        names = [one.name for one in value]
        if len(set(names)) != len(names):
            raise ValueError(f"names must differ, got {names}")
        return value

    @model_validator(mode="after")
    def _tls_has_files(self) -> Settings:
        tables = {"destinations": self.destinations, "pacs": self.pacs, "dicom.commitment": self.dicom.commitment}
        for table, rows in tables.items():
            for row in rows:
                if getattr(row, "tls", False) and not self.dicom.tls.is_set:
                    raise ValueError(f"{table}: {row.name} has tls = true, but dicom.tls has no certificate")
        return self

    @model_validator(mode="after")
    def _pulls_know_their_pacs(self) -> Settings:
        known = {pacs.name for pacs in self.pacs}
        for rule in self.pull:
            if rule.pacs not in known:
                raise ValueError(f"pull {rule.name}: there is no [[pacs]] named {rule.pacs!r}")
        for name in self.routing.partner_pacs:
            if name not in known:
                raise ValueError(f"routing.partner_pacs: there is no [[pacs]] named {name!r}")
        return self

    @model_validator(mode="after")
    def _triton_answers_before_the_deadline(self) -> Settings:
        deadline_s = self.workers.deadlines_s.segment_case
        if deadline_s <= self.triton.timeout_s:
            raise ValueError(
                f"workers.deadlines_s.segment_case is {deadline_s:g}, must be longer than triton.timeout_s"
                f" ({self.triton.timeout_s:g})"
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        ports = {
            "dicom.port": self.dicom.port,
            "dicom.tls.port": self.dicom.tls.port,
            "web.port": self.web.port,
            "status.port": self.status.port,
        }
        taken: dict[int, str] = {}
        for name, port in ports.items():
            if port and port in taken:
                raise ValueError(f"{taken[port]} and {name} are both {port}")
            taken[port or 0] = name
        return self


def read_settings(path: Path | None) -> Settings:
    """Read the site's settings.

    Args:
        path: a TOML file; None gives the defaults. A relative `storage.root`, file of `rtstruct.profile`, of
            `routing.pipelines` or of `dicom.tls` is relative to its folder, and so are the paths of destinations and
            the folders of `self_test.cases`.

    Raises:
        SettingsError: the file cannot be read, or a key is unknown or has a wrong value; the message names each.
    """
    if path is None:
        return Settings()
    try:
        # Windows' Notepad puts a byte order mark before the text.
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        settings = Settings.model_validate(raw)
        home = path.parent.resolve()
        database = settings.database.completed(home)
    except ValidationError as error:
        lines = [f"  {_where(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{path}: {len(lines)} wrong settings\n" + "\n".join(lines)) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    shared = settings.storage.shared_spool
    storage = settings.storage.model_copy(
        update={"root": home / settings.storage.root, "shared_spool": home / shared if shared is not None else None}
    )
    rtstruct = settings.rtstruct
    if rtstruct.profile.endswith(".toml"):
        rtstruct = rtstruct.model_copy(update={"profile": str(home / rtstruct.profile)})
    dicom = settings.dicom.model_copy(update={"tls": _files_from(home, settings.dicom.tls)})
    destinations = tuple(_placed(destination, home) for destination in settings.destinations)
    webhooks = tuple(_placed(webhook, home) for webhook in settings.webhooks)
    return settings.model_copy(
        update={
            "storage": storage,
            "database": database,
            "rtstruct": rtstruct,
            "routing": settings.routing.beside(home),
            "self_test": settings.self_test.model_copy(
                update={"cases": tuple(home / case for case in settings.self_test.cases)}
            ),
            "dicom": dicom,
            "destinations": destinations,
            "webhooks": webhooks,
            "oidc": _placed(settings.oidc, home),
        }
    )


def _files_from(home: Path, tls: Tls) -> Tls:
    given = {name: getattr(tls, name) for name in ("certificate", "key", "trusted")}
    return tls.model_copy(update={name: home / path for name, path in given.items() if path is not None})


_Placed = TypeVar("_Placed", bound=Strict)


def _placed(destination: _Placed, home: Path) -> _Placed:
    """Return a destination or webhook whose relative paths start at the folder of the file."""
    keys = ("path", "token_file", "ca_file", "secret_file", "client_secret_file")
    paths = {key: home / path for key in keys if (path := getattr(destination, key, None)) is not None}
    return destination.model_copy(update=paths)


def _where(place: tuple[int | str, ...]) -> str:
    """Return the key as it stands in the file: pydantic also names the kind of a destination."""
    parts = [str(part) for part in place]
    if parts[:1] == ["destinations"] and len(parts) > 3 and parts[2] in DESTINATION_KINDS:
        del parts[2]
    return ".".join(parts) or "(file)"
