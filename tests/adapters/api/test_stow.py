"""An image posted by STOW-RS is durable before it is answered, and one that is not kept is named with its reason."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import pytest
from dicomweb_client.web import DICOMwebClient
from fastapi import FastAPI

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.api.stow import MAX_INSTANCE_BYTES, Stow, stow_routes
from npc_contour.adapters.api.uploads import UploadLimits, UploadRefusedError, Uploads
from npc_contour.adapters.dicom.read.headers import split_file
from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import StoreError
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets

SERIES = ct_datasets(CtPlan(slices=3))
STUDY = str(SERIES[0].StudyInstanceUID)
SMALL = UploadLimits(most=4, most_of_sender=3, held_bytes_of_sender=96 * 2**20)
RELATED = 'multipart/related; type="application/dicom"; boundary=cut'


@dataclass
class Desk:
    """A running endpoint and what it told."""

    root: Path
    rows: list[InstanceHeader] = field(default_factory=list)
    ended: list[Ending] = field(default_factory=list)
    down: bool = False
    full: bool = False
    url: str = ""
    spool: Spool = field(init=False)

    def new_file(self) -> IO[bytes]:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.spool.temporary_file()

    def note(self, header: InstanceHeader, key: str, _: AssociationRow) -> None:
        assert (self.root / key).is_file(), "the file must be there before its row"
        if self.down:
            raise StoreError("database: connection refused")
        self.rows.append(header)

    def post(self, body: bytes, content_type: str = RELATED, path: str = "") -> httpx.Response:
        return httpx.post(f"{self.url}/studies{path}", content=body, headers={"content-type": content_type})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    running = Desk(tmp_path / "spool")
    running.spool = Spool(running.root, min_free_mb=1)
    keeper = FileKeeper(running.spool, running.note, lambda *_: None)
    app = FastAPI()
    ended = lambda _, how: running.ended.append(how)  # noqa: E731
    stow = Stow(keeper, "NPC_CONTOUR", ended, running.new_file, Uploads(SMALL))
    app.include_router(stow_routes(stow))
    with BackgroundServer(app, "127.0.0.1", 0) as server:
        running.url = f"http://127.0.0.1:{server.port}/dicom-web"
        yield running


def multipart(*files: bytes) -> bytes:
    return b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files) + b"--cut--"


def test_a_foreign_client_stores_a_series(desk: Desk) -> None:
    answer = DICOMwebClient(desk.url).store_instances(SERIES)

    assert len(answer.ReferencedSOPSequence) == 3
    assert "FailedSOPSequence" not in answer
    assert {row.sop_instance_uid for row in desk.rows} == {str(one.SOPInstanceUID) for one in SERIES}
    assert desk.ended == [Ending.RELEASED]


def test_bytes_are_kept_as_they_came(desk: Desk) -> None:
    file = as_bytes(SERIES[0])

    assert desk.post(multipart(file)).status_code == 200
    (kept,) = desk.root.rglob("*.dcm")
    assert split_file(kept.read_bytes())[1] == split_file(file)[1]


def test_what_is_refused_is_named_and_the_rest_is_kept(desk: Desk) -> None:
    answer = desk.post(multipart(as_bytes(SERIES[0]), b"no image", as_bytes(SERIES[1])))

    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 2
    assert answer.json()["00081198"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC001]}}]


def test_images_of_another_study_are_refused(desk: Desk) -> None:
    assert desk.post(multipart(as_bytes(SERIES[0])), path="/1.2.3").status_code == 409
    assert desk.post(multipart(as_bytes(SERIES[0])), path=f"/{STUDY}").status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", 'multipart/related; type="application/dicom+json"; boundary=cut', 415),
        (b"", 'multipart/related; type="application/dicom"', 400),
        (b"no boundary anywhere", RELATED, 400),
        (b"--cut--", RELATED, 400),
        (multipart(bytes(MAX_INSTANCE_BYTES + 1)), RELATED, 413),
    ],
)
def test_what_is_no_message_is_refused(desk: Desk, body: bytes, content_type: str, status: int) -> None:
    assert desk.post(body, content_type).status_code == status
    assert list(desk.root.rglob("*.dcm")) == []


def test_a_database_that_is_down_is_503_and_the_sender_keeps_its_copy(desk: Desk) -> None:
    desk.down = True

    assert desk.post(multipart(as_bytes(SERIES[0]))).status_code == 503


def test_a_connection_that_breaks_ends_as_aborted(desk: Desk) -> None:
    whole = multipart(as_bytes(SERIES[0]), as_bytes(SERIES[1]))

    answer = desk.post(whole[:-200])

    assert answer.status_code == 400
    assert len(desk.rows) == 1
    assert desk.ended == [Ending.ABORTED]


def test_a_failure_names_its_instance(desk: Desk) -> None:
    cut = SERIES[1]
    cut.PixelData = cut.PixelData[:-2]

    answer = desk.post(multipart(as_bytes(SERIES[0]), as_bytes(cut), b"no file"))

    (stranger, nameless) = answer.json()["00081198"]["Value"]
    assert answer.status_code == 202
    assert stranger["00081155"]["Value"] == [str(cut.SOPInstanceUID)]
    assert stranger["00081150"]["Value"] == [str(cut.SOPClassUID)]
    assert "00081155" not in nameless
    (other,) = desk.post(multipart(as_bytes(SERIES[2])), path="/2.25.1").json()["00081198"]["Value"]
    assert other["00081155"]["Value"] == [str(SERIES[2].SOPInstanceUID)]


def test_parts_without_bytes_are_answered_at_once(desk: Desk) -> None:
    began = time.monotonic()

    answer = desk.post(b"--cut\r\n\r\n\r\n" * 200_000 + b"--cut--")

    assert (answer.status_code, time.monotonic() - began < 3.0) == (400, True)
    assert "no DICOM files" in answer.text


def begun(desk: Desk, size: int) -> socket.socket:
    """Post the beginning of an instance, and wait until it is there."""
    port = int(desk.url.split(":")[2].partition("/")[0])
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {RELATED}\r\nContent-Length: 99999999\r\n\r\n"
    connection.sendall(head.encode() + b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + bytes(size))
    return connection


def test_too_many_uploads_of_one_sender_are_told_to_come_later(desk: Desk) -> None:
    with ExitStack() as stack:
        for _ in range(SMALL.most_of_sender):
            stack.enter_context(begun(desk, 2000))
        until = time.monotonic() + 20
        while (answer := desk.post(multipart(as_bytes(SERIES[0])))).status_code == 200 and time.monotonic() < until:
            pass  # the others are on their way
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "3 uploads of this address" in answer.text
    until = time.monotonic() + 20
    while desk.post(multipart(as_bytes(SERIES[2]))).status_code != 200:
        assert time.monotonic() < until, "they are gone and do not count any more"


def test_a_large_instance_lies_on_disk_and_is_gone_with_its_upload(desk: Desk) -> None:
    with desk.spool.temporary_file() as file:
        file.write(bytes(2**21))
        assert Path(f"/proc/self/fd/{file.fileno()}").readlink().is_relative_to(desk.root / "incoming")
    assert desk.post(multipart(bytes(8 * 2**20))).status_code == 409
    assert list((desk.root / "incoming").iterdir()) == []


def test_a_full_disk_is_503(desk: Desk) -> None:
    desk.full = True

    answer = desk.post(multipart(as_bytes(SERIES[0])))

    assert (answer.status_code, "No space left" in answer.text) == (503, True)


def test_uploads_are_counted_by_sender_and_in_all() -> None:
    uploads = Uploads(UploadLimits(most=3, most_of_sender=2, held_bytes=100, held_bytes_of_sender=60))
    with uploads.begin("10.0.0.1") as one, uploads.begin("10.0.0.1") as other:
        with pytest.raises(UploadRefusedError, match="of this address run"), uploads.begin("10.0.0.1"):
            pass
        one.holds(50)
        with pytest.raises(UploadRefusedError, match="of this address hold"):
            other.holds(20)
        with uploads.begin("") as shared:
            with pytest.raises(UploadRefusedError, match="3 uploads run"), uploads.begin("10.0.0.2"):
                pass
            with pytest.raises(UploadRefusedError, match="hold more than 100"):
                shared.holds(90)
    with uploads.begin("") as first, uploads.begin("") as second:
        first.holds(60)
        second.holds(40)
