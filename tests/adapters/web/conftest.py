"""A real PostgreSQL and a real browser for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from npc_contour.adapters.store.database import PgStore
from npc_testkit.page import World, chromium
from npc_testkit.postgres import database_url, postgres, store

__all__ = ["database_url", "postgres", "store"]


@pytest.fixture
def world(store: PgStore, tmp_path: Path) -> World:
    return World(store, tmp_path)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running
