"""Ask a DICOM node whether it holds an object: Storage Commitment (PS3.4 J), then C-FIND (PS3.4 C).

Both are proposed over one association. A node that takes the commitment request may report over this association,
which we keep open for a moment, or over one of its own to our receiver; meanwhile C-FIND is asked where it is offered.
Orthanc, for one, accepts both from anybody but aborts when it is asked by an AE title that it does not know: a node
that took the association but gives no answer is not down, its answer is pending.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from npc_contour.adapters.dicom.association.requestor import Link, associate, describe
from npc_contour.adapters.dicom.receive.commitment import CommitmentReport, take_report
from npc_contour.domain.dimse import status_words
from npc_contour.domain.jobs import Destination, Evidence, Proof
from npc_contour.errors import NotOfferedError, SendError

COMMITMENT, FIND = "storage commitment", "C-FIND"
FIND_MODEL = StudyRootQueryRetrieveInformationModelFind
_REQUEST_COMMITMENT = 1
_NO_SUCH_OBJECT = 0x0112
_KEYS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class _Sent:
    """The UIDs of what was sent."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


class DicomVerifier:
    """Asks DICOM destinations under our AE title.

    Args:
        calling_ae: our AE title.
        timeout_s: for connecting and for each answer.
        commitment_wait_s: how long a report may take over the association that asked for it.
    """

    def __init__(self, calling_ae: str, timeout_s: float, *, commitment_wait_s: float = 5.0) -> None:
        self._calling_ae = calling_ae
        self._timeout_s = timeout_s
        self._commitment_wait_s = commitment_wait_s

    def ask(self, instance: bytes, destination: Destination, transaction_uid: str) -> Evidence:
        """Ask whether the destination holds an object that was sent to it.

        Args:
            instance: the object, a whole DICOM file.
            destination: whom.
            transaction_uid: of the storage commitment request.

        Raises:
            SendError: there was no answer.
        """
        sent = _read(instance)
        try:
            evidence = self._ask_commitment(destination, sent, transaction_uid)
        except NotOfferedError as error:
            return Evidence(Proof.NOT_OFFERED, "", str(error))
        # A report may still come; where the node can be asked, we need not wait for it.
        return evidence or self._ask_find(destination, sent)

    def _ask_commitment(self, destination: Destination, sent: _Sent, transaction_uid: str) -> Evidence | None:
        """Ask for commitment where that is offered; None when there is no report yet, and C-FIND is offered."""
        reports: list[CommitmentReport] = []
        heard = threading.Event()

        def note(report: CommitmentReport) -> bool:
            if report.transaction_uid != transaction_uid:
                return False
            reports.append(report)
            heard.set()
            return True

        offered: set[UID | None] = set()
        words = f"{describe(destination)} offers neither storage commitment nor C-FIND"
        evidence = Evidence(Proof.NOT_OFFERED, "", words)
        try:
            with associate(
                destination,
                [build_context(sop_class) for sop_class in (StorageCommitmentPushModel, FIND_MODEL, Verification)],
                self._calling_ae,
                self._timeout_s,
                handlers=[(evt.EVT_N_EVENT_REPORT, lambda event: take_report(event, note))],
            ) as link:
                offered = {context.abstract_syntax for context in link.association.accepted_contexts}
                if StorageCommitmentPushModel in offered and _request(link, sent, transaction_uid):
                    if link.listen(heard, self._commitment_wait_s):
                        return _reported(reports[0], sent)
                    evidence = Evidence(Proof.PENDING, COMMITMENT, "a report is promised")
        except SendError as error:
            if not offered:
                raise
            evidence = Evidence(Proof.PENDING, COMMITMENT, str(error))
        return None if FIND_MODEL in offered else evidence

    def _ask_find(self, destination: Destination, sent: _Sent) -> Evidence:
        with associate(destination, [build_context(FIND_MODEL)], self._calling_ae, self._timeout_s) as link:
            try:
                return _find(link, sent)
            except SendError as error:
                return Evidence(Proof.PENDING, FIND, str(error))


def _read(instance: bytes) -> _Sent:
    try:
        dataset = dcmread(BytesIO(instance), specific_tags=list(_KEYS), stop_before_pixels=True)
        return _Sent(*(str(dataset[key].value) for key in _KEYS))
    except (InvalidDicomError, KeyError, EOFError, ValueError) as error:
        raise SendError(f"what was sent cannot be read any more: {error}") from error


def _request(link: Link, sent: _Sent, transaction_uid: str) -> bool:
    """Ask the node to commit itself; returns whether it will answer."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sent.sop_class_uid, sent.sop_instance_uid
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [item]
    asked = time.monotonic()
    try:
        status, _ = link.association.send_n_action(
            information, _REQUEST_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (ValueError, RuntimeError) as error:
        raise link.lost("N-ACTION of a storage commitment", time.monotonic() - asked) from error
    if "Status" not in status:
        raise link.lost("N-ACTION of a storage commitment", time.monotonic() - asked)
    return int(status.Status) == 0x0000


def _reported(report: CommitmentReport, sent: _Sent) -> Evidence:
    if sent.sop_instance_uid in report.held:
        return Evidence(Proof.HELD, COMMITMENT)
    reason = report.failed.get(sent.sop_instance_uid)
    if reason is None or reason == _NO_SUCH_OBJECT:
        return Evidence(Proof.MISSING, COMMITMENT)
    return Evidence(Proof.PENDING, COMMITMENT, f"it does not commit itself: {status_words(reason)}")


def _find(link: Link, sent: _Sent) -> Evidence:
    """Ask for the object by its UIDs; only an answer with just its UID counts, for some nodes ignore keys."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = sent.study_instance_uid
    identifier.SeriesInstanceUID = sent.series_instance_uid
    identifier.SOPInstanceUID = sent.sop_instance_uid
    asked, held, status = time.monotonic(), False, None
    try:
        for answer, match in link.association.send_c_find(identifier, FIND_MODEL):
            status = answer.get("Status")
            held = held or (match is not None and str(match.get("SOPInstanceUID")) == sent.sop_instance_uid)
    except (ValueError, RuntimeError) as error:
        raise link.lost("C-FIND", time.monotonic() - asked) from error
    if status is None:
        raise link.lost("C-FIND", time.monotonic() - asked)
    if held:
        return Evidence(Proof.HELD, FIND)
    if status != 0x0000:
        raise SendError(f"{link.peer} answered C-FIND with {status_words(int(status))}")
    return Evidence(Proof.MISSING, FIND)
