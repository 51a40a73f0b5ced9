"""Roles start apart, receivers of several machines are told apart, the disk's forecast never stops the service."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from npc_contour.app.forecast import forecast_check
from npc_contour.app.receiver import receiver_name
from npc_contour.app.runtime import SERVED, Runtime
from npc_contour.cli.serve import _roles
from npc_contour.errors import SpoolFullError
from npc_contour.settings import Dicom, Settings, Storage
from npc_contour.store.database import Store

GIB = 2**30


def test_roles_are_named_and_others_refused() -> None:
    assert _roles("worker") == ("worker",)
    assert _roles("receiver, web,receiver") == ("receiver", "web")
    for wrong in ("", "cook", "worker,cook"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected some of receiver, worker, web"):
            _roles(wrong)


def test_a_running_service_says_its_roles(tmp_path: Path) -> None:
    settings = Settings(storage=Storage(root=tmp_path))
    for roles, told in (((), SERVED), (("worker",), ("worker",))):
        Runtime.of(settings, database_url="postgresql://x/y", roles=roles).write()
        assert Runtime.read(tmp_path / "runtime.json").roles == told


def test_receivers_of_several_machines_have_names_of_their_own(tmp_path: Path) -> None:
    alone = Storage(root=tmp_path)
    one, other = (Storage(root=tmp_path / name, shared_spool=tmp_path / "spool") for name in ("a", "b"))

    assert receiver_name(alone, 1) == "receiver-1"
    assert len({receiver_name(storage, number) for storage in (one, other) for number in (0, 1)}) == 4
    assert alone.spool == tmp_path / "spool"
    assert one.spool == other.spool


def test_a_port_is_shared_only_where_several_receivers_may_listen(tmp_path: Path) -> None:
    shared = Storage(root=tmp_path, shared_spool=tmp_path / "spool")
    assert not Dicom().has_shared_port(Storage())
    assert Dicom(processes=2).has_shared_port(Storage())
    assert Dicom().has_shared_port(shared)


def test_a_disk_that_fills_is_told_days_before(store: Store) -> None:
    check = forecast_check(store, Settings(storage=Storage(min_free_mb=0)))
    assert check.probe() == "too early to tell"
    assert not check.required
    sample = "INSERT INTO disk_sample VALUES (now() - %(ago)s::interval, %(free)s) RETURNING at"
    store.query(sample, {"ago": "2 days", "free": 100 * GIB})
    store.query(sample, {"ago": "0 days", "free": 80 * GIB})
    assert check.probe() == "full in 8.0 days, as it filled in the last days"
    store.query("UPDATE disk_sample SET free_bytes = free_bytes - %(less)s RETURNING at", {"less": 60 * GIB})
    with pytest.raises(SpoolFullError, match=r"full in 2\.0 days"):
        check.probe()
