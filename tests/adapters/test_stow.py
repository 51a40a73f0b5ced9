"""A DICOMweb server gets the object byte for byte, says whether it took it, and is asked whether it holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from npc_contour.adapters.stow import WebSender
from npc_contour.domain.jobs import Proof, WebDestination
from npc_contour.errors import SendError
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.http_peer import Handler, http_peer
from npc_testkit.orthanc import orthanc
from npc_testkit.peers import free_port
from npc_testkit.rude_http import Act, answers, redirects, rude_http, sends_a_bomb

OBJECT = as_bytes(ct_datasets(CtPlan(slices=1))[0])
UID = str(ct_datasets(CtPlan(slices=1))[0].SOPInstanceUID)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def stored(warning: int = 0) -> dict[str, object]:
    item: dict[str, object] = {"00081155": {"vr": "UI", "Value": [UID]}}
    if warning:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return {"00081199": {"vr": "SQ", "Value": [item]}}


def failed(reason: int) -> dict[str, object]:
    item = {"00081155": {"vr": "UI", "Value": [UID]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


@contextmanager
def server(code: int, answer: object) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A server that answers every request alike; yields its URL and what it was asked: (path, token, body)."""
    asked: list[tuple[str, str, bytes]] = []

    class Archive(Handler):
        def answer(self, body: bytes) -> None:
            asked.append((self.path, self.headers.get("Authorization", ""), body))
            self.reply(code, json.dumps(answer).encode(), Content_Type="application/dicom+json")

    with http_peer(Archive) as port:
        yield f"http://127.0.0.1:{port}/dicom-web", asked


def test_orthanc_takes_the_object_and_finds_it(tmp_path: Path) -> None:
    if not PLUGIN.exists():
        pytest.skip(f"{PLUGIN} is not installed: make system-packages")
    with orthanc(tmp_path / "orthanc", options={"Plugins": [str(PLUGIN)]}) as peer:
        destination = WebDestination("archive", f"http://127.0.0.1:{peer.http_port}/dicom-web")
        sender = WebSender(20.0)
        assert sender.ask(OBJECT, destination).proof is Proof.MISSING
        receipt = sender.send(OBJECT, destination)
        again = sender.send(OBJECT, destination)
        assert sender.ask(OBJECT, destination).proof is Proof.HELD
        assert "answers" in sender.reach(destination)
        assert len(peer.instances("CT")) == 1

    assert (receipt.is_stored, again.is_stored, receipt.sop_instance_uid) == (True, True, UID)


def test_the_bytes_and_the_token_arrive(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with server(200, stored()) as (url, asked):
        receipt = WebSender(5.0).send(OBJECT, WebDestination("archive", url, token_file=str(token)))

    (path, authorization, body) = asked[0]
    assert receipt.status == 0
    assert (path, authorization) == ("/dicom-web/studies", "Bearer secret")
    assert OBJECT in body


@pytest.mark.parametrize(("code", "answer", "status"), [
    (200, failed(0xA900), 0xA900),
    (409, failed(0xC000), 0xC000),
    (202, {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}, 0x0122),
    (400, {"error": "no"}, 0xC000),
    (413, {}, 0xC000),
])  # fmt: skip
def test_a_refusal_is_a_status(code: int, answer: object, status: int) -> None:
    with server(code, answer) as (url, _):
        receipt = WebSender(5.0).send(OBJECT, WebDestination("archive", url))

    assert (receipt.status, receipt.is_stored) == (status, False)


@pytest.mark.parametrize("code", [401, 403, 500, 503])
def test_a_server_that_cannot_take_anything_is_tried_again_later(code: int) -> None:
    with server(code, {}) as (url, _), pytest.raises(SendError, match=str(code)):
        WebSender(5.0).send(OBJECT, WebDestination("archive", url))


def test_a_server_without_queries_cannot_be_asked() -> None:
    with server(501, {}) as (url, _):
        assert WebSender(5.0).ask(OBJECT, WebDestination("archive", url)).proof is Proof.NOT_OFFERED


def test_a_server_that_is_down_is_no_answer() -> None:
    with pytest.raises(SendError, match=r"archive .*cannot be reached"):
        WebSender(5.0).send(OBJECT, WebDestination("archive", f"http://127.0.0.1:{free_port()}"))


XML = f"""<?xml version="1.0"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">
<DicomAttribute tag="00081155" vr="UI"><Value number="1">{UID}</Value></DicomAttribute></Item></DicomAttribute>
</NativeDicomModel>"""


@pytest.mark.parametrize(("act", "status"), [
    (answers(200, json.dumps(stored()).encode()), 0),
    (answers(202, json.dumps(stored(0xB007)).encode()), 0xB007),
    (answers(200, json.dumps([stored()]).encode(), "application/json"), 0),
    (answers(200, XML.encode(), "application/dicom+xml"), 0),
])  # fmt: skip
def test_an_answer_that_names_the_object_is_a_receipt(act: Act, status: int) -> None:
    with rude_http(act) as (url, _):
        receipt = WebSender(5.0).send(OBJECT, WebDestination("archive", url))

    assert (receipt.status, receipt.is_stored) == (status, True)


@pytest.mark.parametrize("act", [
    answers(200), answers(204), answers(200, b"<html>please log in", "text/html"), answers(200, b"{}"),
    answers(200, b"null"), answers(200, b"[" * 200_000), answers(200, b'{"00081199": {"Value": [null, 3, {}]}}'),
    answers(200, XML.replace(UID, UID + "9").encode(), "application/dicom+xml"),
    answers(200, b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + XML.encode(), "application/dicom+xml"),
    answers(200, b"<<<", "application/dicom+xml"),
    redirects(302, "/login"), redirects(307, "/login"), sends_a_bomb,
])  # fmt: skip
def test_an_answer_that_does_not_name_the_object_is_none(act: Act) -> None:
    with rude_http(act) as (url, _), pytest.raises(SendError, match=r"archive \(http://"):
        WebSender(5.0).send(OBJECT, WebDestination("archive", url))


@pytest.mark.parametrize("text", [b"null", b"3", b"[null]", b'["x"]', b"{}", b"<html>", b"[" * 200_000])
def test_what_is_no_list_of_matches_is_no_answer(text: bytes) -> None:
    with rude_http(answers(200, text)) as (url, _):
        destination = WebDestination("archive", url)
        with pytest.raises(SendError):
            WebSender(5.0).ask(OBJECT, destination)
        with pytest.raises(SendError):
            WebSender(5.0).reach(destination)
