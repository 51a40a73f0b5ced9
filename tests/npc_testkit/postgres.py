"""A real PostgreSQL: one embedded server a test session, one database a test."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from npc_contour.adapters.postgres_embedded import OPTIONS, EmbeddedPostgres
from npc_contour.adapters.store.database import PgStore, migrate
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer

TEMPLATE = "npc_template"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder outside of pytest's own, which every session of pytest closes to other users for a moment.

    As root, PostgreSQL runs as another user.
    """
    with tempfile.TemporaryDirectory(prefix="npc-pg-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server with a template database that has our schema."""
    with (
        tempfile.TemporaryDirectory(prefix="npc-pg-") as folder,
        EmbeddedPostgres(Path(folder) / "data", options={**OPTIONS, "fsync": "off"}) as server,
    ):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{TEMPLATE}"')
        migrate(server.url.replace("/postgres?", f"/{TEMPLATE}?"), apply_queue_schema)
        yield server


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a fresh database with our schema."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
    yield postgres.url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def store(database_url: str) -> Iterator[PgStore]:
    """A store over a fresh database, with the real queue."""
    with PgStore(database_url, defer) as opened:
        yield opened


_SKEW = """
CREATE SCHEMA skew;
CREATE TABLE skew.set (by interval NOT NULL);
INSERT INTO skew.set VALUES ('0');
CREATE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + by FROM skew.set';
CREATE FUNCTION skew.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT pg_catalog.now() + by FROM skew.set';
"""


class SkewedClock:
    """Sets the clock of one database as its machine's would be set; for sessions that begin after it was made."""

    def __init__(self, url: str) -> None:
        """Put its functions before the database's own."""
        self._url = url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_SKEW.encode())
            name = connection.info.dbname
            connection.execute(f'ALTER DATABASE "{name}" SET search_path = skew, public, pg_catalog'.encode())

    def set(self, seconds: float) -> None:
        """Let it be so far ahead of the true time; negative is behind."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("UPDATE skew.set SET by = make_interval(secs => %s)", (seconds,))
