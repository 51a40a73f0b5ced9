"""Before a start it is said what readiness will say of spool and clock, in the same words, and neither is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.app.installation import start_checks
from npc_contour.app.shared import spool_at
from npc_contour.application.installation import take_spool
from npc_contour.errors import ClockOffError, SpoolForeignError, StoreError
from npc_contour.settings import Database, Settings, Storage
from npc_contour.store.database import Store
from npc_testkit.postgres import SkewedClock


def site(root: Path, url: str) -> Settings:
    return Settings(storage=Storage(root=root), database=Database(url=url))


def test_the_spool_of_another_database_is_refused_as_the_start_refuses_it(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    own, other = site(tmp_path / "own", database_url), site(tmp_path / "other", database_url)
    look = start_checks(own)[0].probe
    assert look() == "the first start joins the spool to this database"

    take_spool(store, spool_at(own))

    assert look() == "the spool is this database's"
    with pytest.raises(SpoolForeignError) as at_start:
        take_spool(store, spool_at(other))
    absent = site(tmp_path / "absent", database_url)
    for foreign in (other, absent):
        with pytest.raises(SpoolForeignError) as before:
            start_checks(foreign)[0].probe()
        assert str(before.value) == str(at_start.value)
    assert not absent.storage.spool.exists()


def test_a_database_without_tables_is_asked_too(database_url: str, tmp_path: Path) -> None:
    empty = site(tmp_path, f"{database_url}&options=-csearch_path%3Dnowhere")
    installation, clock = start_checks(empty)
    assert "first start" in installation.probe()
    assert "from the database's" in clock.probe()

    spool_at(empty).set_installation_id("another")

    with pytest.raises(SpoolForeignError, match="belongs to another installation, and this database is empty"):
        installation.probe()


def test_this_machine_s_clock_is_compared(database_url: str, tmp_path: Path) -> None:
    SkewedClock(database_url).set(3600)
    (_, clock) = start_checks(site(tmp_path, database_url))

    with pytest.raises(ClockOffError, match=r"the clock of this machine is 3\d\d\d\.\d s behind the database's"):
        clock.probe()
    assert not clock.required


def test_a_database_that_does_not_answer_is_the_database_s_fault_and_an_embedded_one_is_not_started(
    tmp_path: Path,
) -> None:
    (installation, _) = start_checks(site(tmp_path, "postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(StoreError) as error:
        installation.probe()
    assert "database.url" in installation.remedy_of(error.value)
    assert start_checks(Settings(storage=Storage(root=tmp_path))) == ()
