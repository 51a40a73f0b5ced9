"""A real PostgreSQL for the tests of this folder."""

from pathlib import Path

import pytest

from npc_contour.store.database import Store
from npc_testkit.page import World


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    return World(store, tmp_path)
