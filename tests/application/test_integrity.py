"""A damaged file is never used: made again under the same UIDs, taken from a resend, or told; nothing counts twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from npc_contour.application.artefacts import FINDINGS, FINDINGS_PDF, MEASUREMENTS, RTSTRUCT, SEGMENTATION
from npc_contour.application.integrity import MAX_DAMAGED, CompareFiles, Integrity
from npc_contour.application.ports import EncodedStructureSet
from npc_contour.domain.jobs import CaseState, DeliveryState, SeriesState
from npc_contour.domain.series import InstanceHeader, Seal
from npc_contour.domain.work import JobKind
from npc_contour.errors import DamagedFileError
from npc_contour.store.database import Store
from npc_testkit.bench import LOOPBACK, Bench, catalog, chest, chest_bench, plain_ct
from npc_testkit.fakes import FakeWriter

PIPELINE, SERIES = "ln_ctv", "1.2.10"


@pytest.fixture
def bench(store: Store) -> Bench:
    everything = catalog()
    return Bench(store, catalog=replace(everything, pipelines={PIPELINE: everything.pipelines[PIPELINE]}))


class OtherWriter(FakeWriter):
    """Another version of the product: it writes different bytes under the same UID."""

    def write(self, *given: Any) -> EncodedStructureSet:
        encoded = super().write(*given)
        return replace(encoded, data=encoded.data.replace(b"}", b" }"))


def spoil(bench: Bench, ending: str) -> str:
    """Change one byte of the case's file that ends like this; returns its key."""
    (key,) = [key for key in bench.spool.files if key.endswith(ending)]
    content = bytearray(bench.spool.files[key])
    content[len(content) // 2] ^= 0x10
    bench.spool.files[key] = bytes(content)
    return key


def details(bench: Bench) -> Counter[str]:
    rows = bench.store.query("SELECT name FROM event WHERE step = ''")
    return Counter(row["name"] for row in rows)


def sent(bench: Bench) -> list[bytes]:
    return [data for _, data in bench.sender.sent]


def until(bench: Bench, kind: JobKind) -> None:
    bench.receive(plain_ct(uid=SERIES))
    bench.clock.forward(60)
    bench.work(stop_before=kind)
    bench.clock.forward(120)
    bench.work(stop_before=kind)


def test_a_damaged_label_map_is_computed_again_and_the_case_goes_on(bench: Bench) -> None:
    until(bench, JobKind.WRITE_STRUCTURE_SET)
    spoil(bench, ".npz")

    bench.work_for(30)

    assert bench.case(PIPELINE).state is CaseState.SENT
    assert len(bench.engine.calls) == 2
    told = details(bench)
    assert (told["file.damaged"], told["file.made_again"]) == (1, 1)
    assert max(told[name] for name in ("case.segmented", "structure_set.written", "delivery.sent")) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_structure_set_is_written_again_with_the_same_bytes_before_it_is_sent(
    bench: Bench, *, gone: bool
) -> None:
    until(bench, JobKind.SEND)
    (key,) = [key for key in bench.spool.files if key.endswith("rtstruct.dcm")]
    before = bench.spool.files[key]
    spoil(bench, "rtstruct.dcm")
    if gone:
        del bench.spool.files[key]

    bench.work_for(30)

    assert bench.case(PIPELINE).state is CaseState.SENT
    assert sent(bench) == [before]
    assert details(bench)["structure_set.written"] == 1
    assert len(bench.engine.calls) == 1


@pytest.mark.parametrize("name", [RTSTRUCT, SEGMENTATION, MEASUREMENTS])
def test_each_kind_of_object_is_made_again_before_it_is_sent(store: Store, name: str) -> None:
    bench = chest_bench(store, segmentations=True)
    bench.destinations = bench.destinations[1:]
    bench.writer.segmentation = True
    bench.steps = bench.new_steps()
    bench.receive(chest())
    bench.clock.forward(60)
    bench.work(stop_before=JobKind.SEND)
    good = {key: content for key, content in bench.spool.files.items() if key.endswith(".dcm")}
    spoil(bench, name)

    bench.work_for(60)

    assert len(good) == 3
    assert sorted(sent(bench)) == sorted(good.values())
    told = details(bench)
    assert (told["file.damaged"], told["file.made_again"]) == (1, 1)


@pytest.mark.parametrize("name", [FINDINGS, FINDINGS_PDF])
def test_a_report_of_findings_is_made_again_before_it_is_sent(store: Store, name: str) -> None:
    bench = Bench(store, destinations=(replace(LOOPBACK, findings=True, findings_pdf=True),))
    bench.receive(plain_ct(uid=SERIES))
    bench.clock.forward(11)
    bench.work(stop_before=JobKind.SEND)
    good = {key: content for key, content in bench.spool.files.items() if key.endswith(".dcm")}
    spoil(bench, name)

    bench.work_for(60)

    assert len(good) == 3
    assert sorted(sent(bench)) == sorted(good.values())


@pytest.mark.parametrize("ending", ["report.json", ".npz"])
def test_what_nothing_needs_any_more_is_told_and_not_promised_to_be_made_again(bench: Bench, ending: str) -> None:
    bench.receive(plain_ct(uid=SERIES))
    bench.work_for(120)
    key = spoil(bench, ending)
    error = DamagedFileError(key, "damaged on the disk: other values")

    assert Integrity(bench.store, bench.spool, bench.clock).damaged(error)
    bench.work_for(30)

    (row,) = bench.store.query("SELECT detail FROM event WHERE name = 'file.damaged'")
    assert row["detail"].endswith("nothing needs it any more")
    assert bench.case(PIPELINE).state is CaseState.SENT


def test_label_map_and_structure_set_damaged_together_are_both_made_again(bench: Bench) -> None:
    until(bench, JobKind.SEND)
    spoil(bench, "rtstruct.dcm")
    spoil(bench, ".npz")

    bench.work_for(60)

    assert bench.case(PIPELINE).state is CaseState.SENT
    assert len(sent(bench)) == 1


def test_a_disk_that_damages_again_and_again_ends_in_a_failure_that_says_so(bench: Bench) -> None:
    until(bench, JobKind.SEND)
    for _ in range(MAX_DAMAGED + 2):
        spoil(bench, "rtstruct.dcm")
        bench.work(stop_before=JobKind.MEND_CASE)
        bench.clock.forward(1)
        bench.work(stop_before=JobKind.SEND)
        bench.clock.forward(10)
        if not any(key.endswith("rtstruct.dcm") for key in bench.spool.files):
            break
    bench.work_for(30)

    (delivery,) = bench.store.query("SELECT state, message FROM delivery")
    assert delivery["state"] == DeliveryState.FAILED
    assert "damaged on the disk" in delivery["message"]
    assert sent(bench) == []


def test_other_bytes_never_go_out_under_a_uid_that_a_destination_has_taken(bench: Bench) -> None:
    until(bench, JobKind.SEND)
    bench.work_for(30)
    with bench.store.transaction() as tx:
        (delivery,) = tx.deliveries(bench.case(PIPELINE).case_id)
        second = tx.add_delivery(delivery.case_id, "loopback-2", DeliveryState.QUEUED, "", bench.clock.now())
    spoil(bench, "rtstruct.dcm")
    bench.writer = OtherWriter()
    bench.destinations = (*bench.destinations, replace(bench.destinations[0], name="loopback-2"))
    bench.steps = bench.new_steps()
    bench.steps.run(JobKind.SEND, str(second))

    bench.work_for(30)

    (row,) = bench.store.query("SELECT state, message FROM delivery WHERE destination = 'loopback-2'")
    assert row["state"] == DeliveryState.FAILED
    assert "would differ from" in row["message"]
    assert len(sent(bench)) == 1


def test_an_image_found_damaged_fails_the_case_and_the_same_image_sent_again_lets_it_go_on(bench: Bench) -> None:
    images = plain_ct(uid=SERIES)
    bench.receive(images)
    bench.clock.forward(60)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    bench.clock.forward(120)
    bench.work(stop_before=JobKind.SEGMENT_CASE)
    bad = f"instances/{images[-1].sop_instance_uid}"
    bench.reader.failure = DamagedFileError(bad, "damaged on the disk: 5000 bytes, 8000 were kept")
    bench.work_for(10)

    case = bench.case(PIPELINE)
    assert case.state is CaseState.FAILED
    assert "send the series again" in case.reasons[0]
    assert bad in bench.spool.put_aside
    with bench.store.transaction() as tx:
        series = tx.series(SERIES)
    assert series is not None
    assert series.state is SeriesState.HELD
    assert "1 images are damaged on the disk" in series.reasons[0]

    bench.reader.failure = None
    bench.receive(images)
    bench.work_for(120)

    assert bench.case(PIPELINE).case_id == case.case_id
    assert bench.case(PIPELINE).state is CaseState.SENT
    assert len(sent(bench)) == 1


def test_a_series_without_its_forgotten_end_slice_is_never_ready(bench: Bench) -> None:
    images = plain_ct(uid=SERIES)
    bench.receive(images)
    Integrity(bench.store, bench.spool, bench.clock).images([f"instances/{images[-1].sop_instance_uid}"], "damaged")
    # Another image of the series opens it again; what is left forms a regular stack.
    bench.receive([images[0], replace(images[0], sop_instance_uid="1.2.1.999", image_type=("DERIVED", "SECONDARY"))])
    bench.work_for(120)

    with bench.store.transaction() as tx:
        series = tx.series(SERIES)
    assert series is not None
    assert series.state is SeriesState.HELD
    assert "images are damaged" in series.reasons[0]


@dataclass
class Disk:
    """Images on a disk, as the comparison reads them."""

    files: dict[str, bytes]
    away: list[str] = field(default_factory=list)

    def put_away(self, key: str) -> bool:
        self.away.append(key)
        return self.files.pop(key, None) is not None

    def read(self, key: str, seal: Seal | None = None) -> bytes:
        if key not in self.files:
            raise DamagedFileError(key, "gone", is_gone=True)
        if seal is not None and Seal.of(self.files[key]) != seal:
            raise DamagedFileError(key, "damaged")
        return self.files[key]

    def examine(self, key: str) -> Seal:
        content = self.read(key)
        if not content.startswith(b"image"):
            raise DamagedFileError(key, "no whole image")
        return Seal.of(content)

    def size(self, key: str) -> int | None:
        return len(self.files[key]) if key in self.files else None


def test_the_comparison_finds_damage_and_notes_what_a_former_version_kept(bench: Bench) -> None:
    images = plain_ct(uid=SERIES)
    content = {f"instances/{image.sop_instance_uid}": f"image {image.sop_instance_uid}".encode() for image in images}
    disk = Disk(content)
    old = images[0]
    bench.receive([old, *(replace(h, seal=Seal.of(disk.files[f"instances/{h.sop_instance_uid}"])) for h in images[1:])])
    cut, flipped = (f"instances/{images[index].sop_instance_uid}" for index in (3, 5))
    disk.files[cut] = disk.files[cut][:7]
    disk.files[flipped] = disk.files[flipped][:-1] + b"?"

    integrity = Integrity(bench.store, disk, bench.clock)
    CompareFiles(bench.store, disk, bench.clock, integrity, seconds=60).run()

    assert sorted(disk.away) == sorted([cut, flipped])
    with bench.store.transaction() as tx:
        assert tx.seal_of_image(old.sop_instance_uid) == Seal.of(disk.files[f"instances/{old.sop_instance_uid}"])
        assert len(tx.headers(SERIES)) == len(images) - 2
        assert tx.missing_images(SERIES) == (("damaged on the disk", 2),)


def test_a_header_brings_what_its_file_must_hold(bench: Bench) -> None:
    image: InstanceHeader = replace(plain_ct(uid=SERIES)[0], seal=Seal.of(b"image"))
    bench.receive([image])

    with bench.store.transaction() as tx:
        assert [header.seal for header in tx.headers(SERIES)] == [Seal.of(b"image")]
