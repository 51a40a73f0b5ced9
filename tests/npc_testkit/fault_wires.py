"""A trial of web services that answer wrongly while studies flow: nothing counts that did not happen.

A PACS and a planning system (both Orthanc with DICOMweb) stand behind a gateway that answers each request wrongly a few
times before it answers well: parts of a series, bodies that are cut off, login pages, redirects, answers about another
object. All images are fetched, every structure set is stored, and each wrong answer was followed by another try.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from npc_testkit.fault_lab import OPTIONS, Lab, Outcome, audit, started, wait_verified
from npc_testkit.fault_site import Sender, Service, Study
from npc_testkit.http_peer import Handler, http_peer
from npc_testkit.orthanc import Orthanc, orthanc

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
SITE = """\
[[pacs]]
name = "archive"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
retrieve = "web"
web_url = "{url}"
timeout_s = 5
[[destinations]]
name = "planning"
kind = "dicomweb"
url = "{url}"
verify = "require"
"""
OTHER = b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["2.25.1"]}}]}}'
Act = Callable[[Handler, httpx.Response], None]


def partial_content(handler: Handler, good: httpx.Response) -> None:
    """206, with half of the images."""
    handler.reply(206, half_of(good), Content_Type=good.headers["content-type"])


def fewer(handler: Handler, good: httpx.Response) -> None:
    """200, with half of the images, as if these were all."""
    handler.reply(200, half_of(good), Content_Type=good.headers["content-type"])


def cut(handler: Handler, good: httpx.Response) -> None:
    """The connection breaks in the middle of the answer."""
    handler.send_response(good.status_code)
    handler.send_header("Content-Type", good.headers["content-type"])
    handler.send_header("Content-Length", str(len(good.content)))
    handler.end_headers()
    handler.wfile.write(good.content[: len(good.content) // 2])
    handler.close_connection = True


def without_an_end(handler: Handler, good: httpx.Response) -> None:
    """Whole images, but no closing delimiter."""
    handler.reply(200, half_of(good).rpartition(b"--")[0][:-2], Content_Type=good.headers["content-type"])


def login_page(handler: Handler, _: httpx.Response) -> None:
    """200, and a page that asks to log in."""
    handler.reply(200, b"<html>please log in", Content_Type="text/html")


def redirect(handler: Handler, _: httpx.Response) -> None:
    """To a login page."""
    handler.reply(302, Location="/login")


def nothing(handler: Handler, _: httpx.Response) -> None:
    """200, and not a word."""
    handler.reply(200)


def another_object(handler: Handler, _: httpx.Response) -> None:
    """200, about an object that nobody sent."""
    handler.reply(200, OTHER, Content_Type="application/dicom+json")


def half_of(answer: httpx.Response) -> bytes:
    """A multipart message with half of its parts."""
    boundary = b"--" + answer.headers["content-type"].partition("boundary=")[2].partition(";")[0].strip('"').encode()
    first, *parts = answer.content.split(boundary)
    return boundary.join([first, *parts[: len(parts) // 2], b"--\r\n"])


FETCHING: Sequence[Act] = (partial_content, fewer, cut, without_an_end, login_page, redirect)
STORING: Sequence[Act] = (redirect, login_page, nothing, another_object, cut, login_page)


@dataclass
class Gateway:
    """What stands before a PACS and a planning system.

    Attributes:
        wrong: study → how it is answered wrongly before it is answered well, when fetched and when stored.
        asked: how often (what, study) was asked for.
    """

    pacs: Orthanc
    planning: Orthanc
    wrong: dict[tuple[str, str], list[Act]]
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve while the block runs; gives the URL."""
        gateway = self

        class Answers(Handler):
            def answer(self, body: bytes) -> None:
                gateway.pass_on(self, body)

        with http_peer(Answers) as port:
            yield f"http://127.0.0.1:{port}"

    def pass_on(self, handler: Handler, body: bytes) -> None:
        """Answer well, or wrongly where that is due."""
        if handler.path.startswith("/login"):
            handler.reply(200, b"<html>please log in", Content_Type="text/html")
            return
        key = self._key(handler, body)
        with self.lock:
            self.asked[key] += 1
            act = self.wrong[key].pop(0) if self.wrong.get(key) else None
        # What is not to be stored yet does not reach the planning system, but where the answer is cut off.
        if act is not None and handler.command == "POST" and act is not cut:
            act(handler, httpx.Response(200))
            return
        about_ours = handler.command == "POST" or (key[0] == "query" and self._is_ours(handler))
        node = self.planning if about_ours else self.pacs
        url = f"http://127.0.0.1:{node.http_port}/dicom-web{handler.path}"
        headers = {name: handler.headers[name] for name in ("Accept", "Content-Type") if name in handler.headers}
        good = httpx.request(handler.command, url, content=body or None, headers=headers, timeout=60)
        if act is not None:
            act(handler, good)
        else:
            handler.reply(good.status_code, good.content, Content_Type=good.headers.get("content-type", "text/plain"))

    def _key(self, handler: Handler, body: bytes) -> tuple[str, str]:
        known = {study for _, study in self.wrong}
        if handler.command == "POST":
            return "store", next((study for study in known if study.encode() in body), "")
        path = handler.path.partition("?")[0]
        is_series = path.rpartition("/")[0].endswith("/series")
        return ("fetch" if is_series else "query"), next((study for study in known if f"/{study}/" in path), "")

    def _is_ours(self, handler: Handler) -> bool:
        """Whether an object of the planning system is asked about: a series that the PACS does not have."""
        series = handler.path.partition("/series/")[2].partition("/")[0]
        found = self.pacs.post("/tools/find", {"Level": "Series", "Query": {"SeriesInstanceUID": series}})
        return bool(series) and not found


