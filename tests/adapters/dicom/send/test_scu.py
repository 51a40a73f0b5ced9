"""What a destination did with an object is told truthfully: stored, or not stored and why, in words."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from npc_contour.adapters.dicom.association.requestor import associate
from npc_contour.adapters.dicom.send.scu import DicomSender, echo, send, send_series
from npc_contour.domain.dimse import status_words
from npc_contour.domain.jobs import Destination
from npc_contour.errors import SendError
from npc_testkit.peers import free_port, storescp

OUR_AE = "NPC_CONTOUR"


def tps(port: int, *, host: str = "127.0.0.1") -> Destination:
    return Destination("tps", "TPS", host, port)


def write_object(path: Path, uid: str, *, sop_class: UID = RTStructureSetStorage) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.1", "2.25.2"
    dataset.Modality, dataset.PatientID = "RTSTRUCT", "PHANTOM"
    dataset.StructureSetLabel = "NPC_OAR_GTV"
    # An element nobody knows: it must arrive as it left.
    dataset.private_block(0x0099, "NPC TEST", create=True).add_new(1, "LO", "kept")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def sent_bytes(path: Path) -> bytes:
    """Return a file's data set, without preamble and meta information."""
    raw = path.read_bytes()
    return raw[raw.index(b"\x08\x00\x16\x00") :]


