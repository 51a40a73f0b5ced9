"""Whatever a peer does, it is bounded in memory, threads, files and time, and others are served meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from npc_contour.adapters.dicom.receive.acceptor import Acceptor, Arrival, Listener
from npc_contour.adapters.dicom.receive.access import PeerLimits
from npc_contour.adapters.dicom.receive.scp import Deadlines, Receiver, ReceiverSettings
from npc_contour.adapters.dicom.spool.files import Spool
from npc_testkit.attacks import ATTACKS, Battlefield, echo_command
from npc_testkit.raw_dicom import RawAssociation, associate_rq

AET = "NPC_CONTOUR"
VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
DEADLINES = Deadlines(associate_s=1.0, silence_s=1.0, message_s=3.0)
ATTACK_S = 1.5
MOST_MB = 120


def echo(port: int) -> int | None:
    with RawAssociation(port, VERIFICATION, [IMPLICIT], called=AET, timeout_s=20.0) as association:
        association.socket.sendall(echo_command())
        status = association.read_status()
        association.release()
    return status


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_takes_little_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    settings = ReceiverSettings(
        port=0, deadlines=DEADLINES, stop_grace_s=0.2, max_associations=20, limits=PeerLimits(associations=12)
    )
    root = tmp_path / "spool"
    threads, memory = threading.active_count(), psutil.Process().memory_info().rss
    with Receiver(settings, Spool(root, min_free_mb=1), lambda *_: None) as receiver:
        field = Battlefield(receiver.port, AET, until=time.monotonic() + ATTACK_S, most_mb=MOST_MB)
        attacker = threading.Thread(target=ATTACKS[name], args=(field,))
        attacker.start()
        try:
            while attacker.is_alive():
                assert echo(receiver.port) == 0
                assert threading.active_count() <= threads + 2 * 20 + 3
                time.sleep(0.05)
            assert echo(receiver.port) == 0
            attacker.join()
            # Each of its connections is gone once its time is over, whatever it holds back.
            assert field.closed(wait_s=20.0) == len(field.sockets)
            assert echo(receiver.port) == 0
        finally:
            attacker.join()
            field.leave()

    assert psutil.Process().memory_info().rss - memory < 64 * 2**20
    assert list((root / "incoming").iterdir()) == []
    assert threading.active_count() <= threads + 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_door_that_died_says_so() -> None:
    def broken(arrival: Arrival) -> None:
        arrival.connection.close()
        raise RuntimeError("nobody expected this")

    listener = socket.create_server(("127.0.0.1", 0))
    acceptor = Acceptor([Listener(listener)], 5.0, broken)
    acceptor.start()
    seen = [acceptor.is_open]
    field = Battlefield(listener.getsockname()[1], AET, until=time.monotonic() + 5)
    field.send(field.connect(), associate_rq(VERIFICATION, [IMPLICIT], called=AET))
    deadline = time.monotonic() + 10
    while seen[-1] and time.monotonic() < deadline:
        time.sleep(0.01)
        seen.append(acceptor.is_open)
    acceptor.stop()
    field.leave()

    assert (seen[0], seen[-1]) == (True, False)


def test_a_health_check_is_no_association_and_no_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver(ReceiverSettings(port=0), Spool(tmp_path, min_free_mb=1), lambda *_: None) as receiver:
        field = Battlefield(receiver.port, AET, until=time.monotonic() + 5)
        for _ in range(20):
            field.connect().close()
        assert echo(receiver.port) == 0
        assert receiver.open_associations <= 1

    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
