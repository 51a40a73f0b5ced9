"""An image posted by STOW-RS is durable before it is answered, and one that is not kept is named with its reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from dicomweb_client.web import DICOMwebClient
from fastapi import FastAPI

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.api.stow import MAX_INSTANCE_BYTES, Stow, stow_routes
from npc_contour.adapters.dicom.headers import split_file
from npc_contour.adapters.dicom.keeping import FileKeeper
from npc_contour.adapters.dicom.spool import Spool
from npc_contour.application.records import AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import StoreError
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets

SERIES = ct_datasets(CtPlan(slices=3))
STUDY = str(SERIES[0].StudyInstanceUID)
RELATED = 'multipart/related; type="application/dicom"; boundary=cut'


@dataclass
class Desk:
    """A running endpoint and what it told."""

    root: Path
    rows: list[InstanceHeader] = field(default_factory=list)
    ended: list[Ending] = field(default_factory=list)
    down: bool = False
    url: str = ""

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
    keeper = FileKeeper(Spool(running.root, min_free_mb=1), running.note, lambda *_: None)
    app = FastAPI()
    app.include_router(stow_routes(Stow(keeper, "NPC_CONTOUR", lambda _, how: running.ended.append(how))))
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
