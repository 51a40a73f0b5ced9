"""A PACS that we ask costs bounded memory and time, whatever it sends, and is told apart from one that is down."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from npc_contour.adapters.dicom.association.bounds import Bounds
from npc_contour.adapters.dicom.pacs.query import FIND_MODELS, find
from npc_contour.adapters.dicom.pacs.retrieve import GET_MODELS, get, storage_contexts
from npc_contour.adapters.dicom.receive import negotiation
from npc_contour.domain.queries import ArchiveNode, Query, QueryLevel, Wanted
from npc_contour.errors import ArchiveError
from npc_testkit.archives import OUR_AE
from npc_testkit.ct_series import CtPlan, ct_datasets
from npc_testkit.raw_dicom import STORE_RQ, command_set, p_data

STUDY = str(ct_datasets(CtPlan(slices=1))[0].StudyInstanceUID)
SMALL = Bounds(message_bytes=2**20, objects=5, whole_s=5.0)


def node_at(port: int) -> ArchiveNode:
    return ArchiveNode(name="pacs", ae_title="PACS", host="127.0.0.1", port=port)


@contextmanager
def hostile(act: Callable[[socket.socket], None]) -> Iterator[int]:
    """A PACS that accepts an association, reads what is asked first, and then does as it likes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            head = peer.recv(6, socket.MSG_WAITALL)
            request = head + peer.recv(struct.unpack(">L", head[2:])[0], socket.MSG_WAITALL)
            supported = [*storage_contexts(), *map(build_context, (*GET_MODELS.values(), *FIND_MODELS.values()))]
            peer.sendall(negotiation.agree(negotiation.read_request(request), supported, "2.25.1", "HOSTILE").pdu)
            peer.recv(65536)
            act(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(10)


def a_pdu_of_4_gib(peer: socket.socket) -> None:
    peer.sendall(struct.pack(">BBL", 4, 0, 0xFFFFFFFF))
    while True:
        peer.sendall(bytes(65536))


def a_message_without_end(peer: socket.socket) -> None:
    peer.sendall(p_data(command_set(STORE_RQ, CTImageStorage.encode(), 0, instance=b"1.2.3"), is_command=True))
    while True:
        peer.sendall(p_data(bytes(60000), is_command=False, is_last=False))


def drips(peer: socket.socket) -> None:
    peer.sendall(struct.pack(">BBL", 4, 0, 1000))
    while True:
        peer.sendall(b"\0")
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (a_pdu_of_4_gib, "sent a PDU of 4294967295 bytes"),
        (a_message_without_end, "sent a message beyond 1048576 bytes"),
        (drips, "sent no whole PDU within 1 s"),
    ],
)
def test_what_has_no_end_is_ended(act: Callable[[socket.socket], None], words: str) -> None:
    before = psutil.Process().memory_info().rss
    with hostile(act) as port, pytest.raises(ArchiveError, match=words):
        get(node_at(port), Wanted(study_instance_uid=STUDY), OUR_AE, 1.0, lambda _: None, bounds=SMALL)

    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_c_find_is_bounded_as_well() -> None:
    with hostile(a_pdu_of_4_gib) as port, pytest.raises(ArchiveError, match="sent a PDU of 4294967295 bytes"):
        find(node_at(port), Query(level=QueryLevel.STUDY), OUR_AE, 1.0)


@contextmanager
def pacs(handlers: list[evt.EventHandlerType]) -> Iterator[int]:
    entity = AE("PACS")
    for model in (*GET_MODELS.values(), *FIND_MODELS.values()):
        entity.add_supported_context(model)
    entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def test_more_images_than_one_retrieval_may_bring_end_it() -> None:
    files: list[bytes] = []

    def many(_: evt.Event) -> Iterator[object]:
        yield 12
        for dataset in ct_datasets(CtPlan(slices=12)):
            yield 0xFF00, dataset

    with pacs([(evt.EVT_C_GET, many)]) as port, pytest.raises(ArchiveError, match="sent more than 5 images"):
        get(node_at(port), Wanted(study_instance_uid=STUDY), OUR_AE, 5.0, files.append, bounds=SMALL)

    assert len(files) == 5


def test_answers_that_nobody_asked_for_end_a_query() -> None:
    ended = threading.Event()

    def endless(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        answer = Dataset()
        answer.QueryRetrieveLevel, answer.StudyInstanceUID, answer.PatientID = "STUDY", "1.2.3", "SOMEBODY ELSE"
        try:
            while not event.is_cancelled:
                yield 0xFF00, answer
            yield 0xFE00, None
        finally:
            ended.set()

    with pacs([(evt.EVT_C_FIND, endless)]) as port:
        with pytest.raises(ArchiveError, match="more than 10 matches"):
            find(node_at(port), Query(level=QueryLevel.STUDY, patient_id="MINE"), OUR_AE, 5.0, max_matches=10)
        assert ended.wait(30.0)


def test_an_association_ends_after_its_time_however_busy_it_is() -> None:
    def slowly(_: evt.Event) -> Iterator[object]:
        yield 1000
        for dataset in ct_datasets(CtPlan(slices=40)):
            time.sleep(0.1)
            yield 0xFF00, dataset

    short = Bounds(whole_s=1.0)
    with (
        pacs([(evt.EVT_C_GET, slowly)]) as port,
        pytest.raises(ArchiveError, match="kept the association busy for more than 1 s"),
    ):
        get(node_at(port), Wanted(study_instance_uid=STUDY), OUR_AE, 5.0, lambda _: None, bounds=short)