@contextmanager
def answering(status: int, meanwhile: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Run an SCP that answers every C-STORE with one status, after doing something; yields its port."""

    def answer(_: evt.Event) -> int:
        meanwhile()
        return status

    entity = AE(ae_title="TPS")
    entity.add_supported_context(RTStructureSetStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    assert isinstance(server, ThreadedAssociationServer)
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def test_echo_tells_time_and_implementation(tmp_path: Path) -> None:
    with storescp(tmp_path / "in") as port:
        result = echo(tps(port), OUR_AE, 5.0)

    assert result.destination == "tps"
    assert result.implementation.startswith("OFFIS_DCMTK")
    assert 0 < result.seconds < 5


def test_object_arrives_byte_for_byte(tmp_path: Path) -> None:
    path = write_object(tmp_path / "rs.dcm", "2.25.77")
    with storescp(tmp_path / "in", options=["+B"]) as port:
        (receipt,) = send([path], tps(port), OUR_AE, 5.0)

    (arrived,) = (tmp_path / "in").iterdir()
    assert receipt.is_stored
    assert receipt.sop_instance_uid == "2.25.77"
    assert sent_bytes(arrived) == sent_bytes(path)


def test_bytes_leave_byte_for_byte_and_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = write_object(tmp_path / "rs.dcm", "2.25.78")
    with storescp(tmp_path / "in", options=["+B"]) as port:
        receipt = DicomSender(OUR_AE, 5.0).send(path.read_bytes(), tps(port))

    (arrived,) = (tmp_path / "in").iterdir()
    assert receipt.is_stored
    assert sent_bytes(arrived) == sent_bytes(path)
    assert list(scratch.iterdir()) == []


def test_no_file_of_a_patient_lies_about_while_the_peer_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = write_object(tmp_path / "rs.dcm", "2.25.79")
    seen: list[list[Path]] = []
    with answering(0x0000, lambda: seen.append(list(scratch.iterdir()))) as port:
        assert DicomSender(OUR_AE, 5.0).send(path.read_bytes(), tps(port)).is_stored

    assert seen == [[]]


def test_sender_returns_the_answer_whatever_it_is(tmp_path: Path) -> None:
    content = write_object(tmp_path / "rs.dcm", "2.25.85").read_bytes()
    with answering(0xA702) as port:
        receipt = DicomSender(OUR_AE, 5.0).send(content, tps(port))

    assert receipt.status == 0xA702
    assert not receipt.is_stored


def test_peer_that_takes_the_default_transfer_syntax_only_gets_it(tmp_path: Path) -> None:
    path = write_object(tmp_path / "rs.dcm", "2.25.79")
    with storescp(tmp_path / "in", options=["+xi", "+B"]) as port:
        DicomSender(OUR_AE, 5.0).send(path.read_bytes(), tps(port))

    (arrived,) = (tmp_path / "in").iterdir()
    received = dcmread(arrived)
    assert received.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert received.StructureSetLabel == "NPC_OAR_GTV"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--refuse"],
            r"tps \(TPS at 127\.0\.0\.1:\d+\) rejected (permanently|temporarily): .*\(source \d, reason \d\)",
        ),
        (["--abort-after"], r"aborted the association during C-STORE of 2\.25\.80"),
        (["--abort-during"], r"aborted the association during C-STORE of 2\.25\.80"),
    ],
)
def test_fault_of_the_peer_is_named(tmp_path: Path, options: Sequence[str], words: str) -> None:
    path = write_object(tmp_path / "rs.dcm", "2.25.80")
    with storescp(tmp_path / "in", options=options) as port, pytest.raises(SendError, match=words):
        send([path], tps(port), OUR_AE, 5.0)


def test_nobody_else_reads_answers_while_an_association_is_in_use(tmp_path: Path) -> None:
    ours = threading.active_count()
    with storescp(tmp_path / "in") as port:
        with associate(tps(port), [build_context(Verification)], OUR_AE, 5.0) as link:
            seen = []
            for _ in range(5):
                assert link.association.send_c_echo().Status == 0x0000
                time.sleep(0.005)  # long enough for pynetdicom's reactor, which wakes each millisecond
                seen.append((link.association._is_paused, link.association._reactor_checkpoint.is_set()))

        assert not link.association.is_alive()

    assert seen == [(True, False)] * 5
    assert threading.active_count() == ours


def test_silent_peer_costs_the_time_limit_and_no_more(tmp_path: Path) -> None:
    path = write_object(tmp_path / "rs.dcm", "2.25.81")
    started = time.monotonic()
    with (
        storescp(tmp_path / "in", options=["--sleep-during", "4"]) as port,
        pytest.raises(SendError, match=r"did not answer C-STORE of 2\.25\.81 within 0\.8 s"),
    ):
        send([path], tps(port), OUR_AE, 0.8)

    assert time.monotonic() - started < 4


def test_full_disk_of_the_destination_is_named(tmp_path: Path) -> None:
    path = write_object(tmp_path / "rs.dcm", "2.25.82")
    with storescp(tmp_path / "in") as port:
        shutil.rmtree(tmp_path / "in")
        with pytest.raises(SendError, match=r"did not store 2\.25\.82: 0xA700 refused: out of resources"):
            send([path], tps(port), OUR_AE, 5.0)


def test_nobody_there_is_named_by_the_error_and_not_again_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SendError, match=r"cannot be reached: Connection refused"):
        echo(tps(free_port()), OUR_AE, 2.0)

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_unknown_host_is_named() -> None:
    with pytest.raises(SendError, match=r"host name cannot be resolved"):
        echo(tps(104, host="no-such-host.invalid"), OUR_AE, 2.0)


def test_warning_counts_as_stored(tmp_path: Path) -> None:
    path = write_object(tmp_path / "rs.dcm", "2.25.83")
    with answering(0xB007) as port:
        (receipt,) = send([path], tps(port), OUR_AE, 5.0)

    assert receipt.is_stored
    assert receipt.status == 0xB007


def test_failure_status_stops_and_is_told_in_words(tmp_path: Path) -> None:
    paths = [write_object(tmp_path / f"{n}.dcm", f"2.25.{n}") for n in (1, 2)]
    with (
        answering(0xC123) as port,
        pytest.raises(SendError, match=r"did not store 2\.25\.1: 0xC123 error: it cannot understand the object"),
    ):
        send(paths, tps(port), OUR_AE, 5.0)


def test_class_that_the_peer_does_not_take_is_named(tmp_path: Path) -> None:
    path = write_object(tmp_path / "ct.dcm", "2.25.84", sop_class=CTImageStorage)
    with answering(0x0000) as port, pytest.raises(SendError, match=r"none of the proposed .*CT Image Storage"):
        send([path], tps(port), OUR_AE, 5.0)


def test_file_that_is_no_dicom_is_named(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("hello")

    with pytest.raises(SendError, match=r"note\.txt: no DICOM file"):
        send([path], tps(104), OUR_AE, 1.0)


def test_folder_goes_over_several_associations(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    for n in range(1, 14):
        write_object(folder / f"{n:03}.dcm", f"2.25.9{n:02}", sop_class=CTImageStorage)
    (folder / "README.txt").write_text("not DICOM")
    seen: list[tuple[int, int]] = []
    with storescp(tmp_path / "in", options=["--fork"]) as port:
        report = send_series(folder, tps(port), OUR_AE, 5.0, associations=3, shuffle_seed=1,
                             progress=lambda done, total: seen.append((done, total)))  # fmt: skip

    assert len(list((tmp_path / "in").iterdir())) == 13
    assert {receipt.sop_instance_uid for receipt in report.receipts} == {f"2.25.9{n:02}" for n in range(1, 14)}
    assert report.failures == ()
    assert [path.name for path in report.skipped] == ["README.txt"]
    assert seen == [(n, 13) for n in range(1, 14)]


def test_refused_slice_does_not_stop_a_series(tmp_path: Path) -> None:
    folder = tmp_path / "rs"
    folder.mkdir()
    for n in range(3):
        write_object(folder / f"{n}.dcm", f"2.25.{n + 1}")
    with answering(0xA900) as port:
        report = send_series(folder, tps(port), OUR_AE, 5.0)

    assert len(report.failures) == 3


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SendError, match="no DICOM file to send"):
        send_series(tmp_path, tps(104), OUR_AE, 1.0)


@pytest.mark.parametrize(
    ("status", "words"),
    [(0x0000, "success"), (0xA7FF, "out of resources"), (0xA9AA, "does not match"), (0xB123, "stored, with a warning"),
     (0xC000, "cannot understand"), (0x0122, "SOP class not supported"), (0x4242, "unknown status")],
)  # fmt: skip
def test_status_in_words(status: int, words: str) -> None:
    assert words in status_words(status)
    assert f"0x{status:04X}" in status_words(status)
