"""A PACS over DICOMweb is believed only what it says in full: a part of a series is no series, a login page no list."""

from __future__ import annotations

import json

import pytest

from npc_contour.adapters.dicomweb import WebArchive
from npc_contour.domain.queries import ArchiveNode, Query, QueryLevel, Wanted
from npc_contour.errors import ArchiveError
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.http_peer import Handler
from npc_testkit.rude_http import Act, answers, drips_body, redirects, rude_http, sends_a_bomb

SLICES = ct_datasets(CtPlan(slices=3))
FILES = [as_bytes(one) for one in SLICES]
STUDY, SERIES = str(SLICES[0].StudyInstanceUID), str(SLICES[0].SeriesInstanceUID)
KIND = 'multipart/related; type="application/dicom"; boundary=b1'


def parts(files: list[bytes], *, end: bool = True) -> bytes:
    body = b"".join(b"--b1\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in files)
    return body + (b"--b1--\r\n" if end else b"")


def archive(url: str, timeout_s: float = 5.0) -> WebArchive:
    return WebArchive(ArchiveNode(name="pacs", ae_title="PACS", host="h", port=1, web_url=url), timeout_s)


def fetched(act: Act) -> list[bytes]:
    kept: list[bytes] = []
    with rude_http(act) as (url, _):
        result = archive(url).retrieve(Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES), kept.append)
    assert result.completed == len(kept)
    return kept


def test_every_file_comes_byte_for_byte() -> None:
    assert fetched(answers(200, parts(FILES), KIND)) == FILES
    assert fetched(answers(200, b"\r\n" + parts(FILES), KIND)) == FILES
    assert fetched(answers(204)) == []


def _cut(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: " + KIND.encode() + b"\r\n\r\n" + parts(FILES, end=False))
    handler.close_connection = True


def _short(handler: Handler) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nContent-Type: {KIND}\r\n\r\n"
    handler.wfile.write(head.encode() + parts(FILES[:1]))
    handler.close_connection = True


@pytest.mark.parametrize(("act", "words"), [
    (answers(206, parts(FILES), KIND), "206 Partial Content: that is not all of it"),
    (_cut, "no closing delimiter"),
    (_short, "the connection failed"),
    (answers(200, b"<html>", "text/html"), "text/html, expected multipart/related"),
    (answers(200, b"rubbish", KIND), "something else"),
    (answers(500), "HTTP 500"),
    (redirects(302, "/login"), "text/html"),
    (redirects(302, "http://127.0.0.1:1/"), "which is not followed"),
])  # fmt: skip
def test_a_part_of_a_series_is_an_error_that_says_so(act: Act, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        fetched(act)


@pytest.mark.parametrize("text", [b"null", b"3", b"[null]", b'["x"]', b"{}", b"[" * 200_000, b"<html>"])
def test_what_is_no_list_of_matches_is_an_error(text: bytes) -> None:
    with rude_http(answers(200, text)) as (url, _), pytest.raises(ArchiveError, match=r"pacs \(http://"):
        archive(url).find(Query(level=QueryLevel.STUDY))


@pytest.mark.parametrize("act", [drips_body, sends_a_bomb])
def test_a_query_ends(act: Act) -> None:
    with rude_http(act) as (url, _), pytest.raises(ArchiveError):
        archive(url, 0.05).find(Query(level=QueryLevel.STUDY))


def test_one_unusable_match_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def match(uid: object) -> dict[str, object]:
        patient = {"00100020": {"vr": "LO", "Value": ["TK\x000001"]}, "00201209": {"vr": "IS", "Value": [99999999999]}}
        return {"0020000E": {"vr": "UI", "Value": [uid]}, **patient}

    answer = [match("1.2.840.ABC"), match(""), match(None), match("1." + "2" * 99), match("../x"), match("1.2.3"), {}]
    with rude_http(answers(200, json.dumps(answer).encode())) as (url, _):
        (found,) = archive(url).find(Query(level=QueryLevel.SERIES, study_instance_uid=STUDY))

    assert (found.series_instance_uid, found.study_instance_uid) == ("1.2.3", STUDY)
    assert (found.patient_id, found.instances) == ("TK0001", None)
    dropped = [record for record in caplog.records if record.getMessage() == "pull.match_dropped"]
    assert len(dropped) == 6
    assert not any("0001" in str(vars(record)) for record in dropped)
