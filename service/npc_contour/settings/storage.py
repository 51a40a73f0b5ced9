"""Where state lives: disk and database."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from npc_contour.settings.base import Strict


class Storage(Strict):
    """Where state lives on disk."""

    root: Path = Path("npc-contour-data")
    shared_spool: Path | None = None
    min_free_mb: int = Field(default=2048, ge=0)
    reserve_mb: int = Field(default=200, ge=0)

    @property
    def spool(self) -> Path:
        """Received images and what was made of them."""
        return self.shared_spool or self.root / "spool"

    @property
    def database(self) -> Path:
        """Data folder of the embedded PostgreSQL."""
        return self.root / "postgres"

    @property
    def logs(self) -> Path:
        """Log files of embedded servers."""
        return self.root / "logs"


class Database(Strict):
    """PostgreSQL: `embedded`, or a URL such as postgresql://user@host/npc."""

    url: str = Field(default="embedded", pattern=r"^(embedded|postgres(ql)?://.+)$")
