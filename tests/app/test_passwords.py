"""A password of the database that is changed while the service runs is used at the next connection."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from npc_contour.app.passwords import FILE, PasswordFile
from npc_contour.app.runtime import Runtime
from npc_contour.settings import read_settings
from npc_testkit.fault_site import debian_postgres

ODD = r"p:w\rd @/?é"
"""A password with everything that the file's form and URLs escape."""


def test_a_changed_password_is_used_at_the_next_connection(open_folder: Path) -> None:
    folder = open_folder
    folder.chmod(0o755)  # PostgreSQL's own user goes through it
    with debian_postgres(folder / "pg", password="first") as (url, _):  # noqa: S106
        secret = folder / "secret"
        secret.write_text("first\n")
        site = folder / "site.toml"
        site.write_text(f'[database]\nurl = "{url.replace(":first@", "@")}"\npassword_file = "secret"\n')
        settings = read_settings(site)
        settings.storage.root.mkdir()
        runtime, kept = Runtime.of(settings), PasswordFile(settings)
        kept.renew()
        kept.renew()
        with psycopg.connect(runtime.database_url) as connection:
            connection.execute(f"ALTER USER npc PASSWORD '{ODD}'".encode())

        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(runtime.database_url)
        secret.unlink()
        kept.renew()
        secret.write_text(ODD)
        kept.renew()
        psycopg.connect(runtime.database_url).close()

    assert "first" not in runtime.database_url
    assert (settings.storage.root / FILE).stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[database]\nurl = "postgresql://npc:x@db/npc"\n')
    settings = read_settings(site)
    PasswordFile(settings).renew()

    assert "npc:x@db" in Runtime.of(settings).database_url
    assert list(tmp_path.iterdir()) == [site]
