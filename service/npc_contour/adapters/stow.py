"""DICOMweb destinations: STOW-RS to send (PS3.18 10.5), QIDO-RS to ask whether the object is there (PS3.18 10.6).

An object counts as stored only when the server's answer is DICOM, in JSON or XML, and names that very object: a login
page is an answer, too, and so is the page that a redirect leads to.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from npc_contour.domain.jobs import Evidence, Proof, StoreReceipt, WebDestination
from npc_contour.errors import CallError, SendError
from npc_contour.http_calls import Limits, Reply, Way, call

QIDO = "QIDO-RS"
DICOM_JSON = "application/dicom+json"
PROCESSING_FAILURE, CANNOT_UNDERSTAND, STORED_WITH_WARNING = 0x0110, 0xC000, 0xB000
REFUSED = (400, 409, 413, 415, 422)
"""HTTP status codes by which a server refuses this very object; any other failure is the server's."""
SLOWEST_BYTES_PER_S = 131072
"""A body may take so long beside the time for the answer."""
_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE, _FAILURE_REASON, _WARNING_REASON = "00081155", "00081197", "00081196"

Item = dict[str, Any]
"""One item of a sequence: tag → its first value, as the server wrote it."""


class WebSender:
    """Sends to DICOMweb servers, and asks them.

    Args:
        timeout_s: for connecting and for each answer.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def send(self, instance: bytes, destination: WebDestination) -> StoreReceipt:
        """Store one object and return the server's answer; a Failure Reason stands for the status of C-STORE.

        Raises:
            SendError: there was no answer, or one that says nothing about the object.
        """
        uid = str(_parsed(instance).SOPInstanceUID)
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        content = b"".join([head, instance, f"\r\n--{boundary}--\r\n".encode()])
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        with self._asked("POST", destination, "/studies", content=content, content_type=kind) as reply:
            if reply.status not in REFUSED:
                reply.check()
            status, detail = _told(reply, uid)
        return StoreReceipt(destination.name, uid, status, datetime.now(UTC), detail)

    def ask(self, instance: bytes, destination: WebDestination) -> Evidence:
        """Ask whether the server holds an object.

        Raises:
            SendError: there was no answer, or one that is no list of matches.
        """
        dataset = _parsed(instance)
        path = f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances"
        asked = (("SOPInstanceUID", str(dataset.SOPInstanceUID)),)
        with self._asked("GET", destination, path, params=asked) as reply:
            if reply.status in {204, 404}:
                return Evidence(Proof.MISSING, QIDO)
            if reply.status in {400, 405, 501}:
                return Evidence(Proof.NOT_OFFERED, QIDO, f"{destination.name}: {reply.words}")
            uids = {str(_first(match.get("00080018"))).strip(" \0") for match in _matches(reply)}
        return Evidence(Proof.HELD if str(dataset.SOPInstanceUID) in uids else Proof.MISSING, QIDO)

    def reach(self, destination: WebDestination) -> str:
        """Return that the server answers a query.

        Raises:
            SendError: it does not.
        """
        with self._asked("GET", destination, "/studies", params=(("limit", "1"),)) as reply:
            _matches(reply)
        return f"{destination.url} answers"

    @contextmanager
    def _asked(
        self,
        method: str,
        destination: WebDestination,
        path: str,
        *,
        params: tuple[tuple[str, str], ...] = (),
        content: bytes = b"",
        content_type: str = "",
    ) -> Iterator[Reply]:
        headers = {"Accept": DICOM_JSON}
        if content_type:
            headers["Content-Type"] = content_type
        limits = Limits(timeout_s=self._timeout_s, whole_s=self._timeout_s + len(content) / SLOWEST_BYTES_PER_S)
        try:
            if destination.token_file:
                token = Path(destination.token_file).read_text(encoding="ascii").strip()
                headers["Authorization"] = f"Bearer {token}"
            url = destination.url.rstrip("/") + path
            way = Way(ca_file=destination.ca_file)
            with call(method, url, limits, headers=headers, params=params, content=content, way=way) as reply:
                yield reply
        except (CallError, OSError, UnicodeDecodeError) as error:
            raise SendError(f"{destination.name} ({destination.url}): {error}") from error


def _parsed(instance: bytes) -> Dataset:
    try:
        return dcmread(BytesIO(instance), stop_before_pixels=True)
    except (InvalidDicomError, EOFError) as error:
        raise SendError(f"what is to be sent cannot be read: {error}") from error


def _matches(reply: Reply) -> list[dict[str, Any]]:
    if reply.status == 204:
        return []
    reply.check()
    found = reply.json()
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CallError("the answer is no list of matches")
    return found


def _told(reply: Reply, uid: str) -> tuple[int, str]:
    """What the answer to a STOW-RS request says of the one object that was sent: a status, and the words of a no.

    Raises:
        CallError: it says nothing of the object.
    """
    referenced, failed = _sequences(reply.body())
    for item in failed:
        if _uid(item) in {uid, ""}:  # one object was sent: a failure without a name is its
            return _reason(item.get(_FAILURE_REASON), PROCESSING_FAILURE), reply.words
    if reply.status in REFUSED:
        return CANNOT_UNDERSTAND, reply.words
    for item in referenced:
        if _uid(item) == uid:
            warning = _reason(item.get(_WARNING_REASON), 0)
            return (warning if warning & 0xF000 == 0xB000 else STORED_WITH_WARNING if warning else 0), ""
    raise CallError(f"{reply.words}, but the answer ({reply.media_type or 'no content type'}) does not name the object")


def _sequences(body: bytes) -> tuple[list[Item], list[Item]]:
    """Referenced and Failed SOP Sequence of a Store Instances Response (PS3.18 I.2), of JSON or of XML."""
    found = _of_xml(body) if body.lstrip()[:1] == b"<" else _of_json(body)
    return found.get(_REFERENCED, []), found.get(_FAILED, [])


def _of_json(body: bytes) -> dict[str, list[Item]]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(answer, list) and len(answer) == 1:  # as some servers wrap it
        answer = answer[0]
    if not isinstance(answer, dict):
        return {}
    return {tag: _items(answer[tag]) for tag in (_REFERENCED, _FAILED) if tag in answer}


def _uid(item: Item) -> str:
    return str(item.get(_INSTANCE) or "").strip(" \0")


def _items(element: object) -> list[Item]:
    values = element.get("Value") if isinstance(element, dict) else None
    items = values if isinstance(values, list) else []
    return [{tag: _first(one) for tag, one in item.items()} for item in items if isinstance(item, dict)]


def _first(element: object) -> object:
    """The first value of an element in the DICOM JSON model; None where it has none."""
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return value if isinstance(value, str | int) else None


def _of_xml(body: bytes) -> dict[str, list[Item]]:
    """Read the Native DICOM Model (PS3.19 A.1); a document with a type definition is none."""
    if b"<!DOCTYPE" in body or b"\0" in body:
        return {}
    try:
        root = ET.fromstring(body)  # noqa: S314 - no DOCTYPE, so no entities; bounded in bytes
    except (ET.ParseError, ValueError, LookupError):
        return {}
    found: dict[str, list[Item]] = {}
    for element in root:
        tag = element.get("tag", "").upper()
        if tag in {_REFERENCED, _FAILED}:
            found[tag] = [
                {one.get("tag", "").upper(): one.findtext("{*}Value") or one.findtext("Value") for one in item}
                for item in element
            ]
    return found


def _reason(value: object, default: int) -> int:
    """A reason as a number: JSON writes it as one, XML and some servers as text."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) < 9 else default
    return value & 0xFFFF if isinstance(value, int) and value else default
