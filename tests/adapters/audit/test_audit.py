"""What the service does with images is told to the audit trail as PS3.15 A.5 asks, and never with a patient's name."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from npc_contour.adapters.audit.syslog import SyslogSender, SyslogTarget
from npc_contour.adapters.audit.trail import AuditTrail
from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.send.scu import send_series
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.domain.jobs import Destination
from npc_contour.domain.received import AssociationRow
from npc_contour.errors import SendError, SettingsError
from npc_contour.logs import Event, JsonFormatter
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets, write_series
from npc_testkit.peers import require_tool

STUDY = str(ct_datasets(CtPlan())[0].StudyInstanceUID)


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditTrail]:
    """A trail that hears the service's own loggers and writes a file."""
    handler = AuditTrail("NPC_CONTOUR", tmp_path / "audit.log", None)
    loggers = logging.getLogger("npc_contour")
    before = loggers.level
    loggers.addHandler(handler)
    loggers.setLevel(logging.INFO)
    yield handler
    loggers.removeHandler(handler)
    loggers.setLevel(before)
    handler.close()


def messages(tmp_path: Path) -> list[ET.Element]:
    return [ET.fromstring(line) for line in (tmp_path / "audit.log").read_bytes().splitlines()]  # noqa: S314 (ours)


def code(message: ET.Element, path: str) -> str:
    found = message.find(path)
    assert found is not None, path
    return found.attrib["csd-code"]


def objects(message: ET.Element) -> dict[str, str]:
    """Participant objects: type code role → ID."""
    return {
        one.attrib["ParticipantObjectTypeCodeRole"]: one.attrib["ParticipantObjectID"]
        for one in message.findall("ParticipantObjectIdentification")
    }


def test_images_received_are_one_message_with_study_classes_and_patient_id(trail: AuditTrail, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", ct_datasets(CtPlan(slices=3)))
    with Receiver(ReceiverSettings(port=0), Spool(tmp_path / "spool", min_free_mb=1), lambda *_: None) as receiver:
        send_series(tmp_path / "ct", Destination("d", "NPC_CONTOUR", "127.0.0.1", receiver.port), "CT1", 5.0)

    (message,) = messages(tmp_path)
    assert code(message, "EventIdentification/EventID") == "110104"
    assert message.find("EventIdentification").attrib["EventOutcomeIndicator"] == "0"  # type: ignore[union-attr]
    users = [one.attrib["UserID"] for one in message.findall("ActiveParticipant")]
    assert users == ["CT1", "NPC_CONTOUR"]
    assert objects(message) == {"3": STUDY, "1": "TK0001"}
    counts = [one.attrib for one in message.iter("SOPClass")]
    assert counts == [{"UID": "1.2.840.10008.5.1.4.1.1.2", "NumberOfInstances": "3"}]
    assert "Nobody" not in (tmp_path / "audit.log").read_text()
    assert trail.level == logging.INFO


def test_files_that_are_fetched_or_posted_are_told_like_images_received(trail: AuditTrail, tmp_path: Path) -> None:
    keeper = FileKeeper(Spool(tmp_path / "spool", min_free_mb=1), lambda *_: None, lambda *_: None)
    keeper.keep(as_bytes(ct_datasets(CtPlan())[0]), AssociationRow("a1", "stow", "STOW-RS", "NPC_CONTOUR", "10.0.0.3"))
    logging.getLogger("npc_contour.any").info(
        Event.ASSOCIATION_ENDED, extra={"association_id": "a1", "calling_ae_title": "STOW-RS", "peer": "10.0.0.3"}
    )

    (message,) = messages(tmp_path)
    assert [one.attrib["UserID"] for one in message.findall("ActiveParticipant")] == ["STOW-RS", "NPC_CONTOUR"]
    assert objects(message) == {"3": STUDY, "1": "TK0001"}
    assert trail.level == logging.INFO


def test_a_stranger_is_a_security_alert(trail: AuditTrail, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", ct_datasets(CtPlan(slices=1)))
    with Receiver(ReceiverSettings(port=0), Spool(tmp_path / "spool", min_free_mb=1), lambda *_: None) as receiver:
        peer = Destination("d", "SOMEBODY_ELSE", "127.0.0.1", receiver.port)
        with pytest.raises(SendError):
            send_series(tmp_path / "ct", peer, "EVIL<&>", 5.0)

    (message,) = messages(tmp_path)
    assert code(message, "EventIdentification/EventID") == "110113"
    assert code(message, "EventIdentification/EventTypeCode") == "110126"
    assert message.find("EventIdentification").attrib["EventOutcomeIndicator"] == "8"  # type: ignore[union-attr]
    assert objects(message)["13"].startswith("dicom://127.0.0.1")
    assert trail.level == logging.INFO


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        (Event.SERVICE_STARTED, {}, ("110100", "110120")),
        (Event.SERVICE_STOPPING, {}, ("110100", "110121")),
        (Event.CASE_SEGMENTED, {"study_instance_uid": STUDY}, ("110103", "")),
        (Event.STRUCTURE_SET_WRITTEN, {"study_instance_uid": STUDY}, ("110103", "")),
        (Event.CASE_RELEASED, {"study_instance_uid": STUDY, "by": "Ann"}, ("110103", "")),
        (Event.DELIVERY_SENT, {"study_instance_uid": STUDY, "destination": "tps"}, ("110104", "")),
    ],
)
def test_other_events(
    trail: AuditTrail, tmp_path: Path, event: Event, fields: dict[str, str], expected: tuple[str, str]
) -> None:
    logging.getLogger("npc_contour.any").info(event, extra=fields)

    (message,) = messages(tmp_path)
    kind = message.find("EventIdentification/EventTypeCode")
    found = (code(message, "EventIdentification/EventID"), kind.attrib["csd-code"] if kind is not None else "")
    assert found == expected
    assert objects(message) == ({"3": STUDY} if fields else {})
    order = [child.tag for child in message]
    assert order[:2] == ["EventIdentification", "ActiveParticipant"]
    assert "AuditSourceIdentification" in order
    assert trail.level == logging.INFO


