"""The database's password, read again whenever a connection is made: it may be changed while the service runs.

PostgreSQL's client library reads a password file of its own form (`passfile`) at each connection. So the supervisor
keeps one beside its runtime file, made from `database.password_file`, and rewrites it when that changes.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from npc_contour.logs import Event
from npc_contour.settings import Settings

logger = logging.getLogger(__name__)

FILE = "database.pgpass"


def reading_url(settings: Settings) -> str:
    """Return how to connect with the password that the kept file has at that moment."""
    parts = urlsplit(settings.database.url)
    user, _, place = parts.netloc.rpartition("@")
    passfile = f"passfile={quote(str(settings.storage.root.resolve() / FILE), safe='')}"
    query = "&".join(filter(None, (parts.query, passfile)))
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{place}", query=query))


class PasswordFile:
    """Keeps the file; without `database.password_file` it does nothing."""

    def __init__(self, settings: Settings) -> None:
        """Keep it for this site."""
        self._source = settings.database.password_file
        self._kept = settings.storage.root / FILE
        self._written: tuple[int, int, int] | None = None

    def renew(self) -> None:
        """Write the kept file where the source is another than last time; call often.

        A source that cannot be read for a moment, as while it is replaced, leaves what is kept.
        """
        if self._source is None:
            return
        try:
            stat = self._source.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version == self._written:
                return
            password = self._source.read_text(encoding="utf-8").strip()
            _write(self._kept, password)
        except OSError as error:
            if self._written is not None:
                self._written = None
                logger.error(Event.PASSWORD_UNREADABLE, extra={"file": str(self._source), "error": str(error)})  # noqa: TRY400
            return
        if self._written is not None:
            logger.info(Event.PASSWORD_RELOADED, extra={"file": str(self._source)})
        self._written = version


def _write(path: Path, password: str) -> None:
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"*:*:*:*:{escaped}\n")
    part.replace(path)
