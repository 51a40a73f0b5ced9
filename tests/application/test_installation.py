"""A spool and a database that do not belong together are never used together, and nothing is marked lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.application.installation import adopt_spool, check_spool, take_spool
from npc_contour.application.upkeep import ALL, Rescan
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.status import Part
from npc_contour.errors import SpoolForeignError
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, plain_ct


@dataclass
class Place:
    """A spool that only has names."""

    identity: str = ""
    keys: set[str] = field(default_factory=set)

    def installation_id(self) -> str:
        return self.identity

    def set_installation_id(self, installation_id: str) -> None:
        self.identity = installation_id

    def has_files(self) -> bool:
        return bool(self.keys)

    def exists(self, key: str) -> bool:
        return key in self.keys


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def with_images(bench: Bench) -> Place:
    images = plain_ct()
    bench.receive(images)
    return Place(keys={f"instances/{image.sop_instance_uid}" for image in images})


def test_the_first_start_marks_both_and_the_next_finds_them_together(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path, min_free_mb=0)
    take_spool(store, spool)
    first = spool.installation_id()
    take_spool(store, spool)
    assert spool.installation_id() == first
    assert check_spool(store, spool)


def test_a_start_that_was_cut_short_is_taken_up(store: Store) -> None:
    with store.transaction() as tx:
        tx.set_installation("half", has_spool=False)
    place = Place()
    take_spool(store, place)
    assert place.identity == "half"


def test_an_older_version_s_spool_and_database_are_taken_over_where_the_files_are_there(bench: Bench) -> None:
    place = with_images(bench)
    with pytest.raises(SpoolForeignError, match=r"of the newest 50 files .* 50 are not in the spool; .*adopt-spool"):
        take_spool(bench.store, Place())
    take_spool(bench.store, place)
    assert check_spool(bench.store, place)


def test_a_worker_s_own_folder_is_no_shared_spool_even_before_the_first_image(store: Store) -> None:
    take_spool(store, Place())
    with pytest.raises(SpoolForeignError, match="has no installation id"):
        take_spool(store, Place())


@pytest.mark.parametrize(
    ("place", "words"),
    [(Place("other"), "another installation"), (Place(keys={"instances/1"}), "holds images or results")],
)
def test_an_empty_database_takes_no_spool_that_was_in_use(store: Store, place: Place, words: str) -> None:
    with pytest.raises(SpoolForeignError, match=words):
        take_spool(store, place)
    adopt_spool(store, place)
    take_spool(store, place)


def test_a_database_of_an_older_backup_keeps_the_spool_s_id(bench: Bench) -> None:
    place = with_images(bench)
    place.identity = "known"
    take_spool(bench.store, place)
    assert place.identity == "known"
    assert check_spool(bench.store, place)


@pytest.mark.parametrize("identity", ["", "other"])
def test_the_comparison_marks_nothing_lost_in_a_wrong_spool(bench: Bench, identity: str) -> None:
    place = with_images(bench)
    take_spool(bench.store, place)
    bench.work_for(15)
    for wrong in (Wrong(identity), Wrong(place.identity)):
        with pytest.raises(SpoolForeignError):
            Rescan(bench.store, wrong, bench.clock, None, bench.intake, "NPC_CONTOUR").run(ALL)  # type: ignore[arg-type]
    series = bench.board.series(Part(limit=1))[0]
    assert (series.state, series.images) == (SeriesState.READY, 50)


@dataclass
class Wrong(Place):
    """Another folder: none of the files is in it."""

    def instance_files(self) -> list[tuple[str, float]]:
        return []

    def read(self, key: str) -> bytes:
        raise FileNotFoundError(key)

    def delete(self, key: str) -> bool:
        raise AssertionError(f"{key} was deleted")

    def delete_artefacts(self, case_id: str) -> int:
        raise AssertionError(f"files of {case_id} were deleted")

    def free_bytes(self) -> int:
        return 0