def test_a_release_names_the_person_and_the_findings(trail: AuditTrail, tmp_path: Path) -> None:
    told = {"study_instance_uid": STUDY, "by": "Ann", "detail": "a child", "findings": ["side", "volume"]}
    logging.getLogger("npc_contour.any").info(Event.CASE_RELEASED, extra=told)

    (message,) = messages(tmp_path)
    (study,) = message.findall("ParticipantObjectIdentification")
    details = {
        one.attrib["type"]: b64decode(one.attrib["value"]).decode() for one in study.iter("ParticipantObjectDetail")
    }
    assert message.find("EventIdentification").attrib["EventActionCode"] == "U"  # type: ignore[union-attr]
    assert message.find("ActiveParticipant").attrib["UserID"] == "Ann"  # type: ignore[union-attr]
    assert details == {"findings": "side,volume", "detail": "a child"}
    assert trail.level == logging.INFO


def test_the_log_never_shows_what_is_for_the_trail_alone() -> None:
    record = logging.makeLogRecord({"msg": Event.INSTANCE_STORED, "audit_patient_id": "TK0001", "peer": "h"})

    line = json.loads(JsonFormatter().format(record))

    assert "audit_patient_id" not in line
    assert line["peer"] == "h"


def test_the_audit_file_and_the_spool_are_closed_to_others(trail: AuditTrail, tmp_path: Path) -> None:
    logging.getLogger("npc_contour.any").info(Event.SERVICE_STARTED)
    (tmp_path / "spool").mkdir(mode=0o755)
    Spool(tmp_path / "spool", min_free_mb=1)

    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert trail.level == logging.INFO


def say(target: SyslogTarget, *events: Event) -> None:
    sender = SyslogSender(target)
    sender.start()
    handler = AuditTrail("NPC_CONTOUR", None, sender)
    for event in events:
        handler.handle(logging.makeLogRecord({"msg": event, "levelno": logging.INFO}))
    handler.close()


def test_udp_is_one_datagram_a_message() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        say(SyslogTarget("udp", "127.0.0.1", server.getsockname()[1]), Event.SERVICE_STARTED)
        datagram = server.recv(65536)

    head, _, xml = datagram.partition(b"\xef\xbb\xbf")
    assert head.startswith(b"<85>1 20")
    assert head.split()[3:6:2] == [b"npc-contour", b"DICOM+RFC3881"]
    assert ET.fromstring(xml).tag == "AuditMessage"  # noqa: S314 (ours)


def frames(data: bytes) -> list[bytes]:
    """Messages by octet counting (RFC 5425 4.3)."""
    found = []
    while data:
        count, _, data = data.partition(b" ")
        found.append(data[: int(count)])
        data = data[int(count) :]
    return found


def listen(context: ssl.SSLContext | None) -> tuple[int, list[bytes], threading.Thread]:
    server = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []

    def take() -> None:
        connection, _ = server.accept()
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            while data := connection.recv(65536):
                received.append(data)
        server.close()

    thread = threading.Thread(target=take)
    thread.start()
    return int(server.getsockname()[1]), received, thread


def test_tcp_counts_octets() -> None:
    port, received, thread = listen(None)
    say(SyslogTarget("tcp", "127.0.0.1", port), Event.SERVICE_STARTED, Event.SERVICE_STOPPING)
    thread.join(10)

    assert [b"110120" in frame for frame in frames(b"".join(received))] == [True, False]


def test_tls_checks_the_server(tmp_path: Path) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    subprocess.run(
        [require_tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port, received, thread = listen(context)
    say(SyslogTarget("tls", "localhost", port, trusted=certificate), Event.SERVICE_STARTED)
    thread.join(10)

    (frame,) = frames(b"".join(received))
    assert b"Application Start" in frame


@pytest.mark.parametrize("url", ["http://host", "tls://", "audit.hospital"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"audit\.syslog"):
        SyslogTarget.parse(url, trusted=None, certificate=None, key=None)


def test_a_server_that_is_down_costs_nothing_but_the_oldest() -> None:
    sender = SyslogSender(SyslogTarget("tcp", "127.0.0.1", 1))
    for _ in range(10_003):
        sender.send(b"frame")

    assert sender.lost == 3
