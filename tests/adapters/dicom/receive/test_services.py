"""A service handed to the receiver is negotiated and served; what goes wrong in it is its answer, no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.association.command import Element, Field
from npc_contour.adapters.dicom.receive.access import PeerLimits
from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.receive.services import Answer, Message, Service, Services
from npc_contour.adapters.dicom.spool.files import Spool
from npc_testkit.attacks import echo_command
from npc_testkit.peers import run_tool
from npc_testkit.raw_dicom import NO_DATA_SET, RawAssociation, Rejected, command_set, p_data

AET = "NPC_CONTOUR"
MODEL = str(StorageCommitmentPushModel)
IMPLICIT = "1.2.840.10008.1.2"
N_ACTION = p_data(command_set(Field.N_ACTION, MODEL.encode(), NO_DATA_SET), is_command=True)
N_GET = p_data(command_set(Field.N_GET, MODEL.encode(), NO_DATA_SET), is_command=True)


@contextmanager
def door(tmp_path: Path, *services: Service, **changes: object) -> Iterator[Receiver]:
    settings = ReceiverSettings(**{"port": 0, "stop_grace_s": 0.2, **changes})  # type: ignore[arg-type]
    with Receiver(settings, Spool(tmp_path, min_free_mb=1), lambda *_: None, services=services) as receiver:
        yield receiver


def ask(receiver: Receiver, *requests: bytes) -> list[int | None]:
    with RawAssociation(receiver.port, MODEL, [IMPLICIT], called=AET) as association:
        answers = []
        for request in requests:
            association.socket.sendall(request)
            answers.append(association.read_status())
        association.release()
    return answers


def test_a_request_goes_to_its_operation_and_another_is_answered_unrecognised(tmp_path: Path) -> None:
    seen: list[Message] = []

    def act(message: Message) -> Answer:
        seen.append(message)
        return Answer(0x0000)

    with door(tmp_path, Service(sop_class=MODEL, operations={Field.N_ACTION: act})) as receiver:
        assert ask(receiver, N_ACTION, N_GET, N_ACTION) == [0x0000, 0x0211, 0x0000]

    assert [message.association.calling_ae_title for message in seen] == ["TESTSCU"] * 2
    assert seen[0].context.transfer_syntax == IMPLICIT
    assert seen[0].data_set is None


def test_an_operation_that_fails_is_answered_and_the_association_goes_on(tmp_path: Path) -> None:
    calls: list[Message] = []

    def act(message: Message) -> Answer:
        calls.append(message)
        if len(calls) == 1:
            raise RuntimeError("broken")
        return Answer(0x0112, comment="no such object")

    with door(tmp_path, Service(sop_class=MODEL, operations={Field.N_ACTION: act})) as receiver:
        assert ask(receiver, N_ACTION, N_ACTION) == [0x0110, 0x0112]


def test_what_follows_an_answer_is_called_after_it(tmp_path: Path) -> None:
    done: list[str] = []
    service = Service(
        sop_class=MODEL, operations={Field.N_ACTION: lambda _: Answer(0, after=lambda: done.append("after"))}
    )
    with door(tmp_path, service) as receiver:
        assert ask(receiver, N_ACTION) == [0]

    assert done == ["after"]


def test_a_peer_may_be_scp_and_report_to_us_where_the_service_says_so(tmp_path: Path) -> None:
    reports: list[tuple[int, bytes | None]] = []

    def hear(message: Message) -> Answer:
        reports.append((message.command.number(Element.EVENT_TYPE_ID), message.data_set))
        return Answer(0x0000)

    acting = Service(sop_class=MODEL, operations={Field.N_ACTION: lambda _: Answer(0)})
    hearing = Service(sop_class=MODEL, operations={Field.N_EVENT_REPORT: hear}, requestor_may_be_scp=True)
    with door(tmp_path, acting, hearing) as receiver:
        entity = AE(ae_title="PACS")
        entity.add_requested_context(MODEL, IMPLICIT)
        role = build_role(MODEL, scp_role=True)
        handlers: list[evt.EventHandlerType] = []
        association = entity.associate("127.0.0.1", receiver.port, ae_title=AET, ext_neg=[role], evt_handlers=handlers)
        assert association.is_established
        assert association.accepted_contexts[0].as_scp
        association.release()
        association.join(5)
        event = command_set(Field.N_EVENT_REPORT, MODEL.encode(), NO_DATA_SET)
        assert ask(receiver, p_data(event, is_command=True)) == [0x0000]

    assert reports == [(0, None)]


def test_two_services_may_not_answer_the_same_request() -> None:
    service = Service(sop_class=MODEL, operations={Field.N_ACTION: lambda _: Answer(0)})

    with pytest.raises(ValueError, match="answer the same requests"):
        Services([service, service])


def test_one_address_cannot_take_all_associations(tmp_path: Path) -> None:
    with (
        door(tmp_path, limits=PeerLimits(associations=1), max_associations=5) as receiver,
        RawAssociation(receiver.port, "1.2.840.10008.1.1", [IMPLICIT], called=AET),
    ):
        with pytest.raises(Rejected):
            RawAssociation(receiver.port, "1.2.840.10008.1.1", [IMPLICIT], called=AET)
        assert receiver.open_associations == 1


def test_a_peer_that_asks_too_often_is_rejected_for_now(tmp_path: Path) -> None:
    with door(tmp_path, limits=PeerLimits(associations_per_minute=2)) as receiver:
        for _ in range(2):
            assert run_tool("echoscu", "-aec", AET, "127.0.0.1", str(receiver.port)).returncode == 0
        third = run_tool("echoscu", "-aec", AET, "127.0.0.1", str(receiver.port))

    assert third.returncode != 0
    assert "Rejected Transient" in third.stderr


def test_several_receivers_share_one_port(tmp_path: Path) -> None:
    with (
        door(tmp_path, shared_port=True) as one,
        door(tmp_path, shared_port=True, port=one.port) as two,
    ):
        assert one.port == two.port
        for _ in range(10):
            with RawAssociation(one.port, "1.2.840.10008.1.1", [IMPLICIT], called=AET) as association:
                association.socket.sendall(echo_command())
                assert association.read_status() == 0
                association.release()
