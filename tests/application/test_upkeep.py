"""Nothing undelivered is ever deleted; what was delivered goes after its time; files and rows agree after a start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from npc_contour.application.operations import Operations
from npc_contour.application.upkeep import ALL, Rescan, Retain, forecast
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.queries import Wanted
from npc_contour.domain.received import AssociationRow, KeptImage
from npc_contour.domain.series import InstanceHeader
from npc_contour.domain.status import Part
from npc_contour.domain.work import JobKind
from npc_contour.errors import InstanceRefused, NetworkMismatchError
from npc_contour.settings import Retention
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, plain_ct

DAY_S = 86400.0
RULES = Retention(images_days=10, structure_sets_days=20, rows_days=30, every_s=3600)


@dataclass
class Disk:
    """Files by key, with their age in seconds."""

    files: dict[str, float] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    free: int = 10**9
    identity: str = ""

    def instance_files(self) -> Iterator[tuple[str, float]]:
        yield from self.files.items()

    def read(self, key: str) -> bytes:
        return key.encode()

    def installation_id(self) -> str:
        return self.identity

    def set_installation_id(self, installation_id: str) -> None:
        self.identity = installation_id

    def has_files(self) -> bool:
        return bool(self.files)

    def exists(self, key: str) -> bool:
        return key in self.files

    def delete(self, key: str) -> bool:
        self.deleted.append(key)
        return self.files.pop(key, None) is not None

    def delete_artefacts(self, case_id: str) -> int:
        self.deleted.append(case_id)
        return 3

    def free_bytes(self) -> int:
        return self.free


@dataclass
class Keeper:
    """Adopts what it has a header of."""

    bench: Bench
    headers: dict[str, InstanceHeader]

    def keep(self, file: bytes, association: AssociationRow, *, asked: Wanted | None = None) -> InstanceHeader:
        assert asked is None
        key = file.decode()
        if key not in self.headers:
            raise InstanceRefused("not what it says it is", status=0xC001)
        self.bench.intake.keep(self.headers[key], key, association)
        return self.headers[key]


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def key_of(header: InstanceHeader) -> str:
    return f"instances/{header.sop_instance_uid}"


def received(bench: Bench, images: list[InstanceHeader]) -> Disk:
    bench.receive(images)
    return Disk({key_of(image): 1000.0 for image in images})


def retain(bench: Bench, disk: Disk, days: float) -> None:
    bench.clock.forward(days * DAY_S)
    Retain(bench.store, disk, bench.clock, RULES).run(ALL)


def rescan(bench: Bench, disk: Disk, images: list[InstanceHeader]) -> None:
    keeper = Keeper(bench, {key_of(image): image for image in images})
    Rescan(bench.store, disk, bench.clock, keeper, bench.intake, "NPC_CONTOUR").run(ALL)


def test_images_then_files_then_rows_go_after_their_time(bench: Bench) -> None:
    disk = received(bench, plain_ct())
    bench.work_for(15)
    bench.work_for(200)
    # The other pipeline never got its pair: it is refused, which is an end.
    case = bench.case("ln_ctv")
    assert case.state is CaseState.SENT
    bench.assignment.assign(case.case_id, {"planning_ct": "1.2.10"}, by="Ann")
    bench.work_for(15)
    steps = bench.board.counts().steps

    retain(bench, disk, 9)
    assert len(disk.files) == 50
    retain(bench, disk, 2)
    assert disk.files == {}
    series = bench.board.series(Part(limit=1))[0]
    assert (series.images, series.reasons) == (0, ("50 images deleted 10 days after the study was done",))
    retain(bench, disk, 10)
    assert case.case_id in disk.deleted
    assert bench.board.details(case.case_id) is not None
    retain(bench, disk, 10)
    assert bench.board.details(case.case_id) is None
    assert bench.store.query("SELECT 1 FROM study UNION SELECT 1 FROM event UNION SELECT 1 FROM association") == []
    assert bench.store.query("SELECT 1 FROM assignment") == []
    assert bench.board.counts().steps == steps != {}, "totals fell with what was deleted"


@pytest.mark.parametrize("undelivered", ["destination down", "case failed", "held", "paused", "not verified yet"])
def test_what_is_not_delivered_is_never_deleted(bench: Bench, undelivered: str) -> None:
    operate = Operations(bench.store, bench.clock, bench.destinations)
    images = plain_ct()
    bench.sender.down = undelivered == "destination down"
    if undelivered == "case failed":
        bench.engine.failures = [NetworkMismatchError("another network")]
    if undelivered == "paused":
        operate.pause("tps", by="Ann")
    if undelivered == "held":
        images = images[:20] + images[21:]
    bench.verifier.down = undelivered == "not verified yet"
    disk = received(bench, images)
    bench.work_for(200)
    if undelivered == "held":
        bench.work_for(1800, step_s=300)

    retain(bench, disk, 500)

    assert len(disk.files) == len(images)
    assert disk.deleted == []


def test_images_that_a_sender_was_promised_to_have_kept_outlive_their_time(bench: Bench) -> None:
    images = plain_ct()
    disk = received(bench, images)
    bench.work_for(200)
    with bench.store.transaction() as tx:
        promised = tx.promise_instances([images[0].sop_instance_uid, "1.2.3.4"], bench.clock.now())
    assert promised == {images[0].sop_instance_uid: KeptImage(images[0].sop_class_uid, key_of(images[0]), None)}

    retain(bench, disk, RULES.committed_days - 1)
    assert len(disk.files) == len(images)
    retain(bench, disk, 2)
    assert disk.files == {}


def test_a_promise_for_ever_is_kept(bench: Bench) -> None:
    disk = received(bench, plain_ct())
    bench.work_for(200)
    with bench.store.transaction() as tx:
        tx.promise_instances([plain_ct()[0].sop_instance_uid], bench.clock.now())
    bench.clock.forward(4000 * DAY_S)
    Retain(bench.store, disk, bench.clock, RULES.model_copy(update={"committed_days": 0.0})).run(ALL)
    assert len(disk.files) == 50


def test_images_that_come_again_after_their_time_are_taken_again_and_change_nothing(bench: Bench) -> None:
    images = plain_ct()
    disk = received(bench, images)
    bench.work_for(200)
    retain(bench, disk, 11)
    assert disk.files == {}

    bench.receive(images)
    bench.work_for(200)

    assert [series.images for series in bench.board.series(Part(limit=9))] == [50]
    assert len(bench.cases("ln_ctv")) == 1


def test_the_next_round_is_planned_and_a_crash_between_row_and_file_is_made_good(bench: Bench) -> None:
    disk = received(bench, plain_ct())
    bench.work_for(200)
    bench.clock.forward(11 * DAY_S)
    with bench.store.transaction() as tx:
        tx.expire_images("1.2", "images deleted")
    assert len(disk.files) == 50

    Retain(bench.store, disk, bench.clock, RULES).run(ALL)

    assert disk.files == {}
    planned = bench.store.query("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'retention'")
    assert len(planned) == 1


def test_a_file_without_a_row_is_adopted_and_one_too_young_waits(bench: Bench) -> None:
    images = plain_ct()
    bench.receive(images[:48])
    disk = Disk({key_of(image): 1000.0 for image in images[:49]} | {key_of(images[49]): 1.0, "instances/junk": 999.0})

    rescan(bench, disk, images)
    assert bench.board.series(Part(limit=1))[0].images == 49
    waiting = bench.store.query("SELECT scheduled_at FROM procrastinate_jobs WHERE task_name = 'rescan'")
    assert waiting[0]["scheduled_at"] == bench.clock.now() + timedelta(seconds=60)
    disk.files[key_of(images[49])] = 100.0
    rescan(bench, disk, images)
    assert bench.board.series(Part(limit=1))[0].images == 50
    bench.work(stop_before=JobKind.RESCAN)


def test_a_row_without_its_file_holds_the_series_until_it_is_sent_again(bench: Bench) -> None:
    images = plain_ct()
    disk = received(bench, images)
    bench.work_for(15)
    del disk.files[key_of(images[3])], disk.files[key_of(images[4])]

    rescan(bench, disk, images)
    series = bench.board.series(Part(limit=1))[0]
    assert (series.state, series.images) == (SeriesState.HELD, 48)
    assert series.reasons == ("2 images are gone from the disk: send the series again",)
    bench.receive(images[3:5])
    bench.work_for(15)

    assert bench.board.series(Part(limit=1))[0].state is SeriesState.READY
    assert len(bench.cases("ln_ctv")) == 1


def test_nothing_is_done_where_files_and_rows_agree(bench: Bench) -> None:
    disk = received(bench, plain_ct())
    bench.work_for(15)
    before = bench.board.series(Part(limit=9))
    rescan(bench, disk, plain_ct())
    assert bench.board.series(Part(limit=9)) == before


def test_the_forecast_follows_the_trend() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert forecast([], 0) is None
    assert forecast([(start, 100)], 0) is None
    falling = [(start, 1000), (start + timedelta(days=2), 800)]
    assert forecast(falling, 100) == pytest.approx(7.0)
    assert forecast(falling, 900) == 0.0
    assert forecast([(start, 800), (start + timedelta(days=2), 1000)], 100) is None
