"""A sender may delete its images only when we say that we keep them; that is said durably, and only of what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from pynetdicom.transport import ThreadedAssociationServer

from npc_contour.adapters.dicom.association.tls import server_context
from npc_contour.adapters.dicom.receive.availability import AvailabilityNotice, availability_notices
from npc_contour.adapters.dicom.receive.commitment_scp import commitment_requests, report
from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.app.archives import commitments_of
from npc_contour.application.commitments import MAX_ATTEMPTS, Commitment, Commitments
from npc_contour.application.intake import Intake
from npc_contour.domain.jobs import Destination
from npc_contour.domain.received import AssociationRow
from npc_contour.errors import SendError
from npc_contour.settings import Completion, Settings
from npc_contour.store.database import Store
from npc_testkit.certificates import Authority
from npc_testkit.ct_headers import ct_headers
from npc_testkit.fakes import FakeClock, FakeSpool
from npc_testkit.peers import free_port

OUR_AE = "NPC_CONTOUR"
Objects = tuple[tuple[str, str], ...]


def reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item


def request(*objects: tuple[str, str], transaction: str = "2.25.77") -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = [reference(*one) for one in objects]
    return information


@contextmanager
def sender(ae_title: str = "CT1", tls: SSLContext | None = None) -> Iterator[tuple[int, list[tuple[int, Dataset]]]]:
    """A modality that waits for reports; yields its port and what it was told: (event type, information)."""
    told: list[tuple[int, Dataset]] = []
    entity = AE(ae_title=ae_title)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)

    def on_report(event: evt.Event) -> tuple[int, None]:
        told.append((event.event_type or 0, event.event_information))
        return 0x0000, None

    handlers: list[evt.EventHandlerType] = [(evt.EVT_N_EVENT_REPORT, on_report)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    assert isinstance(server, ThreadedAssociationServer)
    try:
        yield int(server.server_address[1]), told
    finally:
        server.shutdown()


def ask(port: int, information: Dataset, *, action: int = 1, calling: str = "CT1") -> int:
    entity = AE(ae_title=calling)
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate("127.0.0.1", port, ae_title=OUR_AE)
    assert association.is_established
    status, _ = association.send_n_action(
        information, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    association.release()
    return int(status.Status)


@contextmanager
def door(tmp_path: Path, asked: list[tuple[str, str, Objects]]) -> Iterator[int]:
    def note(transaction: str, caller: str, objects: Objects) -> bool:
        known = any(one[0] == transaction for one in asked)
        asked.append((transaction, caller, objects))
        return not known

    service = commitment_requests(lambda title: title == "CT1", note)
    spool = Spool(tmp_path / "spool", min_free_mb=1)
    with Receiver(ReceiverSettings(port=0), spool, lambda *_: None, services=[service]) as receiver:
        yield receiver.port


def test_a_request_is_noted_and_answered(tmp_path: Path) -> None:
    asked: list[tuple[str, str, Objects]] = []
    with door(tmp_path, asked) as port:
        assert ask(port, request((CTImageStorage, "2.25.1"), (CTImageStorage, "2.25.2"))) == 0x0000
        assert ask(port, request((CTImageStorage, "2.25.1"))) == 0x0131, "a transaction is asked once"

    assert asked[0] == ("2.25.77", "CT1", ((CTImageStorage, "2.25.1"), (CTImageStorage, "2.25.2")))


def test_wrong_requests_are_refused_and_not_noted(tmp_path: Path) -> None:
    asked: list[tuple[str, str, Objects]] = []
    with door(tmp_path, asked) as port:
        assert ask(port, request((CTImageStorage, "2.25.1")), action=2) == 0x0123
        assert ask(port, request((CTImageStorage, "2.25.1")), calling="STRANGER") == 0x0124
        assert ask(port, request()) == 0x0115
        assert ask(port, reference(CTImageStorage, "2.25.1")) == 0x0115

    assert asked == []


def test_a_sender_is_told_what_is_kept_and_what_is_not() -> None:
    with sender() as (port, told):
        peer = Destination("CT1", "CT1", "127.0.0.1", port)
        report("2.25.77", [(CTImageStorage, "2.25.1")], [], peer, OUR_AE, 5.0)
        report("2.25.78", [(CTImageStorage, "2.25.1")], [(CTImageStorage, "2.25.2", 0x0112)], peer, OUR_AE, 5.0)

    (kind, whole), (other, partly) = told
    assert (kind, other) == (1, 2)
    assert whole.TransactionUID == "2.25.77"
    assert [item.ReferencedSOPInstanceUID for item in whole.ReferencedSOPSequence] == ["2.25.1"]
    assert [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in partly.FailedSOPSequence] == [
        ("2.25.2", 0x0112)
    ]


def test_a_sender_is_told_over_tls_with_our_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    theirs, ours = authority.issue("ct1.test"), authority.issue("npc.test")
    with sender(tls=server_context(theirs.files)) as (port, told):
        peer = Destination("CT1", "CT1", "127.0.0.1", port, tls=ours.calling("ct1.test"))
        report("2.25.77", [(CTImageStorage, "2.25.1")], [], peer, OUR_AE, 5.0)
        with pytest.raises(SendError, match="certificate verification failed"):
            report("2.25.78", [], [], replace(peer, tls=ours.calling("other.test")), OUR_AE, 5.0)

    assert [information.TransactionUID for _, information in told] == ["2.25.77"]


def test_the_settings_say_where_a_sender_is_told(store: Store, tmp_path: Path) -> None:
    files = {name: f"{name}.pem" for name in ("certificate", "key", "trusted")}
    peer = {"ae_title": "CT1", "host": "10.0.0.5", "port": 11112, "tls": True, "tls_name": "ct1.test"}
    dicom = {"commitment": [peer], "tls": files}

    assert commitments_of(Settings.model_validate({"dicom": dicom}), store, Spool(tmp_path)).knows("CT1")
    with pytest.raises(ValueError, match=r"dicom\.commitment: CT1 has tls = true, but dicom\.tls has no certificate"):
        Settings.model_validate({"dicom": {"commitment": [peer]}})


def test_a_sender_that_is_down_is_an_error() -> None:
    with pytest.raises(SendError, match="cannot be reached"):
        report("2.25.1", [], [], Destination("CT1", "CT1", "127.0.0.1", free_port()), OUR_AE, 2.0)


def test_kept_means_row_and_file_of_that_class(store: Store) -> None:
    clock, spool, told = FakeClock(), FakeSpool(), list[Commitment]()
    headers = ct_headers(slices=3)
    for number, header in enumerate(headers):
        key = f"instances/{number}"
        if number != 1:
            spool.files[key] = b"image"
        Intake(store, clock, Completion()).keep(header, key, AssociationRow("a", "receiver", "CT1", OUR_AE, "h"))
    uids = [header.sop_instance_uid for header in headers]
    objects = ((CTImageStorage, uids[0]), (CTImageStorage, uids[1]), (MRImageStorage, uids[2]), (CTImageStorage, "2.9"))
    commitments = Commitments(
        store, spool, clock, {"CT1": Destination("CT1", "CT1", "h", 1)}, lambda commitment, _: told.append(commitment)
    )

    assert commitments.asked("2.25.1", "CT1", objects)
    assert not commitments.asked("2.25.1", "CT1", objects)
    commitments.run("1")
    commitments.run("1")

    (commitment,) = told
    assert commitment.held == ((CTImageStorage, uids[0]),)
    assert [reason for _, _, reason in commitment.failed] == [0x0112, 0x0119, 0x0112]
    assert store.query("SELECT state, message FROM commitment_request") == [
        {"state": "reported", "message": "1 kept, 3 not"}
    ]


def test_a_report_that_is_not_taken_is_tried_again_and_survives(store: Store) -> None:
    def down(_: Commitment, peer: Destination) -> None:
        raise SendError(f"{peer.name} cannot be reached")

    peers = {"CT1": Destination("CT1", "CT1", "h", 1)}
    commitments = Commitments(store, FakeSpool(), FakeClock(), peers, down)
    commitments.asked("2.25.1", "CT1", ((CTImageStorage, "2.25.9"),))
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(SendError):
            commitments.run("1")
    with store.transaction() as tx:
        tx._run("DELETE FROM procrastinate_jobs")
        assert ("report_commitment", "1") in [(job.kind, job.key) for job in tx.jobs_missing()]

    commitments.run("1")

    (row,) = store.query("SELECT state, message FROM commitment_request")
    assert (row["state"], row["message"]) == ("failed", "CT1 cannot be reached")


def test_a_pacs_announces_what_it_has(tmp_path: Path) -> None:
    told: list[AvailabilityNotice] = []
    image, gone = reference(CTImageStorage, "2.25.1"), reference(CTImageStorage, "2.25.2")
    image.InstanceAvailability, image.RetrieveAETitle = "ONLINE", "PACS"
    gone.InstanceAvailability, gone.RetrieveAETitle = "UNAVAILABLE", "PACS"
    series, notice = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "2.25.20", [image, gone]
    notice.StudyInstanceUID, notice.ReferencedSeriesSequence = "2.25.10", [series]
    service = availability_notices(told.append)
    spool = Spool(tmp_path / "spool", min_free_mb=1)
    with Receiver(ReceiverSettings(port=0), spool, lambda *_: None, services=[service]) as receiver:
        entity = AE(ae_title="RIS")
        entity.add_requested_context(InstanceAvailabilityNotification)
        association = entity.associate("127.0.0.1", receiver.port, ae_title=OUR_AE)
        status, _ = association.send_n_create(notice, InstanceAvailabilityNotification, "2.25.30")
        wrong, _ = association.send_n_create(image, InstanceAvailabilityNotification, "2.25.31")
        association.release()

    assert (status.Status, wrong.Status) == (0x0000, 0x0106)
    assert told == [AvailabilityNotice("RIS", "2.25.10", {"2.25.20": 1}, frozenset({"PACS"}))]
