"""Images that came again as another patient's are asked about once a series, whatever state their case is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from npc_contour.application.corrections import HELD, Corrections, CorrectionTools, Difference, OtherBytes
from npc_contour.application.integrity import Integrity
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_contour.domain.queries import Wanted
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.series import InstanceHeader, Seal
from npc_contour.domain.work import JobKind
from npc_contour.domain.worklist import Group
from npc_contour.errors import NoSuchRowError, OperationRefused
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard
from npc_contour.store.worklist import WorkList
from npc_testkit.bench import STUDY, Bench, catalog, plain_ct

PIPELINE, SERIES = "ln_ctv", "1.2.10"
OTHER_ID = "PHANTOM-MERGED"


@dataclass
class Desk:
    """A quarantine in memory, and what keeps its files as if they had just come."""

    bench: Bench
    headers: dict[str, InstanceHeader] = field(default_factory=dict)

    def files(self) -> Sequence[OtherBytes]:
        came = datetime(2026, 1, 1, tzinfo=UTC)
        found = [
            OtherBytes(name=name, sop_instance_uid=one.sop_instance_uid, at=came + timedelta(seconds=at), size_bytes=9)
            for at, (name, one) in enumerate(self.headers.items())
        ]
        return found[::-1]

    def differences(self, kept_key: str, name: str) -> Sequence[Difference]:
        assert kept_key.rpartition("/")[2] == self.headers[name].sop_instance_uid
        return (Difference(what="Patient ID", kept="not shown here", came="another", is_identity=True),)

    def header(self, name: str) -> InstanceHeader | None:
        return self.headers[name]

    def read(self, name: str) -> bytes:
        return name.encode()

    def discard(self, name: str) -> bool:
        return self.headers.pop(name, None) is not None

    def keep(self, file: bytes, association: AssociationRow, *, asked: Wanted | None = None) -> InstanceHeader:
        assert asked is None
        header = self.headers[file.decode()]
        self.bench.intake.keep(header, f"instances/{header.sop_instance_uid}", association)
        return header

    def come_again(self, images: Sequence[InstanceHeader], tag: str = "a") -> None:
        for image in images:
            self.headers[f"{image.sop_instance_uid}-{tag}.dcm"] = image
            self.bench.intake.conflict(image, "other bytes", ("Patient ID", "patient's name"))

    def corrections(self) -> Corrections:
        bench = self.bench
        board = HeldSeriesBoard(bench.store)
        ended = bench.intake.association_ended
        return Corrections(
            CorrectionTools(bench.store, board, self, bench.spool, self, ended, bench.clock, "NPC_CONTOUR")
        )


@pytest.fixture
def bench(store: Store) -> Bench:
    everything = catalog()
    return Bench(store, catalog=replace(everything, pipelines={PIPELINE: everything.pipelines[PIPELINE]}))


def corrected(images: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    return [replace(image, patient_id=OTHER_ID) for image in images]


def until(bench: Bench, kind: JobKind) -> list[InstanceHeader]:
    images = plain_ct(uid=SERIES)
    bench.receive(images)
    bench.clock.forward(60)
    bench.work(stop_before=kind)
    bench.clock.forward(120)
    bench.work(stop_before=kind)
    return images


def told(bench: Bench, name: str) -> list[str]:
    return [row["detail"] for row in bench.store.query("SELECT detail FROM event WHERE name = %(n)s", {"n": name})]


@pytest.mark.parametrize("kind", [JobKind.SEGMENT_CASE, JobKind.WRITE_STRUCTURE_SET, JobKind.SEND])
def test_a_case_that_is_not_finished_is_held_and_accepted_images_are_contoured_anew(
    bench: Bench, kind: JobKind
) -> None:
    images = until(bench, kind)
    desk = Desk(bench)
    desk.come_again(corrected(images))
    bench.work_for(60)

    first = bench.case(PIPELINE)
    assert first.held_reason == HELD
    assert bench.sender.sent == []
    (words,) = told(bench, "series.came_again")
    assert "but another Patient ID and another patient's name" in words
    assert OTHER_ID not in words
    (one,) = desk.corrections().series()
    assert (one.series_instance_uid, one.images, one.kept, one.may_be_accepted) == (SERIES, 50, 50, True)

    desk.corrections().accept(SERIES, by="Ann", reason="merged")
    bench.work_for(200)

    new = bench.case(PIPELINE)
    assert (new.generation, new.predecessor, new.state) == (2, first.case_id, CaseState.SENT)
    assert len(bench.sender.sent) == 1
    assert desk.corrections().count() == 0
    with bench.store.transaction() as tx:
        assert {header.patient_id for header in tx.headers(SERIES)} == {OTHER_ID}
        assert tx.patient_id(STUDY) == OTHER_ID
    bench.work_for(100)
    assert bench.case(PIPELINE).case_id == new.case_id, "a correction is contoured once"


def test_after_a_case_was_sent_it_asks_for_a_person_and_is_contoured_anew_when_accepted(bench: Bench) -> None:
    images = plain_ct(uid=SERIES)
    bench.receive(images)
    bench.work_for(200)
    desk = Desk(bench)
    work = WorkList(bench.store, StatusBoard(bench.store, str))
    assert (bench.case(PIPELINE).state, work.tally()[Group.ATTENTION]) == (CaseState.SENT, 0)

    desk.come_again(corrected(images))
    assert work.tally()[Group.ATTENTION] == 1
    assert len(told(bench, "series.came_again")) == 1
    desk.corrections().accept(SERIES, by="Ann")
    bench.work_for(200)

    assert (bench.case(PIPELINE).generation, bench.case(PIPELINE).state) == (2, CaseState.SENT)
    assert len(bench.sender.sent) == 2
    assert work.tally()[Group.ATTENTION] == 0


def test_before_a_case_is_made_it_is_held_as_soon_as_it_is(bench: Bench) -> None:
    images = plain_ct(uid=SERIES)
    bench.receive(images)
    desk = Desk(bench)
    desk.come_again(corrected(images[:3]))
    bench.work_for(200)

    assert (bench.case(PIPELINE).state, bench.case(PIPELINE).held_reason) == (CaseState.ROUTED, HELD)


def test_discarded_images_let_go_on_what_was_held_for_them(bench: Bench) -> None:
    images = until(bench, JobKind.SEND)
    desk = Desk(bench)
    desk.come_again(corrected(images), "a")
    desk.come_again(corrected(images[:1]), "b")
    desk.corrections().discard(SERIES, by="Ann", reason="a mistake")
    bench.work_for(60)

    assert (bench.case(PIPELINE).generation, bench.case(PIPELINE).state) == (1, CaseState.SENT)
    assert desk.headers == {}
    assert told(bench, "series.corrected") == ["50 images received again were discarded by Ann: a mistake"]
    with pytest.raises(NoSuchRowError):
        desk.corrections().discard(SERIES, by="Ann")


def test_the_last_file_discarded_by_itself_ends_the_question(bench: Bench) -> None:
    images = until(bench, JobKind.SEND)
    desk = Desk(bench)
    desk.come_again(corrected(images[:2]))
    for name in list(desk.headers):
        desk.corrections().discard_file(name, by="Ann")
    bench.work_for(60)

    assert bench.case(PIPELINE).state is CaseState.SENT
    with pytest.raises(NoSuchRowError):
        desk.corrections().discard_file("1.2-x.dcm", by="Ann")


def test_a_part_of_a_series_is_not_accepted_as_another_patient_s(bench: Bench) -> None:
    images = until(bench, JobKind.SEND)
    desk = Desk(bench)
    desk.come_again(corrected(images[:12]))

    assert not desk.corrections().series()[0].may_be_accepted
    with pytest.raises(
        OperationRefused, match=r"12 of 50 images were received again: mixed patients: .*send all of them"
    ) as no:
        desk.corrections().accept(SERIES, by="Ann")
    assert OTHER_ID not in str(no.value)
    assert len(desk.headers) == 12
    assert bench.case(PIPELINE).held_reason == HELD


def test_other_images_under_known_uids_are_not_accepted(bench: Bench) -> None:
    images = until(bench, JobKind.SEND)
    desk = Desk(bench)
    desk.come_again([replace(one, rows=32) for one in images])

    with pytest.raises(OperationRefused, match="50 of 50 are not the same images"):
        desk.corrections().accept(SERIES, by="Ann")
    with bench.store.transaction() as tx:
        series = tx.series(SERIES)
    assert series is not None
    assert series.state is SeriesState.READY


def test_two_people_do_not_answer_at_the_same_time(bench: Bench) -> None:
    desk = Desk(bench)
    desk.come_again(corrected(until(bench, JobKind.SEND)))
    with bench.store.transaction() as tx:
        assert tx.take_turn(f"correction of {SERIES}")
        with pytest.raises(OperationRefused, match="somebody is just"):
            desk.corrections().accept(SERIES, by="Bob")


def test_a_reader_of_before_does_not_take_accepted_images_for_damaged_ones(bench: Bench) -> None:
    (image,) = plain_ct(1, uid=SERIES)
    key = f"instances/{image.sop_instance_uid}"
    bench.spool.files[key] = b"accepted"
    bench.receive([replace(image, seal=Seal.of(b"accepted"))])

    Integrity(bench.store, bench.spool, bench.clock).images([key], "damaged on the disk")

    assert bench.spool.put_aside == []
