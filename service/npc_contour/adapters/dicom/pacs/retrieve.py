"""Fetch images from a PACS: C-GET over our own association, or C-MOVE, after which they come in by our own receiver.

C-GET needs nothing configured at the PACS but that it knows us; C-MOVE needs our AE title, host and port there. Each
storage class is proposed with each transfer syntax in a context of its own, so that the PACS may send every image as it
keeps it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from npc_contour.adapters.dicom.association.bounds import USUAL, Bounds
from npc_contour.adapters.dicom.association.requestor import Link
from npc_contour.adapters.dicom.pacs.query import association, retrieve_identifier
from npc_contour.adapters.dicom.read import pixels
from npc_contour.adapters.dicom.read.incoming import CANNOT_UNDERSTAND, STORAGE_CLASSES, file_meta
from npc_contour.adapters.dicom.spool.files import INVALID_UID
from npc_contour.domain.dimse import query_status_words
from npc_contour.domain.queries import ArchiveNode, QueryRoot, Retrieved, Wanted
from npc_contour.domain.uids import is_uid
from npc_contour.errors import ArchiveError, AutocontourError, InstanceRefused
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

GET_MODELS: dict[QueryRoot, UID] = {
    QueryRoot.STUDY: StudyRootQueryRetrieveInformationModelGet,
    QueryRoot.PATIENT: PatientRootQueryRetrieveInformationModelGet,
}
MOVE_MODELS: dict[QueryRoot, UID] = {
    QueryRoot.STUDY: StudyRootQueryRetrieveInformationModelMove,
    QueryRoot.PATIENT: PatientRootQueryRetrieveInformationModelMove,
}
OUT_OF_RESOURCES = 0xA700
_PENDING, _SUCCESS, _SOME_FAILED, _ALL_FAILED = 0xFF00, 0x0000, 0xB000, 0xA702

KeepFile = Callable[[bytes], None]
"""Keeps one DICOM file (PS3.10) durably, or raises InstanceRefused, SpoolFullError or StoreError."""
Progress = Callable[[int, int], None]
"""Called with (done, total) as the archive counts them."""


def get(
    node: ArchiveNode,
    wanted: Wanted,
    calling_ae: str,
    timeout_s: float,
    keep: KeepFile,
    progress: Progress | None = None,
    *,
    bounds: Bounds = USUAL,
) -> Retrieved:
    """Fetch images by C-GET; each is kept before the PACS is told so.

    Args:
        node: the PACS.
        wanted: what to fetch.
        calling_ae: our AE title.
        timeout_s: for connecting and for each message.
        keep: takes each image; called in this thread.
        progress: told of the PACS's count.
        bounds: what the PACS may cost us.

    Raises:
        ArchiveError: a bound is crossed, no answer, or one that says failure of the whole; what was kept before stays.
    """
    model = GET_MODELS[node.root]
    identifier = retrieve_identifier(wanted, node.root)
    store = _SubOperations(keep, bounds.objects)
    with association(
        node,
        [build_context(model), *storage_contexts()],
        calling_ae,
        timeout_s,
        scp_classes=tuple(STORAGE_CLASSES),
        handlers=[(evt.EVT_C_STORE, store.on_store)],
        bounds=bounds,
    ) as link:
        store.link = link
        answers = link.association.send_c_get(identifier, model, msg_id=1)
        counted = _follow(link, answers, "C-GET", progress)
    if store.full is not None:
        raise ArchiveError(f"images of {link.peer} could not be kept: {store.full}")
    failed = max(counted.failed, len(store.refused))
    uids = tuple(filter(None, dict.fromkeys((*counted.failed_uids, *store.refused))))
    return Retrieved(completed=store.kept, failed=failed, failed_uids=uids)


def move(
    node: ArchiveNode,
    wanted: Wanted,
    calling_ae: str,
    timeout_s: float,
    progress: Progress | None = None,
) -> Retrieved:
    """Have a PACS send images to our own receiver (C-MOVE to our own AE title).

    Raises:
        ArchiveError: no answer, or one that says failure of the whole, such as an AE title that it does not know.
    """
    model = MOVE_MODELS[node.root]
    identifier = retrieve_identifier(wanted, node.root)
    with association(node, [build_context(model)], calling_ae, timeout_s) as link:
        answers = link.association.send_c_move(identifier, calling_ae, model, msg_id=1)
        return _follow(link, answers, "C-MOVE", progress)


def storage_contexts() -> list[PresentationContext]:
    """One context for each storage class and transfer syntax that we take."""
    return [
        build_context(sop_class, syntax)
        for sop_class in STORAGE_CLASSES
        for syntax in (*pixels.NATIVE_SYNTAXES, *pixels.COMPRESSED_SYNTAXES)
    ]


class _SubOperations:
    """Answers the C-STOREs that come over our own association during a C-GET."""

    def __init__(self, keep: KeepFile, most: int) -> None:
        self._keep = keep
        self._most = most
        self.link: Link | None = None
        self.kept = 0
        self.refused: list[str] = []
        self.full: str | None = None

    def on_store(self, event: evt.Event) -> int:
        """Keep one image; returns the status to answer."""
        request = event.request
        if self.kept + len(self.refused) >= self._most and self.link is not None:
            self.link.end(f"sent more than {self._most} images")
            return OUT_OF_RESOURCES
        if not isinstance(request, C_STORE) or not isinstance(request.DataSet, BytesIO):
            return CANNOT_UNDERSTAND
        uid = str(request.AffectedSOPInstanceUID or "")[:64]
        if not is_uid(uid):
            self.refused.append("")
            return INVALID_UID
        meta = file_meta(str(request.AffectedSOPClassUID or ""), uid, str(event.context.transfer_syntax))
        try:
            self._keep(b"".join([meta, request.DataSet.getbuffer()]))
        except InstanceRefused as error:
            self.refused.append(uid)
            logger.warning(
                Event.INSTANCE_REFUSED,
                extra={"sop_instance_uid": uid, "status": f"0x{error.status:04X}", "reason": str(error)},
            )
            return error.status
        except AutocontourError as error:
            self.full = str(error)
            return OUT_OF_RESOURCES
        self.kept += 1
        return _SUCCESS


def _follow(
    link: Link, answers: Iterator[tuple[Dataset, Dataset | None]], doing: str, progress: Progress | None
) -> Retrieved:
    """Read the answers of a retrieval to its end."""
    for count, (status, identifier) in enumerate(answers):
        if "Status" not in status:
            raise link.lost(doing, link.timeout_s)
        if count > 2 * link.meter.bounds.objects:  # one for each image is the most that anybody sends
            link.end("sent answers without end")
            raise link.lost(doing, 0.0)
        completed, failed = _count(status, "Completed") + _count(status, "Warning"), _count(status, "Failed")
        if progress is not None:
            done = completed + failed
            progress(done, done + _count(status, "Remaining"))
        code = int(status.Status)
        if code == _PENDING:
            continue
        # A PACS also says "out of resources" when each image failed; its counts tell the two apart.
        if code not in {_SUCCESS, _SOME_FAILED} and not (code == _ALL_FAILED and failed):
            raise ArchiveError(f"{link.peer} answered {doing} with {query_status_words(code)}")
        return Retrieved(completed=completed, failed=failed, failed_uids=_failed_uids(identifier))
    raise link.lost(doing, link.timeout_s)


def _count(status: Dataset, kind: str) -> int:
    return int(status.get(f"NumberOf{kind}Suboperations") or 0)


def _failed_uids(identifier: Dataset | None) -> tuple[str, ...]:
    value = None if identifier is None else identifier.get("FailedSOPInstanceUIDList")
    if not value:
        return ()
    return (str(value),) if isinstance(value, str) else tuple(str(uid) for uid in value)
