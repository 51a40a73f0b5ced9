"""Peers that answer oddly, for the table of cases: what the product makes of their answers."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import httpx
from fastapi import FastAPI
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.api.stow import Stow, stow_routes
from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.receive.negotiation import agree, read_request
from npc_contour.adapters.dicom.receive.services import Services, verification
from npc_contour.adapters.dicom.send.scu import echo
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.dicomweb import WebArchive
from npc_contour.adapters.stow import WebSender
from npc_contour.adapters.webhooks import Hook, WebhookCaller
from npc_contour.cli import main
from npc_contour.domain.jobs import Destination, WebDestination
from npc_contour.domain.queries import ArchiveNode, Query, QueryLevel, Wanted
from npc_contour.errors import ArchiveError, AutocontourError, SendError, WebhookError
from npc_testkit import rude_http as rude
from npc_testkit.cases import Seen
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.odd_associations import IMPLICIT, Odd, item, odd_acceptor, result
from npc_testkit.rude_http import Act, answers, rude_http

SLICES = ct_datasets(CtPlan(slices=4))
FILES = [as_bytes(one) for one in SLICES]
STUDY, SERIES = str(SLICES[0].StudyInstanceUID), str(SLICES[0].SeriesInstanceUID)
KIND = 'multipart/related; type="application/dicom"; boundary=b1'
PADDED = item(0x55, b"OT_1\0\0"), item(0x55, b"A_VERSION_NAME_17"), item(0x5A, b"abcdef")


def _judged(trials: dict[str, tuple[Callable[[], object], type[AutocontourError]]]) -> Seen:
    """Each trial must end in its error, soon, and in no other."""
    faults, wrong, crashes = [], False, 0
    for name, (trial, error) in trials.items():
        began = time.monotonic()
        try:
            faults.append(f"{name}: taken as {trial()!r}")
            wrong = True
        except error:
            if time.monotonic() - began > 10.0:
                faults.append(f"{name}: took {time.monotonic() - began:.0f} s")
        except Exception as other:  # noqa: BLE001 - whatever else it is, it is a traceback
            faults.append(f"{name}: {type(other).__name__}")
            crashes += 1
    return Seen(tuple(faults), silent_wrong=wrong, tracebacks=crashes)


def _sent(act: Act) -> object:
    with rude_http(act) as (url, _):
        return WebSender(2.0).send(FILES[0], WebDestination("a", url))


def _asked(act: Act) -> object:
    with rude_http(act) as (url, _):
        return WebSender(2.0).ask(FILES[0], WebDestination("a", url))


def _archive(url: str) -> WebArchive:
    return WebArchive(ArchiveNode(name="p", ae_title="P", host="h", port=1, web_url=url), 2.0)


def _found(act: Act) -> object:
    with rude_http(act) as (url, _):
        return _archive(url).find(Query(level=QueryLevel.STUDY))


def _fetched(act: Act) -> object:
    with rude_http(act) as (url, _):
        return _archive(url).retrieve(
            Wanted(study_instance_uid=STUDY, series_instance_uid=SERIES), lambda _: None
        )  # fmt: skip


def _parts(*, end: bool) -> bytes:
    body = b"".join(b"--b1\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in FILES[:2])
    return body + (b"--b1--\r\n" if end else b"")


def part_of_a_series(_case: Path, _work: Path) -> Seen:
    """206, and a body that is cut off before its closing delimiter, are errors."""
    return _judged({
        "206": (lambda: _fetched(answers(206, _parts(end=True), KIND)), ArchiveError),
        "no closing delimiter": (lambda: _fetched(answers(200, _parts(end=False), KIND)), ArchiveError),
        "a login page": (lambda: _fetched(answers(200, b"<html>", "text/html")), ArchiveError),
    })  # fmt: skip


def redirected(_case: Path, _work: Path) -> Seen:
    """No redirect and no login page stores an object."""
    codes = {str(code): (partial(_sent, rude.redirects(code, "/login")), SendError)
             for code in (301, 302, 303, 307, 308)}  # fmt: skip
    page = (lambda: _sent(answers(200, b"<html>please log in", "text/html")), SendError)
    return _judged({**codes, "a page": page, "nothing": (lambda: _sent(answers(200)), SendError)})


def bounded(_case: Path, _work: Path) -> Seen:
    """Answers without end, in bytes or in time, end the call."""
    acts = (rude.sends_a_bomb, rude.sends_without_end, rude.drips_headers, rude.drips_body,
            rude.floods_with_interim_answers, rude.says_nothing)  # fmt: skip
    return _judged({act.__name__: (partial(_sent, act), SendError) for act in acts})


def not_lists(_case: Path, _work: Path) -> Seen:
    """JSON that is no list of objects is an error that says so."""
    texts = (b"null", b"3", b"[null]", b'["x"]', b"[" * 200_000)
    return _judged({
        **{f"find {text[:8]!r}": (partial(_found, answers(200, text)), ArchiveError) for text in texts},
        **{f"ask {text[:8]!r}": (partial(_asked, answers(200, text)), SendError) for text in texts},
        **{f"send {text[:8]!r}": (partial(_sent, answers(200, text)), SendError) for text in texts},
    })  # fmt: skip


def webhook_drips(_case: Path, _work: Path) -> Seen:
    """A receiver that drips costs one timeout."""

    def call(act: Act) -> object:
        with rude_http(act) as (url, _):
            hook = Hook("h", url, b"k" * 32, [ip_network("127.0.0.0/8")], 2.0)
            return WebhookCaller({"h": hook}).call("h", "id", datetime.now(UTC), b"{}")

    acts = (rude.drips_headers, rude.floods_with_interim_answers, rude.says_nothing)
    return _judged({act.__name__: (partial(call, act), WebhookError) for act in acts})


def one_odd_uid(_case: Path, _work: Path) -> Seen:
    """One odd UID does not stop the others."""
    uids = ("1.2.840.ABC", "1." + "2" * 99, "../x", "", "1.2.3")
    found = json.dumps([{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()
    with rude_http(answers(200, found)) as (url, _):
        matches = _archive(url).find(Query(level=QueryLevel.STUDY))
    named = [match.study_instance_uid for match in matches]
    return Seen() if named == ["1.2.3"] else Seen((f"found {named}",))


def associations(_case: Path, _work: Path) -> Seen:
    """Padding and unknown items are no reason to end an association, whoever asked for it."""
    faults = []
    supported = Services([verification()]).contexts
    for extra in PADDED:
        request = read_request(Odd(called=b"NPC_CONTOUR\0\0\0\0\0", more_information=extra).pdu(1))
        if list(agree(request, supported, "1.2.3", "OURS").contexts) != [1]:
            faults.append(f"acceptor: {extra!r}")
        with odd_acceptor(Odd(contexts=result(1, 0, IMPLICIT), more_information=extra).pdu(2)) as port:
            try:
                echo(Destination("tps", "TPS", "127.0.0.1", port), "OURS", 10.0)
            except SendError as error:
                faults.append(f"requestor: {error}")
    blank = read_request(Odd(calling=b" " * 16).pdu(1)).calling_ae_title
    return Seen((*faults, *(["a blank title is one"] if blank else [])))


def posted(_case: Path, work: Path) -> Seen:
    """What is posted to us and not kept is named, and parts without bytes are answered soon."""
    keeper = FileKeeper(Spool(work / "spool", min_free_mb=1), lambda *_: None, lambda *_: None)
    app = FastAPI()
    app.include_router(stow_routes(Stow(keeper, "NPC_CONTOUR", lambda *_: None)))
    faults = []
    with BackgroundServer(app, "127.0.0.1", 0) as server:

        def post(path: str, body: bytes) -> httpx.Response:
            url = f"http://127.0.0.1:{server.port}/dicom-web/studies{path}"
            return httpx.post(url, content=body, headers={"Content-Type": KIND}, timeout=60)

        answer = post("/2.25.1", _parts(end=True))
        named = [item.get("00081155", {}).get("Value") for item in answer.json().get("00081198", {}).get("Value", [])]
        if (answer.status_code, named) != (409, [[str(one.SOPInstanceUID)] for one in SLICES[:2]]):
            faults.append(f"images of another study are answered {answer.status_code} and named {named}")
        began = time.monotonic()
        status = post("", b"--b1\r\n\r\n\r\n" * 200_000 + b"--b1--").status_code
        if status != 400 or time.monotonic() - began > 10.0:
            faults.append(f"parts without bytes are answered {status} after {time.monotonic() - began:.0f} s")
    return Seen(tuple(faults))


def others_by_c_get(_case: Path, work: Path) -> Seen:
    """`pull --out` writes nothing that was not asked for, and ends with 1."""
    strangers = copy.deepcopy(SLICES)
    for dataset in strangers:
        dataset.SeriesInstanceUID, dataset.PatientID = "2.25.778", "SOMEBODY"

    def on_find(event: evt.Event) -> object:
        match = Dataset()
        match.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
        match.StudyInstanceUID, match.PatientID = STUDY, SLICES[0].PatientID
        if match.QueryRetrieveLevel == "SERIES":
            match.SeriesInstanceUID, match.Modality, match.NumberOfSeriesRelatedInstances = SERIES, "CT", 4
        yield 0xFF00, match

    def on_get(_: evt.Event) -> object:
        yield len(strangers)
        for dataset in strangers:
            yield 0xFF00, dataset

    entity = AE(ae_title="PACS")
    for model in (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet):
        entity.add_supported_context(model)
    entity.add_supported_context(CTImageStorage, scp_role=True, scu_role=True)
    handlers = [(evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    try:
        peer = f"127.0.0.1:{server.server_address[1]}"  # type: ignore[union-attr]
        ended = main(["pull", "--from", peer, "--called", "PACS", "--study", STUDY, "--out", str(work / "out")])
    finally:
        server.shutdown()  # type: ignore[union-attr]
        server.server_close()  # type: ignore[union-attr]
    written = list((work / "out").rglob("*.dcm"))
    faults = [f"{len(written)} strangers written"] if written else []
    return Seen((*faults, *(["ended with 0"] if ended == 0 else [])), silent_wrong=bool(written) and ended == 0)