def wires(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - as every trial
    """Fetch and deliver studies through a gateway that answers every request wrongly before it answers well."""
    outcome = Outcome("web services that answer wrongly")
    studies = lab.studies("wires", 3 if short else 9)
    due = {
        (what, study.uid): [acts[(2 * number + one) % len(acts)] for one in range(2)]
        for what, acts in (("fetch", FETCHING), ("store", STORING))
        for number, study in enumerate(studies)
    }
    with ExitStack() as running:
        options = OPTIONS | {"Plugins": [PLUGIN], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
        pacs, planning = (
            running.enter_context(orthanc(lab.folder / f"{title}-{studies[0].uid}", ae_title=title, options=options))
            for title in ("PACS", "PLANNING")
        )
        for study in studies:
            Sender(lambda: pacs.dicom_port).send(study.all_files, called="PACS")
        gateway = Gateway(pacs, planning, {key: list(acts) for key, acts in due.items()})
        service = lab.service("wires")
        _ask_and_deliver_at(service.config, running.enter_context(gateway.running()))
        with started(service):
            service.wait_page()
            for study in studies:
                _ask_for(service, study)
            wait_verified(service, len(studies), 300)
            audit(lab, service, studies, [], outcome, planning)
            pulled = service.query("SELECT state, images FROM pulled_series")
        pulled = [row for row in pulled if row["state"] != "fetched"]
    believed = [key for key, acts in due.items() if gateway.asked[key] <= len(acts)]
    outcome.more["silent_wrong"] = len(believed)
    outcome.held = outcome.held and not believed and not pulled
    outcome.detail = (
        f"{sum(map(len, due.values()))} wrong answers, each followed by another try; all fetched, all stored"
        if outcome.held
        else f"believed: {believed}; not fetched: {pulled}"
    )
    return outcome


def _ask_and_deliver_at(config: Path, url: str) -> None:
    kept = config.read_text(encoding="utf-8").partition("[[destinations]]")[0]
    config.write_text(kept + SITE.format(url=url), encoding="utf-8")


def _ask_for(service: Service, study: Study) -> None:
    url = f"http://127.0.0.1:{service.runtime['web_port']}/api/v1/studies"
    body = {"pacs": "archive", "study_instance_uid": study.uid}
    httpx.post(url, json=body, timeout=20, trust_env=False).raise_for_status()
