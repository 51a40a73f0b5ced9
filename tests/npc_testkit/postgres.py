"""A real PostgreSQL: one embedded server a test session, one database a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
from npc_contour.adapters.store.database import PgStore, migrate
from npc_contour.adapters.workflow.queue import apply_queue_schema, defer

TEMPLATE = "npc_template"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server with a template database that has our schema."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("pg") / "data") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{TEMPLATE}"')
        migrate(server.url.replace("/postgres?", f"/{TEMPLATE}?"), apply_queue_schema)
        yield server


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> str:
    """The URL of a fresh database with our schema."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
    return postgres.url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(database_url: str) -> Iterator[PgStore]:
    """A store over a fresh database, with the real queue."""
    with PgStore(database_url, defer) as opened:
        yield opened
