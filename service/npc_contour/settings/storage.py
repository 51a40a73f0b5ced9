"""Where state lives: disk and database."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field

from npc_contour.errors import SettingsError
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


NOTICED = {"tcp_user_timeout": 30_000, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
"""How libpq is to notice within half a minute that the database's machine is gone: by itself Linux waits a quarter of
an hour for what was sent to be acknowledged, and two hours where nothing is."""


class Database(Strict):
    """PostgreSQL: `embedded`, or a URL such as postgresql://user@host/npc."""

    url: str = Field(default="embedded", pattern=r"^(embedded|postgres(ql)?://.+)$")
    password_file: Path | None = None

    def completed(self, home: Path) -> Database:
        """Return the same with the password of the file inside the URL, and with `NOTICED` where the site says nothing.

        The file is named still, as an absolute path: processes that live long read it again (`app.passwords`).

        Args:
            home: folder that a relative path starts at.

        Raises:
            SettingsError: the URL takes no password.
            OSError: the file cannot be read.
        """
        parts = urlsplit(self.url)
        if self.password_file is not None:
            if self.url == "embedded" or parts.password is not None:
                raise SettingsError("database.password_file: database.url is embedded, or holds a password itself")
            password = (home / self.password_file).read_text(encoding="utf-8").strip()
            user, _, place = parts.netloc.rpartition("@")
            parts = parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}")
        if self.url == "embedded":
            return self
        said = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        ours = urlencode({name: value for name, value in NOTICED.items() if name not in said})
        url = urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, ours)))))
        return Database(url=url, password_file=home / self.password_file if self.password_file else None)
