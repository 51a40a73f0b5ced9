"""Proof that a destination holds an object comes from the destination itself: by commitment, or because it finds it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context, build_role
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.receive.commitment import CommitmentReport, commitment_reports, is_from, read_report
from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.receive.services import AssociationInfo
from npc_contour.adapters.dicom.send.scu import DicomSender
from npc_contour.adapters.dicom.send.verification import DicomVerifier
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.domain.jobs import Destination, Proof, WebDestination
from npc_contour.errors import SendError
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.orthanc import orthanc
from npc_testkit.peers import free_port, storescp

TRANSACTION = "2.25.77"
OBJECT = as_bytes(ct_datasets(CtPlan(slices=1))[0])
UID = str(ct_datasets(CtPlan(slices=1))[0].SOPInstanceUID)
VERIFIER = DicomVerifier("NPC_CONTOUR", 5.0, commitment_wait_s=0.5)


def node(port: int, ae_title: str = "TPS") -> Destination:
    return Destination("tps", ae_title, "127.0.0.1", port)


def report(*, held: bool, reason: int = 0x0112, transaction: str = TRANSACTION) -> Dataset:
    item, information = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, UID
    information.TransactionUID = transaction
    if held:
        information.ReferencedSOPSequence = [item]
    else:
        item.FailureReason = reason
        information.FailedSOPSequence = [item]
    return information


@contextmanager
def committing(answer: Callable[[evt.Event], None], status: int = 0x0000) -> Iterator[int]:
    """A node that takes storage commitment requests and does `answer` after each, in a thread of its own."""
    entity = AE(ae_title="TPS")
    entity.add_supported_context(Verification)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    threads: list[threading.Thread] = []

    def on_action(event: evt.Event) -> tuple[int, None]:
        assert event.action_information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == UID
        threads.append(threading.Thread(target=answer, args=(event,)))
        threads[-1].start()
        return status, None

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, on_action)])
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        for thread in threads:
            thread.join(10)
        server.shutdown()
        server.server_close()


def over_the_same_association(information: Dataset) -> Callable[[evt.Event], None]:
    def report_now(event: evt.Event) -> None:
        threading.Event().wait(0.1)
        kind = 1 if "ReferencedSOPSequence" in information else 2
        event.assoc.send_n_event_report(
            information, kind, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
        )  # fmt: skip

    return report_now


def test_a_report_over_our_own_association_is_proof() -> None:
    with committing(over_the_same_association(report(held=True))) as port:
        evidence = VERIFIER.ask(OBJECT, node(port), TRANSACTION)

    assert (evidence.proof, evidence.by) == (Proof.HELD, "storage commitment")


@pytest.mark.parametrize(("reason", "proof"), [(0x0112, Proof.MISSING), (0x0110, Proof.PENDING)])
def test_a_refusal_says_whether_the_object_is_missing(reason: int, proof: Proof) -> None:
    with committing(over_the_same_association(report(held=False, reason=reason))) as port:
        assert VERIFIER.ask(OBJECT, node(port), TRANSACTION).proof is proof


def test_a_report_about_another_transaction_is_no_proof() -> None:
    with committing(over_the_same_association(report(held=True, transaction="2.25.78"))) as port:
        assert VERIFIER.ask(OBJECT, node(port), TRANSACTION).proof is Proof.PENDING


def check_who_reports(ae_title: str, peer: AssociationInfo) -> None:
    """A report of this machine under this AE title is of a destination with both, and of no other."""
    assert is_from(Destination("tps", ae_title, "localhost", 1), peer)
    assert is_from(Destination("tps", ae_title, "10.0.0.9", 1, report_networks=(ip_network("127.0.0.0/8"),)), peer)
    assert not is_from(Destination("tps", "OTHER", "127.0.0.1", 1), peer)
    assert not is_from(Destination("tps", ae_title, "10.0.0.9", 1), peer)
    assert not is_from(Destination("tps", ae_title, "no-such.invalid", 1), peer)
    assert not is_from(WebDestination("tps", "http://127.0.0.1/"), peer)


def test_a_report_over_an_association_of_the_peers_reaches_our_receiver(tmp_path: Path) -> None:
    reports: list[CommitmentReport] = []

    def note(given: CommitmentReport, peer: AssociationInfo) -> bool:
        reports.append(given)
        check_who_reports("TPS", peer)
        return given.transaction_uid == TRANSACTION

    statuses: list[int] = []
    receiver = Receiver(
        ReceiverSettings(port=0), Spool(tmp_path, min_free_mb=0), lambda *_: None, services=[commitment_reports(note)]
    )  # fmt: skip
    with receiver:

        def call_back(event: evt.Event) -> None:
            assert event.assoc.is_established
            for transaction in (TRANSACTION, "2.25.99"):
                entity = AE(ae_title="TPS")
                association = entity.associate(
                    "127.0.0.1",
                    receiver.port,
                    [build_context(StorageCommitmentPushModel)],
                    ae_title="NPC_CONTOUR",
                    ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
                )
                assert association.is_established
                answer, _ = association.send_n_event_report(
                    report(held=True, transaction=transaction),
                    1,
                    StorageCommitmentPushModel,
                    "1.2.840.10008.1.20.1.1",
                )
                statuses.append(int(answer.Status))
                association.release()

        with committing(call_back) as port:
            assert VERIFIER.ask(OBJECT, node(port), TRANSACTION).proof is Proof.PENDING

    assert [(one.transaction_uid, one.held) for one in reports] == [(TRANSACTION, (UID,)), ("2.25.99", (UID,))]
    assert statuses == [0x0000, 0x0114]


def test_a_damaged_report_is_refused() -> None:
    with pytest.raises(ValueError, match="no Transaction UID"):
        read_report(Dataset())


def test_orthanc_finds_what_it_took_and_nothing_else(tmp_path: Path) -> None:
    other = another_object()
    with orthanc(tmp_path / "orthanc", options={"DicomAlwaysAllowFind": True}) as peer:
        destination = node(peer.dicom_port, peer.ae_title)
        DicomSender("NPC_CONTOUR", 10.0).send(OBJECT, destination)
        held = VERIFIER.ask(OBJECT, destination, TRANSACTION)
        missing = VERIFIER.ask(other, destination, "2.25.78")

    assert (held.proof, held.by) == (Proof.HELD, "C-FIND")
    assert missing.proof is Proof.MISSING


def test_a_node_that_aborts_when_asked_is_not_down(tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc") as peer:
        destination = node(peer.dicom_port, peer.ae_title)
        DicomSender("NPC_CONTOUR", 10.0).send(OBJECT, destination)
        evidence = VERIFIER.ask(OBJECT, destination, TRANSACTION)

    assert evidence.proof is Proof.PENDING
    assert "aborted the association" in evidence.detail


def test_orthanc_commits_itself_over_an_association_of_its_own(tmp_path: Path) -> None:
    done = threading.Event()
    reports: list[CommitmentReport] = []

    def note(given: CommitmentReport, peer: AssociationInfo) -> bool:
        reports.append(given)
        check_who_reports("ORTHANC", peer)
        done.set()
        return True

    receiver = Receiver(
        ReceiverSettings(port=free_port()), Spool(tmp_path / "spool", min_free_mb=0), lambda *_: None,
        services=[commitment_reports(note)],
    )  # fmt: skip
    with (
        receiver,
        orthanc(
            tmp_path / "orthanc", options={"DicomModalities": {"npc": ["NPC_CONTOUR", "127.0.0.1", receiver.port]}}
        ) as peer,
    ):
        destination = node(peer.dicom_port, peer.ae_title)
        DicomSender("NPC_CONTOUR", 10.0).send(OBJECT, destination)
        evidence = VERIFIER.ask(OBJECT, destination, TRANSACTION)
        assert done.wait(20)

    assert evidence.proof is Proof.HELD
    assert [(one.transaction_uid, one.held) for one in reports] == [(TRANSACTION, (UID,))]


def test_dcmtk_storescp_can_not_be_asked(tmp_path: Path) -> None:
    with storescp(tmp_path / "tps") as port:
        evidence = VERIFIER.ask(OBJECT, node(port), TRANSACTION)

    assert evidence.proof is Proof.NOT_OFFERED
    assert "neither storage commitment nor C-FIND" in evidence.detail


def test_a_node_that_is_down_is_no_answer() -> None:
    with pytest.raises(SendError, match="cannot be reached"):
        VERIFIER.ask(OBJECT, node(free_port()), TRANSACTION)


def another_object() -> bytes:
    dataset = ct_datasets(CtPlan(slices=1))[0]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return as_bytes(dataset)
