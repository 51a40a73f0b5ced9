"""The audit trail (DICOM PS3.15 A.5)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from npc_contour.settings.base import Strict


class Audit(Strict):
    """Where audit messages go: a file, and a syslog server."""

    file: bool = True
    syslog: str = Field(default="", pattern=r"^((udp|tcp|tls)://[^/\s]+)?$")
    trusted: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _files_go_together(self) -> Audit:
        if (self.certificate is None) is not (self.key is None):
            raise ValueError("certificate and key go together")
        return self
