"""STOW-RS: images posted over HTTP (PS3.18 10.5) go where a C-STORE brings them, and are durable before the answer.

| status | meaning |
|--------|---------|
| 200 | every instance is kept |
| 202 | some are kept; the answer names the others, class and instance, with their reason (a C-STORE status) |
| 400 | the body is no multipart message, or holds no instance |
| 401, 403 | neither the address nor a token may post: asked before us (`adapters.web.access`) |
| 409 | none is kept |
| 413 | one instance is larger than is taken |
| 415 | not multipart/related of application/dicom |
| 503 | no room, too many uploads, or the database does not answer: post again later |

An instance that is not whole yet lies on disk where it is large; `adapters.api.uploads` says how many and how much.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from io import SEEK_END, BytesIO
from typing import IO, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from npc_contour.adapters.api.problems import WRONG_INPUT, Responses, problems
from npc_contour.adapters.api.texts import STUDY_UID
from npc_contour.adapters.api.uploads import Upload, UploadRefusedError, Uploads
from npc_contour.application.ports import InstanceKeeper
from npc_contour.domain.queries import Wanted
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused, SpoolFullError, StoreError
from npc_contour.http_parts import PartError, Parts, PartTooLargeError, content_type
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

MAX_INSTANCE_BYTES = 64 * 2**20
"""Twice the largest image that is taken."""
MAX_NAMELESS = 1000
KEPT_AT_ONCE = 8
RETRY_S = 10
CANNOT_UNDERSTAND = 0xC000
RECEIVER_NAME = "stow"
CALLING = "STOW-RS"
DICOM_JSON = "application/dicom+json"
_REFERENCED, _FAILED, _REASON = "00081199", "00081198", "00081197"
_CLASS, _INSTANCE = "00081150", "00081155"


@dataclass(frozen=True, slots=True)
class Stow:
    """What posting works with.

    Attributes:
        ended: told how each request ended, as of an association.
        new_file: makes what holds an instance while it comes.
        uploads: counts them.
        keeping: threads that keep instances, of their own: whoever posts takes none of those that answer others.
    """

    keeper: InstanceKeeper
    our_ae_title: str
    ended: Callable[[str, Ending], None]
    new_file: Callable[[], IO[bytes]] = BytesIO
    uploads: Uploads = field(default_factory=Uploads)
    keeping: CapacityLimiter = field(default_factory=partial(CapacityLimiter, KEPT_AT_ONCE))


@dataclass(slots=True)
class _Outcome:
    kept: list[InstanceHeader] = field(default_factory=list)
    failed: list[InstanceRefused] = field(default_factory=list)
    nameless: int = 0

    def refused(self, error: InstanceRefused) -> None:
        """Note what was not kept, and why.

        Raises:
            HTTPException: too many parts are no DICOM file: an answer that lists them all would help nobody.
        """
        self.failed.append(error)
        self.nameless += not error.sop_instance_uid
        if self.nameless > MAX_NAMELESS:
            raise HTTPException(400, f"more than {MAX_NAMELESS} parts of the body are no DICOM files")

    def answer(self) -> JSONResponse:
        """The Store Instances Response Module (PS3.18 table I.2-1)."""
        body: dict[str, object] = {}
        if self.kept:
            body[_REFERENCED] = _sequence([
                {_CLASS: _value("UI", header.sop_class_uid), _INSTANCE: _value("UI", header.sop_instance_uid)}
                for header in self.kept
            ])  # fmt: skip
        if self.failed:
            body[_FAILED] = _sequence([_failure(error) for error in self.failed])
        status = 200 if not self.failed else 202 if self.kept else 409
        return JSONResponse(body, status_code=status, media_type=DICOM_JSON)


MAX_BODY_BYTES = 16 * 2**30
"""A whole study in one message; each instance is bounded by itself, and none waits in memory for the next."""

_RESPONSE = {
    _REFERENCED: {
        "vr": "SQ",
        "Value": [
            {
                _CLASS: {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
                _INSTANCE: {"vr": "UI", "Value": ["1.2.826.0.1.3680043.8.498.1.1.1"]},
            }
        ],
    }
}
_STORED: dict[str, Any] = {"content": {DICOM_JSON: {"schema": {"type": "object"}, "example": _RESPONSE}}}
_ANSWERS: Responses = {
    **problems(400, 401, 403, 413, 415, 421, 503),
    200: {"description": "Every instance is kept", **_STORED},
    202: {"description": "Some are kept; the answer names the others with their reason", **_STORED},
    409: {"description": "None is kept", **_STORED},
    **WRONG_INPUT,
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {'multipart/related; type="application/dicom"': {"schema": {"type": "string", "format": "binary"}}},
    }
}


def stow_routes(stow: Stow) -> APIRouter:
    """Return `POST /dicom-web/studies` and `POST /dicom-web/studies/{study}`."""
    router = APIRouter(tags=["DICOMweb"], max_body_size=MAX_BODY_BYTES)

    @router.post("/dicom-web/studies", responses=_ANSWERS, openapi_extra=_BODY)
    async def store(request: Request) -> JSONResponse:
        """Keep DICOM files (multipart/related; type="application/dicom")."""
        return await _store(stow, request, None)

    @router.post("/dicom-web/studies/{study_instance_uid}", responses=_ANSWERS, openapi_extra=_BODY)
    async def store_of_study(study_instance_uid: STUDY_UID, request: Request) -> JSONResponse:
        """Keep DICOM files of one study; those of another are refused."""
        return await _store(stow, request, study_instance_uid)

    return router


async def _store(stow: Stow, request: Request, study_instance_uid: str | None) -> JSONResponse:
    host = request.client.host if request.client is not None else ""
    boundary = _boundary(request.headers.get("content-type", ""))
    association = AssociationRow(uuid.uuid4().hex, RECEIVER_NAME, CALLING, stow.our_ae_title, host)
    asked = None if study_instance_uid is None else Wanted(study_instance_uid=study_instance_uid)
    outcome, ending = _Outcome(), Ending.ABORTED
    try:
        with stow.uploads.begin(_own_address(request)) as upload:
            async for file in _parts(request, Parts(boundary, MAX_INSTANCE_BYTES, stow.new_file), upload):
                await _take(stow, file, association, asked, outcome)
        ending = Ending.RELEASED
    except (SpoolFullError, StoreError, UploadRefusedError) as error:
        raise HTTPException(503, str(error), {"Retry-After": str(RETRY_S)}) from error
    except OSError as error:
        raise HTTPException(503, f"an instance cannot be written: {error.strerror}") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the sender has gone") from error
    except PartTooLargeError as error:
        raise HTTPException(413, f"an instance of more than {MAX_INSTANCE_BYTES} bytes") from error
    except PartError as error:
        raise HTTPException(400, f"the body is no multipart message: {error}") from error
    finally:
        if outcome.kept:
            await run_in_threadpool(stow.ended, association.association_id, ending)
            logger.info(
                Event.ASSOCIATION_ENDED,
                extra={
                    "association_id": association.association_id,
                    "calling_ae_title": CALLING,
                    "called_ae_title": stow.our_ae_title,
                    "peer": host,
                    "how": ending.value,
                    "stored": len(outcome.kept),
                    "refused": len(outcome.failed),
                },
            )
    if not outcome.kept and not outcome.failed:
        raise HTTPException(400, "the body holds no instance")
    return outcome.answer()


async def _take(
    stow: Stow, file: IO[bytes], association: AssociationRow, asked: Wanted | None, outcome: _Outcome
) -> None:
    if file.seek(0, SEEK_END):
        await to_thread.run_sync(_keep, stow.keeper, file, association, asked, outcome, limiter=stow.keeping)
    else:
        outcome.refused(InstanceRefused("a part without bytes", status=CANNOT_UNDERSTAND))


def _keep(
    keeper: InstanceKeeper, file: IO[bytes], association: AssociationRow, asked: Wanted | None, outcome: _Outcome
) -> None:
    with file:
        file.seek(0)
        content = file.read()
    try:
        outcome.kept.append(keeper.keep(content, association, asked=asked))
    except InstanceRefused as error:
        outcome.refused(error)


async def _parts(request: Request, parts: Parts, upload: Upload) -> AsyncIterator[IO[bytes]]:
    """The bodies of a multipart message, each as soon as it is whole."""
    try:
        async for chunk in request.stream():
            whole = parts.feed(chunk)
            upload.holds(parts.under_way)
            for part in whole:
                yield part
        parts.end()
    finally:
        parts.close()


def _own_address(request: Request) -> str:
    """The sender's address; "" where it is a proxy's, which many share."""
    sender = getattr(request.state, "sender", None)
    if sender is not None and not sender.is_own:
        return ""
    return request.client.host if request.client is not None else ""


def _boundary(text: str) -> str:
    media_type, kind, boundary = content_type(text)
    if media_type != "multipart/related" or kind != "application/dicom":
        raise HTTPException(415, 'expected multipart/related; type="application/dicom"')
    if not boundary:
        raise HTTPException(400, "the content type names no boundary")
    return boundary


def _failure(error: InstanceRefused) -> dict[str, object]:
    """An item of the Failed SOP Sequence, with the names of the object as far as they are known."""
    item: dict[str, object] = {_REASON: _value("US", error.status)}
    if error.sop_instance_uid:
        item |= {_CLASS: _value("UI", error.sop_class_uid), _INSTANCE: _value("UI", error.sop_instance_uid)}
    return item


def _sequence(items: list[dict[str, object]]) -> dict[str, object]:
    return {"vr": "SQ", "Value": items}


def _value(vr: str, value: str | int) -> dict[str, object]:
    return {"vr": vr, "Value": [value]}
