"""0x0000 means: the bytes as received are on disk under their final name and their row is committed. Nothing else does.

Peers: DCMTK where the wire is ordinary; hand-made messages and bare sockets where it is not.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.read.reader import read_headers, read_volume
from npc_contour.adapters.dicom.receive.access import AccessRule
from npc_contour.adapters.dicom.receive.scp import (
    AssociationEnd,
    AssociationEvent,
    AssociationInfo,
    Deadlines,
    Receiver,
    ReceiverSettings,
)
from npc_contour.adapters.dicom.spool.files import Kept, Spool
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.errors import StoreError
from npc_testkit.ct_series import CtPlan, ct_datasets, expected_hu, write_series
from npc_testkit.peers import run_tool, start_tool

AET = "NPC_CONTOUR"
QUICK = Deadlines(associate_s=1.0, silence_s=1.5)


@dataclass
class Desk:
    """A running receiver and what it told."""

    receiver: Receiver
    spool: Spool
    root: Path
    rows: list[tuple[InstanceHeader, str, AssociationInfo]] = field(default_factory=list)
    events: list[AssociationEvent] = field(default_factory=list)
    conflicts: list[Kept] = field(default_factory=list)

    @property
    def port(self) -> str:
        return str(self.receiver.port)

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def wait_for(self, kind: AssociationEnd) -> AssociationEvent:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for event in self.events:
                if event.kind is kind:
                    return event
            time.sleep(0.01)
        raise TimeoutError(f"no association {kind} among {self.events}")


@contextmanager
def desk(
    tmp_path: Path, *, min_free_mb: int = 1, fail: list[Exception] | None = None, **changes: Any
) -> Iterator[Desk]:
    root = tmp_path / "spool"
    spool = Spool(root, min_free_mb=min_free_mb)

    def intake(header: InstanceHeader, key: str, association: AssociationInfo, _: Callable[[], None]) -> None:
        assert spool.exists(key), "the file must be there before its row"
        if fail:
            raise fail.pop()
        running.rows.append((header, key, association))

    settings = ReceiverSettings(**{"port": 0, "stop_grace_s": 0.5, **changes})
    receiver = Receiver(
        settings,
        spool,
        intake,
        on_association=lambda event: running.events.extend([event]),
        on_conflict=lambda _header, kept, _info: running.conflicts.append(kept),
    )
    running = Desk(receiver, spool, root)
    with receiver:
        yield running


@contextmanager
def associated(
    running: Desk, *, abstract: str = CTImageStorage, syntax: str = ExplicitVRLittleEndian
) -> Iterator[Association]:
    entity = AE(ae_title="TESTSCU")
    entity.add_requested_context(abstract, syntax)
    association = entity.associate("127.0.0.1", running.receiver.port, ae_title=AET)
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        association.join(5)


def request(dataset: Dataset, data: bytes | None = None) -> C_STORE:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 1, 2
    primitive.AffectedSOPClassUID = dataset.SOPClassUID
    primitive.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    if data != b"":
        primitive.DataSet = BytesIO(data if data is not None else encode(dataset, False, True) or b"")  # noqa: FBT003
    return primitive


def answer(association: Association, primitive: C_STORE) -> int | None:
    association._reactor_checkpoint.clear()
    context = association.accepted_contexts[0].context_id
    association.dimse.send_msg(primitive, context or 1)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return None if response is None else response.Status


def store(running: Desk, dataset: Dataset, data: bytes | None = None) -> int | None:
    with associated(running) as association:
        return answer(association, request(dataset, data))


def echo(running: Desk, *options: str) -> int:
    return run_tool("echoscu", *options, "127.0.0.1", running.port).returncode


def volume_matches(running: Desk, plan: CtPlan) -> bool:
    content = read_headers([running.spool.open_path(key) for _, key, _ in running.rows])
    return bool((read_volume(Series(content.headers)).hu == expected_hu(plan)).all())


def test_echo(tmp_path: Path) -> None:
    with desk(tmp_path) as running:
        assert echo(running, "-aec", AET) == 0


@pytest.mark.parametrize(
    ("changes", "calling", "called"),
    [
        ({}, "ANY", "SOMEONE_ELSE"),
        ({"access": (AccessRule(calling_ae_titles=("CT1", "CT2")),)}, "CT3", AET),
        ({"access": (AccessRule(networks=(IPv4Network("10.0.0.0/8"),)),)}, "CT1", AET),
        ({"access": (AccessRule(tls_subjects=("*",)),)}, "CT1", AET),
        ({"access": (AccessRule(called_ae_titles=("NPC_CTV",)),), "called_ae_titles": ("NPC_CTV",)}, "CT1", AET),
        ({"access": ()}, "CT1", AET),
    ],
)
def test_strangers_are_rejected(changes: dict[str, Any], calling: str, called: str, tmp_path: Path) -> None:
    with desk(tmp_path, **changes) as running:
        result = run_tool("echoscu", "-aet", calling, "-aec", called, "127.0.0.1", running.port)

        assert result.returncode != 0
        assert "Association Rejected" in result.stderr
        assert running.events == []


def test_those_who_are_named_come_in(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"access": (AccessRule(calling_ae_titles=("CT1",)),), "called_ae_titles": ("NPC_CTV",)}
    with desk(tmp_path, **changes) as running:
        assert echo(running, "-aet", "CT1", "-aec", AET) == 0
        assert echo(running, "-aet", "CT1", "-aec", "NPC_CTV") == 0


def test_a_series_by_storescu_is_kept_byte_for_byte(tmp_path: Path) -> None:
    plan = CtPlan(slices=12)
    sources = write_series(tmp_path / "out", ct_datasets(plan))
    with desk(tmp_path) as running:
        result = run_tool("storescu", "-aet", "CT1", "-aec", AET, "127.0.0.1", running.port, *sources)
        ended = running.wait_for(AssociationEnd.RELEASED)

    assert result.returncode == 0, result.stderr
    assert len(running.rows) == 12
    assert ended.stored == 12
    assert ended.series_instance_uids == (running.rows[0][0].series_instance_uid,)
    assert (ended.association.calling_ae_title, ended.association.called_ae_title) == ("CT1", AET)
    assert volume_matches(running, plan)
    kept = {header.sop_instance_uid: running.spool.read(key) for header, key, _ in running.rows}
    for source in sources:
        sent = pydicom.dcmread(source)
        data = encode(sent, False, True)  # noqa: FBT003
        assert data is not None
        assert kept[str(sent.SOPInstanceUID)].endswith(data)


def test_four_interleaved_associations_with_shuffled_slices_give_one_series(tmp_path: Path) -> None:
    plan = CtPlan(slices=24)
    sources = write_series(tmp_path / "out", ct_datasets(plan), shuffle_seed=5)
    with desk(tmp_path) as running:
        senders = [
            start_tool("storescu", "-aec", AET, "127.0.0.1", running.port, *sources[part::4]) for part in range(4)
        ]
        outputs = [sender.communicate(timeout=60)[0] for sender in senders]
        running.wait_for(AssociationEnd.RELEASED)

    assert [sender.returncode for sender in senders] == [0] * 4, outputs
    assert len(running.rows) == 24
    assert len({info.association_id for _, _, info in running.rows}) == 4
    assert volume_matches(running, plan)


@pytest.mark.parametrize(
    ("encoder", "option", "proposal", "syntax"),
    [
        ("dcmconv", "+ti", "-xi", "1.2.840.10008.1.2"),
        ("dcmconv", "+tb", "-xb", "1.2.840.10008.1.2.2"),
        ("dcmconv", "+td", "-xd", "1.2.840.10008.1.2.1.99"),
        ("dcmcrle", "", "-xr", "1.2.840.10008.1.2.5"),
        ("dcmcjpeg", "+e1", "-xs", "1.2.840.10008.1.2.4.70"),
        ("dcmcjpls", "+el", "-xt", "1.2.840.10008.1.2.4.80"),
    ],
)
def test_every_transfer_syntax_is_kept_as_it_came(
    encoder: str, option: str, proposal: str, syntax: str, tmp_path: Path
) -> None:
    plan = CtPlan(rows=64, columns=48, slices=4)
    (tmp_path / "coded").mkdir()
    coded = []
    for path in write_series(tmp_path / "out", ct_datasets(plan)):
        coded.append(tmp_path / "coded" / path.name)
        assert run_tool(encoder, *([option] if option else []), path, coded[-1]).returncode == 0

    with desk(tmp_path) as running:
        result = run_tool("storescu", proposal, "-aec", AET, "127.0.0.1", running.port, *coded)

    assert result.returncode == 0, result.stderr
    assert {header.transfer_syntax_uid for header, _, _ in running.rows} == {syntax}
    assert volume_matches(running, plan)


def test_what_is_no_ct_or_mr_image_finds_no_presentation_context(tmp_path: Path) -> None:
    source = Path(pydicom.__file__).parent / "data" / "test_files" / "rtplan.dcm"
    with desk(tmp_path) as running:
        result = run_tool("storescu", "-aec", AET, "127.0.0.1", running.port, source)

    assert result.returncode != 0
    assert running.rows == []
    assert running.files() == []


def changed(change: Callable[[FileDataset], None]) -> FileDataset:
    dataset = ct_datasets(CtPlan())[0]
    change(dataset)
    return dataset


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda ds: setattr(ds, "Modality", "PT"), 0xA900),
        (lambda ds: setattr(ds, "StudyInstanceUID", "../../../etc"), 0xC002),
        (lambda ds: setattr(ds, "SeriesInstanceUID", ".."), 0xC002),
        (lambda ds: setattr(ds, "SeriesInstanceUID", ""), 0xC002),
        (lambda ds: setattr(ds, "SOPInstanceUID", "../../x"), 0xC002),
        (lambda ds: delattr(ds, "PixelData"), 0xC001),
        (lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2]), 0xC001),
        (lambda ds: setattr(ds, "Rows", 60000), 0xC001),
        (lambda ds: setattr(ds, "NumberOfFrames", 2_000_000_000), 0xC001),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI:UserWarning")
def test_what_is_not_what_it_says_is_answered_with_its_status(
    change: Callable[[FileDataset], None], status: int, tmp_path: Path
) -> None:
    with desk(tmp_path) as running:
        assert store(running, changed(change)) == status

    assert running.rows == []
    assert running.files() == []
    assert running.events[-1].refused == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 0xC001), (b"random bytes that are no data set at all", 0xC001), (bytes(5000), 0xC001)],
)
def test_garbage_is_no_data_set(data: bytes, status: int, tmp_path: Path) -> None:
    with desk(tmp_path) as running:
        found = store(running, ct_datasets(CtPlan())[0], data)

    assert found == status
    assert running.files() == []


def test_a_cut_off_data_set_is_not_kept(tmp_path: Path) -> None:
    dataset = ct_datasets(CtPlan())[0]
    data = encode(dataset, False, True) or b""  # noqa: FBT003
    with desk(tmp_path) as running:
        assert store(running, dataset, data[:-50]) == 0xC001
        assert store(running, dataset, data) == 0x0000

    assert len(running.rows) == 1


@pytest.mark.parametrize("what", ["AffectedSOPInstanceUID", "AffectedSOPClassUID"])
def test_command_and_data_set_must_name_the_same_object(what: str, tmp_path: Path) -> None:
    dataset = ct_datasets(CtPlan())[0]
    with desk(tmp_path) as running, associated(running) as association:
        primitive = request(dataset)
        setattr(primitive, what, {"AffectedSOPInstanceUID": "1.2.3", "AffectedSOPClassUID": MRImageStorage}[what])
        assert answer(association, primitive) == 0xA900

    assert running.files() == []


def test_a_full_disk_is_out_of_resources_and_leaves_nothing(tmp_path: Path) -> None:
    with desk(tmp_path, min_free_mb=10**9) as running:
        assert store(running, ct_datasets(CtPlan())[0]) == 0xA700

    assert running.files() == []
    assert running.rows == []


def test_without_its_row_an_instance_is_not_acknowledged_and_a_repeat_is(tmp_path: Path) -> None:
    dataset = ct_datasets(CtPlan())[0]
    with desk(tmp_path, fail=[StoreError("the database is away")]) as running:
        assert store(running, dataset) == 0xA700
        assert running.rows == []
        assert store(running, dataset) == 0x0000

    assert len(running.rows) == 1
    assert len(running.files()) == 1


def test_the_same_again_is_fine_other_bytes_are_a_conflict(tmp_path: Path) -> None:
    dataset = ct_datasets(CtPlan())[0]
    other = ct_datasets(CtPlan(contrast_agent="changed"))[0]
    with desk(tmp_path) as running:
        assert store(running, dataset) == 0x0000
        before = running.spool.read(running.rows[0][1])
        assert store(running, dataset) == 0x0000
        assert store(running, other) == 0xC003

    assert running.spool.read(running.rows[0][1]) == before
    assert [kept.quarantine_key is not None for kept in running.conflicts] == [True]
    assert len(running.files()) == 2


def half_a_store(association: Association, dataset: Dataset) -> bytes:
    """The PDUs of a C-STORE but for the last."""
    message = C_STORE_RQ()
    message.primitive_to_message(request(dataset))
    context = association.accepted_contexts[0].context_id
    fragments = []
    for primitive in message.encode_msg(context or 1, 256):
        body = b"".join(
            struct.pack(">LB", len(data) + 1, cx) + data for cx, data in primitive.presentation_data_value_list
        )
        fragments.append(struct.pack(">BBL", 4, 0, len(body)) + body)
    return b"".join(fragments[:-1])


def socket_of(association: Association) -> socket.socket:
    wrapper = association.dul.socket
    assert wrapper is not None
    assert wrapper.socket is not None
    return wrapper.socket


@pytest.mark.parametrize("how", ["abort", "close", "stall"])
def test_a_transfer_that_breaks_off_leaves_no_file(how: str, tmp_path: Path) -> None:
    datasets = ct_datasets(CtPlan())
    with desk(tmp_path, deadlines=QUICK) as running, associated(running) as association:
        assert answer(association, request(datasets[0])) == 0x0000
        connection = socket_of(association)
        connection.sendall(half_a_store(association, datasets[1]))
        if how == "abort":
            association.abort()
        elif how == "close":
            connection.shutdown(socket.SHUT_RDWR)
        ended = running.wait_for(AssociationEnd.ABORTED)

        assert ended.stored == 1
        assert ended.series_instance_uids == (str(datasets[0].SeriesInstanceUID),)
        assert len(running.files()) == 1
        assert echo(running, "-aec", AET) == 0
        association.join(5)
        connection.close()  # pynetdicom's requestor leaves a broken one open


def bare_sockets(running: Desk, count: int, first_bytes: bytes) -> list[socket.socket]:
    sockets = []
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", running.receiver.port), timeout=10)
        peer.sendall(first_bytes)
        sockets.append(peer)
    return sockets


@pytest.mark.parametrize("first_bytes", [b"", b"\x01\x00\x00", b"\x01\x00\x00\x00\x01\x00" + bytes(20)])
def test_silent_peers_neither_block_nor_stay(first_bytes: bytes, tmp_path: Path) -> None:
    with desk(tmp_path, deadlines=QUICK) as running:
        sockets = bare_sockets(running, 20, first_bytes)
        assert echo(running, "-aec", AET) == 0
        started = time.monotonic()
        for peer in sockets:
            while peer.recv(1024):
                pass
            peer.close()

    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "first_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x01\x00\xff\xff\xff\xff",
        b"\x04\x00\xff\xff\xff\xff",
    ],
)
def test_nonsense_and_giant_lengths_are_cut_at_once(first_bytes: bytes, tmp_path: Path) -> None:
    with desk(tmp_path, deadlines=QUICK) as running:
        (peer,) = bare_sockets(running, 1, first_bytes)
        started = time.monotonic()
        with peer, contextlib.suppress(ConnectionResetError):
            while peer.recv(1024):
                pass

        assert time.monotonic() - started < 5
        assert echo(running, "-aec", AET) == 0


def test_health_checks_that_only_connect_lock_nobody_out(tmp_path: Path) -> None:
    with desk(tmp_path, max_associations=4) as running:
        for _ in range(40):
            socket.create_connection(("127.0.0.1", running.receiver.port)).close()
            time.sleep(0.01)

        assert echo(running, "-aec", AET) == 0


def test_more_than_the_limit_is_rejected_for_now_and_then_let_in(tmp_path: Path) -> None:
    with desk(tmp_path, max_associations=2) as running:
        with associated(running), associated(running):
            result = run_tool("echoscu", "-aec", AET, "127.0.0.1", running.port)
            assert result.returncode != 0
            assert "Local Limit Exceeded" in result.stderr
        deadline = time.monotonic() + 5
        while echo(running, "-aec", AET) != 0:
            assert time.monotonic() < deadline


def test_stop_ends_open_associations_frees_the_port_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    entity = AE(ae_title="TESTSCU")
    entity.add_requested_context(Verification)
    with desk(tmp_path) as running:
        port = running.receiver.port
        association = entity.associate("127.0.0.1", port, ae_title=AET)
        assert association.is_established

    association.join(5)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before, threading.enumerate()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    assert running.events[-1].kind is AssociationEnd.ABORTED


def test_the_log_names_the_instance_and_never_the_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = ct_datasets(CtPlan())[0]
    with caplog.at_level(logging.DEBUG), desk(tmp_path) as running:
        store(running, dataset)
        store(running, dataset, b"junk that is no data set")

    events = [record.getMessage() for record in caplog.records]
    assert "instance.stored" in events
    refused = next(record for record in caplog.records if record.getMessage() == "instance.refused")
    assert vars(refused)["status"] == "0xC001"
    assert vars(refused)["sop_instance_uid"] == str(dataset.SOPInstanceUID)
    assert "Nobody" not in caplog.text + repr([vars(record) for record in caplog.records])
