"""A real PostgreSQL: one embedded server for a run of tests, whose database each test finds as migrations leave it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from npc_contour.adapters.postgres_embedded import OPTIONS, EmbeddedPostgres
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_contour.store.database import Store, migrate

_KEEP = """
CREATE SCHEMA npc_test;
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('CREATE TABLE npc_test.%I AS TABLE public.%I', name, name);
  END LOOP;
END $$
"""
_PUT_BACK = """
CREATE FUNCTION npc_test.put_back() RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text; used boolean;
BEGIN
  SET LOCAL session_replication_role = replica;  -- no triggers, no foreign keys: tables in any order
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', name) INTO used;
    IF used THEN EXECUTE format('DELETE FROM public.%I', name); END IF;
    EXECUTE format('INSERT INTO public.%I OVERRIDING SYSTEM VALUE SELECT * FROM npc_test.%I', name, name);
  END LOOP;
  PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL;
END $$
"""
"""Rows that a migration writes are kept aside, to be there again for each test."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder outside of pytest's own, which every session of pytest closes to other users for a moment.

    As root, PostgreSQL runs as another user.
    """
    with tempfile.TemporaryDirectory(prefix="npc-pg-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server whose database `postgres` has our schema."""
    with (
        tempfile.TemporaryDirectory(prefix="npc-pg-") as folder,
        EmbeddedPostgres(Path(folder) / "data", options={**OPTIONS, "fsync": "off"}) as server,
    ):
        migrate(server.url, apply_queue_schema)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(_KEEP)
            connection.execute(_PUT_BACK)
        yield server


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database with our schema and no rows but those of the migrations; identities count from 1.

    It is the same one for all tests, which follow each other: to make and drop one took two thirds of their time.
    """
    yield postgres.url
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        connection.execute("DROP SCHEMA IF EXISTS skew CASCADE")
        connection.execute("ALTER DATABASE postgres RESET search_path")
        connection.execute("SELECT npc_test.put_back()")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store over a fresh database, with the real queue."""
    with Store(database_url, defer) as opened:
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
