"""Tests, too, call nobody: npc_networks switches openvino's telemetry off before anything imports openvino.

One browser and one PostgreSQL serve all tests of a process.
"""

import logging
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

import npc_networks as npc_networks  # noqa: PLC0414 (imported for what it does)
from npc_testkit.page import chromium

pytest_plugins = ["npc_testkit.postgres"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def _logs_end_with_their_test() -> Iterator[None]:
    """Take back the handler of a command line that ran in this process: its stream is closed with the test."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [one for one in root.handlers if type(one) is logging.StreamHandler]:
        root.removeHandler(handler)
    root.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: "system" not in item.path.parts)
